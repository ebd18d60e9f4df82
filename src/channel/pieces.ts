// Messages with descriptors, and long ones: frames that are sent one by one.

import { check } from "../base/errors.ts";
import { Fd, type FdLike, fdNumber } from "../fd/fd.ts";
import { CHANNEL_HEADER, encodeChannelHeader, MAX_FRAME_FDS } from "../structs/channel-frame.ts";
import { descriptorFlags } from "../syscalls/fd.ts";
import { viewOf } from "../syscalls/memory.ts";
import type { Label } from "./batch.ts";
import type { Encoded } from "./codec.ts";

/** One send: header and bytes, and the descriptors that go with its first byte. */
export interface Piece {
  readonly bytes: Uint8Array;
  readonly fds: readonly FdLike[];
}

/** What is left of a message, and whether part of it is out. */
export interface Rest {
  readonly begun: boolean;
  readonly pieces: Piece[];
}

export interface SplitLimits {
  /** Of one frame, without its header. */
  readonly maxBytes: number;
}

/** What is given away must be closable. @throws TypeError */
export function checkGiven(fds: readonly FdLike[]): void {
  for (const fd of fds) {
    if (typeof fd === "number" || typeof (fd as { close?: unknown }).close === "function") continue;
    throw new TypeError("transfer takes numbers, and objects with a close()");
  }
}

/** Close descriptors that were given away, each once. */
export function closeGiven(fds: readonly FdLike[]): void {
  for (const fd of new Set(fds)) {
    if (typeof fd === "number") Fd.adopt(fd).close();
    else (fd as { close(): void }).close();
  }
}

/** @throws TypeError, RangeError; UnixError EBADF */
export function checkOpen(fds: readonly FdLike[]): void {
  for (const fd of fds) check(descriptorFlags(fdNumber(fd)), "fcntl");
}

export interface HeldPieces {
  readonly owned: Fd[];
  readonly pieces: Piece[];
}

/** Duplicates for as long as the message waits: the caller may close its own. */
export function holdPieces(pieces: readonly Piece[]): HeldPieces {
  const owned: Fd[] = [];
  try {
    const kept = pieces.map(({ bytes, fds }) => {
      const own = fds.map((fd) => Fd.duplicate(fd));
      owned.push(...own);
      return { bytes, fds: own };
    });
    return { owned, pieces: kept };
  } catch (error) {
    for (const fd of owned) fd.close();
    throw error;
  }
}

/** A message as frames, each with its header in front. */
export function split(
  { kind, number }: Label,
  encoded: Encoded,
  { maxBytes }: SplitLimits,
): Piece[] {
  const data = typeof encoded.data === "string" ? Buffer.from(encoded.data) : viewOf(encoded.data);
  const pieces: Piece[] = [];
  let [at, fdsAt] = [0, 0];
  do {
    const part = data.subarray(at, at + maxBytes);
    const fds = encoded.fds.slice(fdsAt, fdsAt + MAX_FRAME_FDS);
    at += part.length;
    fdsAt += fds.length;
    const bytes = new Uint8Array(CHANNEL_HEADER + part.length);
    bytes.set(part, CHANNEL_HEADER);
    const more = at < data.length || fdsAt < encoded.fds.length;
    const header = { kind, number, bytes: part.length, fds: fds.length, more };
    encodeChannelHeader(bytes, header);
    pieces.push({ bytes, fds });
  } while (at < data.length || fdsAt < encoded.fds.length);
  return pieces;
}
