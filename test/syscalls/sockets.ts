// Descriptors for the tests of system calls, closed when their scope ends.

import { expect } from "bun:test";
import { socket as numbers } from "../../native/socket.ts";
import type { Address } from "../../src/structs/sockaddr-un.ts";
import { close, type FdPair, pipe } from "../../src/syscalls/fd.ts";
import { MessageHeader } from "../../src/syscalls/header.ts";
import { Memory } from "../../src/syscalls/memory.ts";
import { bind, listen, socket, socketpair } from "../../src/syscalls/socket.ts";

export const { SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET } = numbers;

/** Owns numbers. */
export class Scope implements Disposable {
  readonly #fds: number[] = [];

  /** Close `fd` with this scope; a failed call fails the test. */
  own(fd: number): number {
    expect(fd).toBeGreaterThanOrEqual(0);
    this.#fds.push(fd);
    return fd;
  }

  socket(type: number): number {
    return this.own(socket(type));
  }

  pair(type: number): [number, number] {
    return this.#both(socketpair(type));
  }

  /** The reading end, the writing end. */
  pipe(): [number, number] {
    return this.#both(pipe());
  }

  #both(made: FdPair | number): [number, number] {
    if (typeof made === "number") throw new Error(`no pair of descriptors: ${made}`);
    return [this.own(made[0]), this.own(made[1])];
  }

  listener(path: string, type: number = SOCK_STREAM, backlog = 4): number {
    const fd = this.socket(type);
    expect(bind(fd, at(path))).toBe(0);
    expect(listen(fd, backlog)).toBe(0);
    return fd;
  }

  bound(path: string, type: number): number {
    const fd = this.socket(type);
    expect(bind(fd, at(path))).toBe(0);
    return fd;
  }

  /** Close one before the others. */
  close(fd: number): void {
    this.#fds.splice(this.#fds.indexOf(fd), 1);
    expect(close(fd)).toBe(0);
  }

  [Symbol.dispose](): void {
    for (const fd of this.#fds.splice(0)) close(fd);
  }
}

export const at = (path: string): Address => ({ kind: "path", path });

/** A number that no descriptor of this process has. */
export const NOWHERE = 999_999;

const payload = new Memory(1 << 20);

/** An envelope with `bytes` bytes of data and nothing else. */
export function envelope(bytes = 1): MessageHeader {
  const made = MessageHeader.single(1);
  made.part(0, payload.address, bytes);
  return made;
}

export function batch(count: number): MessageHeader[] {
  const made = MessageHeader.array(count);
  for (const [i, one] of made.entries()) one.part(0, payload.address + i, 1);
  return made;
}
