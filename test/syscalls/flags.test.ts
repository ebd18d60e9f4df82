// Every descriptor that this layer makes is close-on-exec, and sockets do not block.

import { describe, expect, test } from "bun:test";
import { errno } from "../../native/errno.ts";
import { file, memfd } from "../../native/file.ts";
import { epollCreate, eventfd } from "../../src/syscalls/epoll.ts";
import {
  descriptorFlags,
  duplicate,
  memfdCreate,
  open,
  seals,
  setCloseOnExec,
  setNonBlocking,
  statusFlags,
} from "../../src/syscalls/fd.ts";
import { accept, connect } from "../../src/syscalls/socket.ts";
import { fake } from "../support/seam.ts";
import { tempDir } from "../support/tmp.ts";
import { at, Scope, SOCK_DGRAM, SOCK_SEQPACKET, SOCK_STREAM } from "./sockets.ts";

function accepted(scope: Scope): number {
  using dir = tempDir();
  const listener = scope.listener(dir.file("s"));
  expect(connect(scope.socket(SOCK_STREAM), at(dir.file("s")))).toBe(0);
  return scope.own(accept(listener));
}

const sockets: Readonly<Record<string, (scope: Scope) => number>> = {
  "socket, stream": (scope) => scope.socket(SOCK_STREAM),
  "socket, datagram": (scope) => scope.socket(SOCK_DGRAM),
  "socket, seqpacket": (scope) => scope.socket(SOCK_SEQPACKET),
  "socketpair, first": (scope) => scope.pair(SOCK_STREAM)[0],
  "socketpair, second": (scope) => scope.pair(SOCK_STREAM)[1],
  accept: accepted,
};

const others: Readonly<Record<string, (scope: Scope) => number>> = {
  open: (scope) => scope.own(open("/dev/null", file.O_RDONLY)),
  F_DUPFD_CLOEXEC: (scope) => scope.own(duplicate(0)),
  eventfd: (scope) => scope.own(eventfd(0)),
  epoll_create1: (scope) => scope.own(epollCreate()),
};

describe("close-on-exec from birth", () => {
  for (const [name, make] of Object.entries({ ...sockets, ...others })) {
    test(name, () => {
      using scope = new Scope();
      expect(descriptorFlags(make(scope))).toBe(file.FD_CLOEXEC);
    });
  }
});

describe("non-blocking from birth", () => {
  for (const [name, make] of Object.entries(sockets)) {
    test(name, () => {
      using scope = new Scope();
      expect(statusFlags(make(scope)) & file.O_NONBLOCK).toBe(file.O_NONBLOCK);
    });
  }
});

test("close-on-exec can be taken away and given back", () => {
  using scope = new Scope();
  const fd = scope.own(eventfd(0));
  expect(setCloseOnExec(fd, false)).toBe(0);
  expect(descriptorFlags(fd)).toBe(0);
  expect(setCloseOnExec(fd, true)).toBe(0);
  expect(descriptorFlags(fd)).toBe(file.FD_CLOEXEC);
});

test("O_NONBLOCK alone changes, and everyone who shares the file sees it", () => {
  using scope = new Scope();
  const fd = scope.own(open("/dev/null", file.O_RDWR | file.O_APPEND));
  const shared = scope.own(duplicate(fd));
  const before = statusFlags(fd);
  expect(setNonBlocking(fd, true)).toBe(0);
  expect(statusFlags(shared)).toBe(before | file.O_NONBLOCK);
  expect(setNonBlocking(fd, true)).toBe(0);
  expect(setNonBlocking(fd, false)).toBe(0);
  expect(statusFlags(shared)).toBe(before);
});

test("a flag that does not take is an error, though the call says 0", () => {
  using scope = new Scope();
  const fd = scope.own(eventfd(0));
  const flags = (value: number) => () => value;
  {
    using _ = fake("fcntl", [() => 0, flags(0)]); // F_SETFD, F_GETFD
    expect(setCloseOnExec(fd, true)).toBeLessThan(0);
  }
  using _ = fake("fcntl", [flags(0), () => 0, flags(0)]); // F_GETFL, F_SETFL, F_GETFL
  expect(setNonBlocking(fd, true)).toBeLessThan(0);
});

test("a descriptor is duplicated above those of the standard streams", () => {
  using scope = new Scope();
  expect(scope.own(duplicate(0))).toBeGreaterThan(2);
});

test("memfd: flags and seals", () => {
  using scope = new Scope();
  const plain = scope.own(memfdCreate("x", memfd.MFD_CLOEXEC!));
  expect(descriptorFlags(plain)).toBe(file.FD_CLOEXEC);
  expect(seals(plain)).toBe(1); // F_SEAL_SEAL: none may be added
  expect(seals(scope.own(memfdCreate("x", memfd.MFD_ALLOW_SEALING!)))).toBe(0);
  expect(seals(scope.own(open("/dev/null", file.O_RDONLY)))).toBe(-errno.EINVAL);
});
