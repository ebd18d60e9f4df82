// Frames of queue sockets, as docs/queue-socket.md has them: bytes ↔ values. Little-endian.

import { INT_MAX } from "../base/limits.ts";

/** What a frame is for. */
export const frameKind = {
  connect: 1,
  accept: 2,
  refuse: 3,
  data: 4,
  end: 5,
  close: 6,
  moved: 7,
  datagram: 8,
} as const;

export type FrameKind = keyof typeof frameKind;

/** 64 random bits that a frame must carry to be believed; 0 and 0 if none are asked for. */
export interface QueueTag {
  /** The low 32 bits. */
  readonly tagLow: number;
  /** The high 32 bits. */
  readonly tagHigh: number;
}

/** A queue without a name: which process has it, under which number, and the kernel's number. */
export interface QueueIdentity extends QueueTag {
  /** The process that has it. */
  readonly pid: number;
  /** The queue's number in that process. */
  readonly fd: number;
  /** The kernel's number of the queue. */
  readonly inode: number;
}

/** Who sent a datagram: its queue's name or identity; null if it does not say. */
export type Sender = string | QueueIdentity | null;

export type Frame = QueueTag &
  (
    | { readonly kind: "connect" | "accept" | "moved"; readonly identity: QueueIdentity }
    | { readonly kind: "refuse"; readonly errno: number }
    | { readonly kind: "data" | "end" | "close" }
    | { readonly kind: "datagram"; readonly from: Sender; readonly bodyAt: number }
  );

/** "BQS1" as bytes. */
const MAGIC = 0x31535142;
const AT = { kind: 4, sender: 5, senderBytes: 6, tagLow: 8, tagHigh: 12 } as const;

export const headerBytes = 16;
export const identityBytes = 24;
const REFUSAL_BYTES = 4;

const senderKind = { none: 0, identity: 1, name: 2 } as const;

/** The longest name of a queue, with its slash. */
const MAX_NAME_BYTES = 256;
const ERRNO_MAX = 4095;
const WORD = 2 ** 32;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });

/** Write a header; the result is its length. */
export function encodeHeader(view: DataView, kind: FrameKind, tag: QueueTag): number {
  view.setUint32(0, MAGIC, true);
  view.setUint8(AT.kind, frameKind[kind]);
  view.setUint8(AT.sender, senderKind.none);
  view.setUint16(AT.senderBytes, 0, true);
  view.setUint32(AT.tagLow, tag.tagLow, true);
  view.setUint32(AT.tagHigh, tag.tagHigh, true);
  return headerBytes;
}

/** connect, accept and moved: a header and an identity; the result is the frame's length. */
export function encodeIdentityFrame(
  view: DataView,
  kind: "connect" | "accept" | "moved",
  { to, identity }: { to: QueueTag; identity: QueueIdentity },
): number {
  encodeIdentity(view, encodeHeader(view, kind, to), identity);
  return headerBytes + identityBytes;
}

/** No, and why: an errno. */
export function encodeRefusal(view: DataView, to: QueueTag, errno: number): number {
  view.setUint32(encodeHeader(view, "refuse", to), errno, true);
  return headerBytes + REFUSAL_BYTES;
}

/** The header of a datagram and who sends it; the result is where the data goes. */
export function encodeDatagram(view: DataView, to: QueueTag, from: Sender): number {
  encodeHeader(view, "datagram", to);
  if (from === null) return headerBytes;
  if (typeof from !== "string") {
    encodeIdentity(view, headerBytes, from);
    return headerBytes + senderField(view, senderKind.identity, identityBytes);
  }
  const name = encoder.encode(from);
  new Uint8Array(view.buffer, view.byteOffset + headerBytes).set(name);
  return headerBytes + senderField(view, senderKind.name, name.length);
}

function senderField(view: DataView, kind: number, bytes: number): number {
  view.setUint8(AT.sender, kind);
  view.setUint16(AT.senderBytes, bytes, true);
  return bytes;
}

