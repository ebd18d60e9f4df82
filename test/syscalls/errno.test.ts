// errno is what it was right after the call: read once, only after a failure, and not overwritten
// by what JavaScript does in between.

import { expect, test } from "bun:test";
import { type ErrnoName, errno, meanings } from "../../native/errno.ts";
import { file } from "../../native/file.ts";
import { errnoName } from "../../src/base/errors.ts";
import { close, descriptorFlags, duplicate, open } from "../../src/syscalls/fd.ts";
import { AGAIN, INTERRUPTED, result, uninterrupted } from "../../src/syscalls/result.ts";
import { accept, listen } from "../../src/syscalls/socket.ts";
import { failures, fake, fakeErrno } from "../support/seam.ts";
import { NOWHERE, Scope, SOCK_STREAM } from "./sockets.ts";

test("result: a value passes, a failure becomes its errno", () => {
  using _ = fakeErrno(() => errno.EPERM);
  expect([0, 1, 2 ** 40].map(result)).toEqual([0, 1, 2 ** 40]);
  expect(result(-1)).toBe(-errno.EPERM);
});

test("errno is not read after a success", () => {
  using _ = fakeErrno(() => {
    throw new Error("read");
  });
  expect(result(0)).toBe(0);
  expect(() => result(-1)).toThrow("read");
});

test("a success after a failure is no failure", () => {
  expect(close(NOWHERE)).toBe(-errno.EBADF);
  const fd = duplicate(0);
  expect(fd).toBeGreaterThan(2);
  expect(close(fd)).toBe(0);
});

test("a failing call after another has its own errno, under allocation and collection", () => {
  using scope = new Scope();
  const plain = scope.own(open("/dev/null", file.O_RDONLY));
  const stream = scope.socket(SOCK_STREAM);
  const wrong: number[][] = [];
  const garbage: unknown[] = [];
  for (let i = 0; i < 200_000; i++) {
    const found = [descriptorFlags(NOWHERE), accept(plain), listen(stream, 1)];
    garbage[i % 100] = new Uint8Array(64);
    const [a, b, c] = found;
    if (a !== -errno.EBADF || b !== -errno.ENOTSOCK || c !== -errno.EINVAL)
      wrong.push([i, ...found]);
    if (i % 50_000 === 0) Bun.gc(true);
  }
  expect(wrong).toEqual([]);
});

test("names of results", () => {
  expect([AGAIN, INTERRUPTED].map((value) => errnoName(-value))).toEqual(["EAGAIN", "EINTR"]);
  expect(errnoName(999)).toBe("E999");
  for (const [name, number] of Object.entries(errno)) {
    expect(errnoName(number)).toBe(name);
    expect(meanings[name as ErrnoName].length).toBeGreaterThan(4);
  }
});

test("uninterrupted: again after EINTR, and after nothing else", () => {
  const answers = [-1, -1, -1, 7, -1, 8];
  const errors = [errno.EINTR, errno.EINTR, errno.EINTR, errno.EAGAIN];
  using _ = fakeErrno(() => errors.shift()!);
  expect(uninterrupted(() => answers.shift()!)).toBe(7);
  expect(uninterrupted(() => answers.shift()!)).toBe(AGAIN);
  expect(answers).toEqual([8]);
});

test("the seam: what a fake says is what the layer above gets, and it goes away again", () => {
  {
    using calls = fake("listen", [...failures(errno.EPERM, 1), () => 5]);
    expect(listen(3, 1)).toBe(-errno.EPERM);
    expect(listen(3, 1)).toBe(5);
    expect(listen(NOWHERE, 1)).toBe(-errno.EBADF);
    expect(calls.calls).toEqual([
      [3, 1],
      [3, 1],
      [NOWHERE, 1],
    ]);
  }
  expect(listen(NOWHERE, 1)).toBe(-errno.EBADF);
});
