// One row per answer of the kernel to a socket call: what is called, how, what comes back.

import { expect, test } from "bun:test";
import { symlinkSync, writeFileSync } from "node:fs";
import { type ErrnoName, errno } from "../../native/errno.ts";
import { file } from "../../native/file.ts";
import { socket as numbers, option } from "../../native/socket.ts";
import type { Address } from "../../src/structs/sockaddr-un.ts";
import { open } from "../../src/syscalls/fd.ts";
import { libc } from "../../src/syscalls/libc.ts";
import { addressOf, Memory } from "../../src/syscalls/memory.ts";
import {
  accept,
  bind,
  connect,
  getOption,
  getOptionBytes,
  listen,
  setOption,
  shutdown,
  socket,
  socketName,
  socketpair,
} from "../../src/syscalls/socket.ts";
import { type TempDir, tempDir } from "../support/tmp.ts";
import { at, NOWHERE, Scope, SOCK_DGRAM, SOCK_SEQPACKET, SOCK_STREAM } from "./sockets.ts";

interface Place {
  readonly scope: Scope;
  readonly dir: TempDir;
}

type Row = readonly [call: string, how: string, code: ErrnoName, fn: (place: Place) => unknown];

const room = new Memory(64);
const NO_SUCH = 9_999;
const PASS = option.SO_PASSCRED ?? NO_SUCH;
const abstract: Address = { kind: "abstract", name: Uint8Array.of(0, 255, 0, 1, 2, 3) };
const unnamed: Address = { kind: "unnamed" };

const stream = ({ scope }: Place): number => scope.socket(SOCK_STREAM);
const datagram = ({ scope }: Place): number => scope.socket(SOCK_DGRAM);

function plainPath({ dir }: Place): string {
  writeFileSync(dir.file("plain"), "x");
  return dir.file("plain");
}

const plain = (place: Place): number => place.scope.own(open(plainPath(place), file.O_RDONLY));

function stale({ scope, dir }: Place): Address {
  scope.close(scope.listener(dir.file("s")));
  return at(dir.file("s"));
}

function fullBacklog({ scope, dir }: Place): Address {
  scope.listener(dir.file("s"), SOCK_STREAM, 0);
  expect(connect(scope.socket(SOCK_STREAM), at(dir.file("s")))).toBe(0);
  return at(dir.file("s"));
}

function dangling({ dir }: Place): Address {
  symlinkSync(dir.file("nothing"), dir.file("link"));
  return at(dir.file("link"));
}

function listening({ scope, dir }: Place): number {
  return scope.listener(dir.file("s"));
}

const creating: readonly Row[] = [
  ["socket", "a type that is none", "EINVAL", () => socket(15)],
  ["socket", "a type that Unix sockets lack", "ESOCKTNOSUPPORT", () => socket(4)],
  ["socketpair", "a type that is none", "EINVAL", () => socketpair(15)],
];

const binding: readonly Row[] = [
  ["bind", "a number that is not open", "EBADF", () => bind(NOWHERE, abstract)],
  ["bind", "no socket", "ENOTSOCK", (p) => bind(plain(p), abstract)],
  ["bind", "a file is there", "EADDRINUSE", (p) => bind(stream(p), at(plainPath(p)))],
  ["bind", "a stale socket is there (BND-02)", "EADDRINUSE", (p) => bind(stream(p), stale(p))],
  ["bind", "a dangling link is there", "EADDRINUSE", (p) => bind(stream(p), dangling(p))],
  ["bind", "no such directory", "ENOENT", (p) => bind(stream(p), at(p.dir.file("x/y")))],
  ["bind", "a file in the path", "ENOTDIR", (p) => bind(stream(p), at(`${plainPath(p)}/x`))],
  ["bind", "a second name", "EINVAL", (p) => bind(listening(p), at(p.dir.file("t")))],
  [
    "bind",
    "an abstract name that is taken",
    "EADDRINUSE",
    (p) => {
      expect(bind(stream(p), abstract)).toBe(0);
      return bind(stream(p), abstract);
    },
  ],
  ["listen", "a number that is not open", "EBADF", () => listen(NOWHERE, 1)],
  ["listen", "no socket", "ENOTSOCK", (p) => listen(plain(p), 1)],
  ["listen", "not bound", "EINVAL", (p) => listen(stream(p), 1)],
  ["listen", "a datagram socket", "EOPNOTSUPP", (p) => listen(datagram(p), 1)],
];

const connecting: readonly Row[] = [
  ["connect", "a number that is not open", "EBADF", () => connect(NOWHERE, abstract)],
  ["connect", "no socket", "ENOTSOCK", (p) => connect(plain(p), abstract)],
  ["connect", "nothing there", "ENOENT", (p) => connect(stream(p), at(p.dir.file("none")))],
  ["connect", "a regular file", "ECONNREFUSED", (p) => connect(stream(p), at(plainPath(p)))],
  ["connect", "a directory", "ECONNREFUSED", (p) => connect(stream(p), at(p.dir.path))],
  ["connect", "a stale socket", "ECONNREFUSED", (p) => connect(stream(p), stale(p))],
  ["connect", "an unknown abstract name", "ECONNREFUSED", (p) => connect(stream(p), abstract)],
  ["connect", "no address", "EINVAL", (p) => connect(stream(p), unnamed)],
  ["connect", "a full backlog", "EAGAIN", (p) => connect(stream(p), fullBacklog(p))],
  [
    "connect",
    "bound, not yet listening",
    "ECONNREFUSED",
    (p) => {
      p.scope.bound(p.dir.file("s"), SOCK_STREAM);
      return connect(stream(p), at(p.dir.file("s")));
    },
  ],
  [
    "connect",
    "a socket of another type",
    "EPROTOTYPE",
    (p) => {
      listening(p);
      return connect(p.scope.socket(SOCK_SEQPACKET), at(p.dir.file("s")));
    },
  ],
  [
    "connect",
    "connected already",
    "EISCONN",
    (p) => {
      listening(p);
      return connect(p.scope.pair(SOCK_STREAM)[0], at(p.dir.file("s")));
    },
  ],
  ["connect", "a listener to itself", "EINVAL", (p) => connect(listening(p), at(p.dir.file("s")))],
  ["accept", "a number that is not open", "EBADF", () => accept(NOWHERE)],
  ["accept", "no socket", "ENOTSOCK", (p) => accept(plain(p))],
  ["accept", "not listening", "EINVAL", (p) => accept(stream(p))],
  ["accept", "a datagram socket", "EOPNOTSUPP", (p) => accept(datagram(p))],
  ["accept", "nobody there", "EAGAIN", (p) => accept(listening(p))],
];

