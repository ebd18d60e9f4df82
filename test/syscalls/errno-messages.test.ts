// One row per answer of the kernel to a send or a receive: what is called, how, what comes back.

import { describe, expect, test } from "bun:test";
import { type ErrnoName, errno } from "../../native/errno.ts";
import { file } from "../../native/file.ts";
import { socket as numbers, option } from "../../native/socket.ts";
import {
  type ControlOut,
  cmsgSpace,
  decodeControl,
  encodeControl,
} from "../../src/structs/cmsg.ts";
import { close, open } from "../../src/syscalls/fd.ts";
import type { MessageHeader } from "../../src/syscalls/header.ts";
import { lend } from "../../src/syscalls/memory.ts";
import { recvmmsg, recvmsg, send, sendmmsg, sendmsg } from "../../src/syscalls/message.ts";
import { connect, getOption, setOption, shutdown } from "../../src/syscalls/socket.ts";
import { missing, peerTest } from "../support/peers.ts";
import { tempDir } from "../support/tmp.ts";
import { noWrongControl, testUnless } from "../support/unless.ts";
import {
  at,
  batch,
  envelope,
  NOWHERE,
  Scope,
  SOCK_DGRAM,
  SOCK_SEQPACKET,
  SOCK_STREAM,
} from "./sockets.ts";

type Row = readonly [how: string, code: ErrnoName, fd: (scope: Scope) => number];

const byte = new Uint8Array(1);

const closedPeer = (type: number) => (scope: Scope) => {
  const [a, b] = scope.pair(type);
  scope.close(b);
  return a;
};

function full(scope: Scope): number {
  const [a] = scope.pair(SOCK_STREAM);
  const chunk = new Uint8Array(1 << 20);
  let sent: number;
  do sent = send(a, lend(chunk, chunk.length), chunk.length);
  while (sent >= 0);
  return a;
}

function halfClosed(scope: Scope): number {
  const [a] = scope.pair(SOCK_STREAM);
  expect(shutdown(a, numbers.SHUT_WR)).toBe(0);
  return a;
}

const noSocket = (scope: Scope): number => scope.own(open("/dev/null", file.O_RDWR));

const sending: readonly Row[] = [
  ["a number that is not open", "EBADF", () => NOWHERE],
  ["no socket", "ENOTSOCK", noSocket],
  ["a stream that is not connected", "ENOTCONN", (scope) => scope.socket(SOCK_STREAM)],
  ["a datagram socket without a destination", "ENOTCONN", (scope) => scope.socket(SOCK_DGRAM)],
  ["a stream whose peer is closed", "EPIPE", closedPeer(SOCK_STREAM)],
  ["a seqpacket whose peer is closed", "EPIPE", closedPeer(SOCK_SEQPACKET)],
  ["a datagram socket whose peer is closed", "ECONNREFUSED", closedPeer(SOCK_DGRAM)],
  ["after shutdown for writing", "EPIPE", halfClosed],
  ["a stream that is full", "EAGAIN", full],
];

const receiving: readonly Row[] = [
  ["a number that is not open", "EBADF", () => NOWHERE],
  ["no socket", "ENOTSOCK", noSocket],
  ["a stream that is not connected", "EINVAL", (scope) => scope.socket(SOCK_STREAM)],
  ["a seqpacket that is not connected", "ENOTCONN", (scope) => scope.socket(SOCK_SEQPACKET)],
  ["a stream with nothing in it", "EAGAIN", (scope) => scope.pair(SOCK_STREAM)[0]],
  ["a datagram socket with nothing in it", "EAGAIN", (scope) => scope.pair(SOCK_DGRAM)[0]],
  ["a datagram socket whose peer is closed", "EAGAIN", closedPeer(SOCK_DGRAM)],
];

const plain = (): MessageHeader => {
  const made = envelope();
  made.controlBytes = 0;
  return made;
};

const calls: Readonly<Record<string, readonly [readonly Row[], (fd: number) => number]>> = {
  send: [sending, (fd) => send(fd, lend(byte, 1), 1)],
  sendmsg: [sending, (fd) => sendmsg(fd, plain())],
  sendmmsg: [sending, (fd) => sendmmsg(fd, batch(2), 2)],
  recvmsg: [receiving, (fd) => recvmsg(fd, envelope(), true)],
  recvmmsg: [receiving, (fd) => recvmmsg(fd, batch(2), 2, true)],
};

for (const [name, [rows, call]] of Object.entries(calls)) {
  describe(name, () => {
    for (const [how, code, fd] of rows) {
      test(`${how} → ${code}`, () => {
        using scope = new Scope();
        expect(call(fd(scope))).toBe(-errno[code]);
      });
    }
  });
}

