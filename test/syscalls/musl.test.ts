// Where musl and glibc differ (facts: #musl-control-room, #libcs-disagree), on both: what libc
// itself does, and that our calls do the same on either.

import { expect, test } from "bun:test";
import { errno } from "../../native/errno.ts";
import { file } from "../../native/file.ts";
import { SCM_MAX_FD } from "../../native/socket.ts";
import { cmsgSpace, encodeControl } from "../../src/structs/cmsg.ts";
import type { MessageHeader } from "../../src/syscalls/header.ts";
import { isMusl, libc } from "../../src/syscalls/libc.ts";
import { cString } from "../../src/syscalls/memory.ts";
import { recvmsg, sendmmsg, sendmsg } from "../../src/syscalls/message.ts";
import { result } from "../../src/syscalls/result.ts";
import { fake } from "../support/seam.ts";
import { batch, envelope, Scope, SOCK_DGRAM } from "./sockets.ts";

/** Descriptors that fit into the 1,024 bytes of control data that musl's sendmsg copies. */
const MUSL_FDS = 252;

function carrying(fds: number, message: MessageHeader = envelope()): MessageHeader {
  message.controlBytes = encodeControl(message.control, { fds: new Array(fds).fill(0) });
  return message;
}

test("252 descriptors fill 1,024 bytes", () => {
  expect(cmsgSpace(4 * MUSL_FDS)).toBe(1024);
});

test("sendmsg: 253 descriptors go, though musl's own refuses them", () => {
  using scope = new Scope();
  const [a] = scope.pair(SOCK_DGRAM);
  const own = (fds: number): number => result(libc.sendmsg(a, carrying(fds).address, 0));
  expect(own(MUSL_FDS)).toBe(1);
  expect(own(SCM_MAX_FD)).toBe(isMusl() ? -errno.ENOMEM : 1);
  expect(sendmsg(a, carrying(MUSL_FDS))).toBe(1);
  expect(sendmsg(a, carrying(SCM_MAX_FD))).toBe(1);
});

test("sendmmsg: one system call, 253 descriptors in each; musl's own is a loop", () => {
  using scope = new Scope();
  const [a] = scope.pair(SOCK_DGRAM);
  const messages = batch(3);
  for (const one of messages) carrying(SCM_MAX_FD, one);
  using looping = fake("sendmmsg", []);
  using direct = fake("syscall", []);
  expect(sendmmsg(a, messages, 3)).toBe(3);
  const counted = [looping.calls.length, direct.calls.length];
  expect(counted).toEqual(isMusl() ? [0, 1] : [1, 0]);
  expect(messages.map((one) => one.transferred)).toEqual([1, 1, 1]);
});

test("what musl has for padding is 0 to the kernel, also after libc has written there", () => {
  using scope = new Scope();
  const [a, b] = scope.pair(SOCK_DGRAM);
  const messages = batch(2);
  for (const one of messages) {
    expect(sendmsg(b, envelope())).toBe(1);
    expect(recvmsg(a, one, true)).toBe(1);
    one.nameBytes = 0;
    new Uint8Array(one.control.buffer, one.control.byteOffset, one.control.byteLength).fill(0xff);
    carrying(SCM_MAX_FD, one);
  }
  expect(sendmsg(a, messages[0]!)).toBe(1); // by syscall() in musl, which sees all 64 bits
  expect(sendmmsg(a, messages, 2)).toBe(2);
});

test("the first real-time signal is libc's to say", () => {
  expect(libc.__libc_current_sigrtmin()).toBe(isMusl() ? 35 : 34);
  expect(libc.__libc_current_sigrtmax()).toBe(64);
});

test("mq_open: musl takes a name without a slash", () => {
  const name = `bunix-musl-${process.pid}`;
  const bare = cString(name);
  const open = (): number => libc.mq_open(bare.address, file.O_RDONLY, 0, null);
  expect(result(open())).toBe(isMusl() ? -errno.ENOENT : -errno.EINVAL);
});