function encodeIdentity(view: DataView, at: number, identity: QueueIdentity): void {
  view.setUint32(at, identity.pid, true);
  view.setUint32(at + 4, identity.fd, true);
  view.setUint32(at + 8, identity.inode % WORD, true);
  view.setUint32(at + 12, Math.floor(identity.inode / WORD), true);
  view.setUint32(at + 16, identity.tagLow, true);
  view.setUint32(at + 20, identity.tagHigh, true);
}

function decodeIdentity(view: DataView, at: number): QueueIdentity | null {
  const pid = view.getUint32(at, true);
  const fd = view.getUint32(at + 4, true);
  const inode = view.getUint32(at + 8, true) + view.getUint32(at + 12, true) * WORD;
  if (pid === 0 || pid > INT_MAX || fd > INT_MAX || !Number.isSafeInteger(inode)) return null;
  const tagLow = view.getUint32(at + 16, true);
  return { pid, fd, inode, tagLow, tagHigh: view.getUint32(at + 20, true) };
}

/** The frame in the first `bytes` bytes of `view`; null: that is none. */
export function decodeFrame(view: DataView, bytes: number): Frame | null {
  if (bytes < headerBytes || view.getUint32(0, true) !== MAGIC) return null;
  const tag = {
    tagLow: view.getUint32(AT.tagLow, true),
    tagHigh: view.getUint32(AT.tagHigh, true),
  };
  const code = view.getUint8(AT.kind);
  if (code === frameKind.datagram) return datagram(view, bytes, tag);
  if (view.getUint8(AT.sender) !== 0 || view.getUint16(AT.senderBytes, true) !== 0) return null;
  const body = bytes - headerBytes;
  switch (code) {
    case frameKind.connect:
      return introduction(view, body, { kind: "connect", ...tag });
    case frameKind.accept:
      return introduction(view, body, { kind: "accept", ...tag });
    case frameKind.moved:
      return introduction(view, body, { kind: "moved", ...tag });
    case frameKind.refuse:
      return refusal(view, body, tag);
    case frameKind.data:
      return body > 0 ? { kind: "data", ...tag } : null;
    case frameKind.end:
      return body === 0 ? { kind: "end", ...tag } : null;
    case frameKind.close:
      return body === 0 ? { kind: "close", ...tag } : null;
    default:
      return null;
  }
}

function introduction(
  view: DataView,
  body: number,
  head: QueueTag & { kind: "connect" | "accept" | "moved" },
): Frame | null {
  const identity = body === identityBytes ? decodeIdentity(view, headerBytes) : null;
  return identity === null ? null : { ...head, identity };
}

function refusal(view: DataView, body: number, tag: QueueTag): Frame | null {
  if (body !== REFUSAL_BYTES) return null;
  const errno = view.getUint32(headerBytes, true);
  return errno === 0 || errno > ERRNO_MAX ? null : { kind: "refuse", errno, ...tag };
}

function datagram(view: DataView, bytes: number, tag: QueueTag): Frame | null {
  const length = view.getUint16(AT.senderBytes, true);
  if (headerBytes + length > bytes) return null;
  const from = sender(view, length);
  return from === undefined
    ? null
    : { kind: "datagram", from, bodyAt: headerBytes + length, ...tag };
}

/** undefined: it is not well-formed. */
function sender(view: DataView, length: number): Sender | undefined {
  switch (view.getUint8(AT.sender)) {
    case senderKind.none:
      return length === 0 ? null : undefined;
    case senderKind.identity:
      return length === identityBytes
        ? (decodeIdentity(view, headerBytes) ?? undefined)
        : undefined;
    case senderKind.name:
      return length > 1 && length <= MAX_NAME_BYTES ? nameAt(view, length) : undefined;
    default:
      return undefined;
  }
}

function nameAt(view: DataView, length: number): string | undefined {
  try {
    return decoder.decode(new Uint8Array(view.buffer, view.byteOffset + headerBytes, length));
  } catch {
    return undefined; // not UTF-8
  }
}
