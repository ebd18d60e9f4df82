// One row per answer of the kernel: what is called, how it is called wrongly, what comes back.
// Every result is the errno, negative, as it was right after the call.

import { expect, test } from "bun:test";
import { symlinkSync, writeFileSync } from "node:fs";
import { type ErrnoName, errno } from "../../native/errno.ts";
import { file } from "../../native/file.ts";
import { epoll, poll as events } from "../../native/poll.ts";
import { EpollEvents, epollCreate, epollCtl, eventfd } from "../../src/syscalls/epoll.ts";
import {
  chown,
  close,
  descriptorFlags,
  duplicate,
  fchmod,
  memfdCreate,
  open,
  poll,
  read,
  seals,
  setCloseOnExec,
  setNonBlocking,
  statusFlags,
  write,
} from "../../src/syscalls/fd.ts";
import { cells } from "../../src/syscalls/memory.ts";
import { type TempDir, tempDir } from "../support/tmp.ts";
import { NOWHERE, Scope, SOCK_STREAM } from "./sockets.ts";

interface Place {
  readonly scope: Scope;
  readonly dir: TempDir;
}

type Row = readonly [call: string, how: string, code: ErrnoName, fn: (place: Place) => number];

const path = cells.address;
const MORE = { fd: 0, events: epoll.EPOLLIN! };
const { EPOLL_CTL_ADD: ADD, EPOLL_CTL_MOD: MOD, EPOLL_CTL_DEL: DEL } = epoll;

function twice({ scope }: Place): number {
  const set = scope.own(epollCreate());
  const [fd] = scope.pair(SOCK_STREAM);
  expect(epollCtl(set, ADD!, { ...MORE, fd })).toBe(0);
  return epollCtl(set, ADD!, { ...MORE, fd });
}

function notASet({ scope }: Place): number {
  const [a, b] = scope.pair(SOCK_STREAM);
  return epollCtl(a, ADD!, { ...MORE, fd: b });
}

function regularFile({ dir }: Place): string {
  writeFileSync(dir.file("plain"), "x");
  return dir.file("plain");
}

