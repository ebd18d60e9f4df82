// Asking what a descriptor stands for, also where the kernel wants a name for that (before Linux
// 6.11).

import { afterAll, expect } from "bun:test";
import { closeSync, openSync } from "node:fs";
import { mode } from "../../native/file.ts";
import { nr } from "../../native/numbers.ts";
import { system } from "../../native/platform.ts";
import { close, pipe } from "../../src/syscalls/fd.ts";
import { lookAt } from "../../src/syscalls/file-kind.ts";
import { libc } from "../../src/syscalls/libc.ts";
import { testsUnless } from "../support/unless.ts";

const { test } = testsUnless(system === "linux" ? null : "statx is Linux's");

const nothing = openSync("/dev/null", "r");
afterAll(() => closeSync(nothing));

const ends = pipe() as readonly [number, number];
afterAll(() => {
  for (const end of ends) close(end);
});

test("it says the type", () => {
  expect([lookAt(nothing), lookAt(ends[0])]).toEqual([mode.S_IFCHR, mode.S_IFIFO]);
  expect(lookAt(2 ** 30)).toBeNegative();
});

test("a kernel that wants a name gets an empty one, from then on", () => {
  const { syscall } = libc;
  const BAD_ADDRESS = 8;
  const names: (number | string)[] = [];
  libc.syscall = (...args) => {
    if (args[0] !== nr.SYS_statx) return syscall(...args);
    const name = args[2] as number;
    names.push(name === 0 ? "none" : "empty");
    return name === 0 ? syscall(args[0], args[1], BAD_ADDRESS, ...rest(args)) : syscall(...args);
  };
  try {
    expect([lookAt(nothing), lookAt(ends[0])]).toEqual([mode.S_IFCHR, mode.S_IFIFO]);
  } finally {
    libc.syscall = syscall;
  }
  const [first, ...others] = names;
  if (first === "none") expect(others).toEqual(["empty", "empty"]);
  else expect(others).toEqual(["empty"]); // this kernel itself has asked for one before
});

type All = Parameters<typeof libc.syscall>;
const rest = ([, , , a, b, c, d]: All): [All[3], All[4], All[5], All[6]] => [a, b, c, d];