const asking: readonly Row[] = [
  ["shutdown", "a number that is not open", "EBADF", () => shutdown(NOWHERE, numbers.SHUT_WR)],
  ["shutdown", "no socket", "ENOTSOCK", (p) => shutdown(plain(p), numbers.SHUT_WR)],
  ["shutdown", "a direction that is none", "EINVAL", (p) => shutdown(stream(p), 9)],
  ["getsockname", "a number that is not open", "EBADF", () => socketName(NOWHERE, "getsockname")],
  ["getsockname", "no socket", "ENOTSOCK", (p) => socketName(plain(p), "getsockname")],
  ["getpeername", "not connected", "ENOTCONN", (p) => socketName(stream(p), "getpeername")],
  ["setsockopt", "a number that is not open", "EBADF", () => setOption(NOWHERE, PASS, 1)],
  ["setsockopt", "no socket", "ENOTSOCK", (p) => setOption(plain(p), PASS, 1)],
  ["setsockopt", "an option that is none", "ENOPROTOOPT", (p) => setOption(stream(p), NO_SUCH, 1)],
  ["getsockopt", "a number that is not open", "EBADF", () => getOption(NOWHERE, option.SO_TYPE)],
  ["getsockopt", "no socket", "ENOTSOCK", (p) => getOption(plain(p), option.SO_TYPE)],
  ["getsockopt", "an option that is none", "ENOPROTOOPT", (p) => getOption(stream(p), NO_SUCH)],
  [
    "getsockopt",
    "an option that is none, into bytes",
    "ENOPROTOOPT",
    (p) => getOptionBytes(stream(p), { which: NO_SUCH, room }),
  ],
  [
    "getsockopt",
    "a level that is none",
    "EOPNOTSUPP",
    (p) => getOptionBytes(stream(p), { level: NO_SUCH, which: 1, room }),
  ],
];

for (const [call, how, code, fn] of [...creating, ...binding, ...connecting, ...asking]) {
  test(`${call}: ${how} → ${code}`, () => {
    using scope = new Scope();
    using dir = tempDir();
    expect(fn({ scope, dir })).toBe(-errno[code]);
  });
}

test("accept: a connection that waits gives a descriptor, then EAGAIN again", () => {
  using scope = new Scope();
  using dir = tempDir();
  const listener = scope.listener(dir.file("s"));
  expect(connect(scope.socket(SOCK_STREAM), at(dir.file("s")))).toBe(0);
  expect(scope.own(accept(listener))).toBeGreaterThan(2);
  expect(accept(listener)).toBe(-errno.EAGAIN);
});

test("names: what was bound, and unnamed where nothing was", () => {
  using scope = new Scope();
  using dir = tempDir();
  const listener = scope.listener(dir.file("s"));
  expect(socketName(listener, "getsockname")).toEqual(at(dir.file("s")));
  const client = scope.socket(SOCK_STREAM);
  expect(socketName(client, "getsockname")).toEqual({ kind: "unnamed" });
  expect(connect(client, at(dir.file("s")))).toBe(0);
  expect(socketName(client, "getpeername")).toEqual(at(dir.file("s")));
});

test("names: a path of 108 bytes without a NUL, which the kernel calls 111 long", () => {
  using scope = new Scope();
  using dir = tempDir();
  const path = dir.file("p".repeat(107 - dir.path.length));
  const bytes = new Uint8Array([numbers.AF_UNIX, 0, ...new TextEncoder().encode(path)]);
  const fd = scope.socket(SOCK_DGRAM);
  expect(libc.bind(fd, addressOf(bytes), bytes.length)).toBe(0);
  expect(bytes.length).toBe(110);
  expect(socketName(fd, "getsockname")).toEqual(at(path));
});

test("autobind: the kernel chooses five hexadecimal digits", () => {
  using scope = new Scope();
  const socket = scope.socket(SOCK_STREAM);
  expect(bind(socket, unnamed)).toBe(0);
  const name = socketName(socket, "getsockname");
  if (typeof name === "number" || name.kind !== "abstract") throw new Error("not abstract");
  expect(new TextDecoder().decode(name.name)).toMatch(/^[0-9a-f]{5}$/);
});

test("options: what was set is read back", () => {
  using scope = new Scope();
  const [a] = scope.pair(SOCK_STREAM);
  expect(getOption(a, option.SO_TYPE)).toBe(SOCK_STREAM);
  expect(getOption(a, option.SO_PASSCRED!)).toBe(0);
  expect(setOption(a, option.SO_PASSCRED!, 1)).toBe(0);
  expect(getOption(a, option.SO_PASSCRED!)).toBe(1);
  expect(getOptionBytes(a, { which: option.SO_PEERCRED!, room })).toBe(12);
  expect(room.words[0]).toBe(process.pid);
});