const rows: readonly Row[] = [
  ["close", "a number that is not open", "EBADF", () => close(NOWHERE)],
  ["close", "−1", "EBADF", () => close(-1)],
  ["fcntl F_DUPFD_CLOEXEC", "a number that is not open", "EBADF", () => duplicate(NOWHERE)],
  ["fcntl F_GETFD", "a number that is not open", "EBADF", () => descriptorFlags(NOWHERE)],
  ["fcntl F_GETFL", "a number that is not open", "EBADF", () => statusFlags(NOWHERE)],
  ["fcntl F_SETFD", "a number that is not open", "EBADF", () => setCloseOnExec(NOWHERE, true)],
  ["fcntl F_SETFL", "a number that is not open", "EBADF", () => setNonBlocking(NOWHERE, true)],
  ["fcntl F_GET_SEALS", "a number that is not open", "EBADF", () => seals(NOWHERE)],
  ["fcntl F_GET_SEALS", "a socket", "EINVAL", ({ scope }) => seals(scope.pair(SOCK_STREAM)[0])],
  ["open", "nothing there", "ENOENT", ({ dir }) => open(dir.file("none"), file.O_RDONLY)],
  ["open", "the empty path", "ENOENT", () => open("", file.O_RDONLY)],
  ["open", "a file as a directory", "ENOTDIR", (p) => open(`${regularFile(p)}/x`, file.O_RDONLY)],
  ["open", "a directory to write", "EISDIR", ({ dir }) => open(dir.path, file.O_WRONLY)],
  [
    "open",
    "there already, with O_EXCL",
    "EEXIST",
    (p) => open(regularFile(p), file.O_WRONLY | file.O_CREAT | file.O_EXCL, 0o600),
  ],
  [
    "open",
    "a socket's file",
    "ENXIO",
    ({ scope, dir }) => {
      scope.listener(dir.file("s"));
      return open(dir.file("s"), file.O_RDWR);
    },
  ],
  [
    "open",
    "a link, with O_NOFOLLOW",
    "ELOOP",
    ({ dir }) => {
      symlinkSync("x", dir.file("link"));
      return open(dir.file("link"), file.O_RDONLY | file.O_NOFOLLOW);
    },
  ],
  [
    "open",
    "a name of 256 bytes",
    "ENAMETOOLONG",
    ({ dir }) => open(dir.file("n".repeat(256)), file.O_RDONLY),
  ],
  ["fchmod", "a number that is not open", "EBADF", () => fchmod(NOWHERE, 0o600)],
  ["chown", "nothing there", "ENOENT", ({ dir }) => chown(dir.file("none"), 0, 0)],
  ["read", "a number that is not open", "EBADF", () => read(NOWHERE, path, 8)],
  ["read", "a directory", "EISDIR", (p) => read(p.scope.own(open(p.dir.path, 0)), path, 8)],
  ["read", "an empty eventfd", "EAGAIN", ({ scope }) => read(emptyEventfd(scope), path, 8)],
  [
    "read",
    "less than an eventfd gives",
    "EINVAL",
    ({ scope }) => read(emptyEventfd(scope), path, 7),
  ],
  ["write", "a number that is not open", "EBADF", () => write(NOWHERE, path, 8)],
  [
    "write",
    "a file opened to read",
    "EBADF",
    (p) => write(p.scope.own(open(regularFile(p), file.O_RDONLY)), path, 1),
  ],
  ["memfd_create", "flags that are none", "EINVAL", () => memfdCreate("x", 0x4000_0000)],
  ["memfd_create", "a name of 250 bytes", "EINVAL", () => memfdCreate("n".repeat(250), 0)],
  ["eventfd", "flags that are none", "EINVAL", () => eventfd(0x4000_0000)],
  ["epoll_ctl", "no epoll set", "EINVAL", notASet],
  ["epoll_ctl", "a set that is not open", "EBADF", () => epollCtl(NOWHERE, ADD!, MORE)],
  [
    "epoll_ctl",
    "a number that is not open",
    "EBADF",
    ({ scope }) => epollCtl(scope.own(epollCreate()), ADD!, { ...MORE, fd: NOWHERE }),
  ],
  ["epoll_ctl ADD", "what is in it already", "EEXIST", twice],
  [
    "epoll_ctl ADD",
    "a regular file, which is always ready",
    "EPERM",
    (p) => {
      const fd = p.scope.own(open(regularFile(p), file.O_RDONLY));
      return epollCtl(p.scope.own(epollCreate()), ADD!, { ...MORE, fd });
    },
  ],
  [
    "epoll_ctl ADD",
    "itself",
    "EINVAL",
    ({ scope }) => {
      const fd = scope.own(epollCreate());
      return epollCtl(fd, ADD!, { ...MORE, fd });
    },
  ],
  ["epoll_ctl MOD", "what is not in it", "ENOENT", (p) => absent(p, MOD!)],
  ["epoll_ctl DEL", "what is not in it", "ENOENT", (p) => absent(p, DEL!)],
  ["epoll_wait", "a set that is not open", "EBADF", () => new EpollEvents(1).wait(NOWHERE)],
  [
    "epoll_wait",
    "no epoll set",
    "EINVAL",
    ({ scope }) => new EpollEvents(1).wait(scope.pair(SOCK_STREAM)[0]),
  ],
];

function emptyEventfd(scope: Scope): number {
  return scope.own(eventfd(file.O_NONBLOCK));
}

function absent({ scope }: Place, op: number): number {
  const [fd] = scope.pair(SOCK_STREAM);
  return epollCtl(scope.own(epollCreate()), op, { ...MORE, fd });
}

for (const [call, how, code, fn] of rows) {
  test(`${call}: ${how} → ${code}`, () => {
    using scope = new Scope();
    using dir = tempDir();
    expect(fn({ scope, dir })).toBe(-errno[code]);
  });
}

test("poll: a number that is not open is an answer, not an error", () => {
  expect(poll(NOWHERE, events.POLLIN, 0)).toBe(events.POLLNVAL);
});

test("poll: nothing is ready → 0, and what is ready is said", () => {
  using scope = new Scope();
  const [a, b] = scope.pair(SOCK_STREAM);
  expect(poll(a, events.POLLIN, 0)).toBe(0);
  expect(poll(a, events.POLLIN | events.POLLOUT, 0)).toBe(events.POLLOUT);
  scope.close(b);
  expect(poll(a, events.POLLIN, -1) & events.POLLHUP).toBe(events.POLLHUP);
});