test("the end of a stream and of a seqpacket is 0, no error", () => {
  using scope = new Scope();
  for (const type of [SOCK_STREAM, SOCK_SEQPACKET]) {
    expect(recvmsg(closedPeer(type)(scope), envelope(), false)).toBe(0);
  }
});

test("a datagram greater than the send buffer → EMSGSIZE", () => {
  using scope = new Scope();
  const [a] = scope.pair(SOCK_DGRAM);
  const large = new Uint8Array(getOption(a, option.SO_SNDBUF) + 1);
  expect(send(a, lend(large, large.length), large.length)).toBe(-errno.EMSGSIZE);
});

test("a datagram that a connected receiver does not want → EPERM", () => {
  using scope = new Scope();
  using dir = tempDir();
  const receiver = scope.bound(dir.file("r"), SOCK_DGRAM);
  scope.bound(dir.file("other"), SOCK_DGRAM);
  expect(connect(receiver, at(dir.file("other")))).toBe(0);
  expect(connect(scope.socket(SOCK_DGRAM), at(dir.file("r")))).toBe(-errno.EPERM);
});

describe("control data", () => {
  const sent = (type: number, out: ControlOut, change = (_: MessageHeader): void => {}): number => {
    using scope = new Scope();
    const [a, b] = scope.pair(type);
    const message = envelope();
    message.controlBytes = encodeControl(message.control, out);
    change(message);
    const result = sendmsg(a, message);
    if (result < 0) expect(recvmsg(b, envelope(), false)).toBe(-errno.EAGAIN); // nothing went out
    return result;
  };

  test.each([NOWHERE, -1])("descriptor %d → EBADF, and nothing is sent (RTS-22)", (fd) => {
    expect(sent(SOCK_STREAM, { fds: [0, fd, 0] })).toBe(-errno.EBADF);
  });

  test("254 descriptors in two control messages → EINVAL (RTS-04)", () => {
    const change = (message: MessageHeader): void => {
      const more = new DataView(
        message.control.buffer,
        message.control.byteOffset + cmsgSpace(520),
      );
      message.controlBytes = cmsgSpace(520) + encodeControl(more, { fds: new Array(124).fill(0) });
    };
    expect(sent(SOCK_STREAM, { fds: new Array(130).fill(0) }, change)).toBe(-errno.EINVAL);
  });

  for (const length of [1, 15, 4_000]) {
    testUnless(noWrongControl(), `a cmsg_len of ${length} → EINVAL (RTS-23)`, () => {
      const change = (message: MessageHeader): void => message.control.setUint32(0, length, true);
      expect(sent(SOCK_STREAM, { fds: [0] }, change)).toBe(-errno.EINVAL);
    });
  }

  test("an unknown type at SOL_SOCKET → EINVAL (RTS-27)", () => {
    const change = (message: MessageHeader): void => message.control.setInt32(12, 77, true);
    expect(sent(SOCK_DGRAM, { fds: [0] }, change)).toBe(-errno.EINVAL);
  });

  const self = { pid: process.pid, uid: process.getuid!(), gid: process.getgid!() };

  test("my own credentials go", () => {
    expect(sent(SOCK_SEQPACKET, { fds: [], credentials: self })).toBe(1);
  });

  peerTest("credentials of a process that is none → ESRCH", ["root"], () => {
    const credentials = { ...self, pid: 0x7fff_fff0 };
    expect(sent(SOCK_SEQPACKET, { fds: [], credentials })).toBe(-errno.ESRCH);
  });

  if (missing(["root"]) !== null) {
    test("another's credentials → EPERM", () => {
      expect(sent(SOCK_STREAM, { fds: [], credentials: { ...self, pid: 1 } })).toBe(-errno.EPERM);
    });
  }

  test("what was sent comes out of recvmsg, close-on-exec", () => {
    using scope = new Scope();
    const [a, b] = scope.pair(SOCK_STREAM);
    expect(setOption(b, option.SO_PASSCRED!, 1)).toBe(0);
    const message = envelope();
    message.controlBytes = encodeControl(message.control, { fds: [a, b] });
    expect(sendmsg(a, message)).toBe(1);
    const got = envelope();
    expect(recvmsg(b, got, false)).toBe(1);
    const control = decodeControl(got.control, got.controlBytes);
    expect(control.fds).toHaveLength(2);
    expect(control.credentials).toEqual(self);
    for (const fd of control.fds) expect(close(fd)).toBe(0);
  });
});
