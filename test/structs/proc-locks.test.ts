// The lines of /proc/locks.

import { expect, test } from "bun:test";
import { decodeLocks } from "../../src/structs/proc-locks.ts";

const LARGEST = "18446744073709551615";

test("the forms that lines have", () => {
  const text = [
    "1: POSIX  ADVISORY  WRITE 1234 08:01:5678 0 EOF",
    "1: -> POSIX  ADVISORY  WRITE 99 08:01:5678 0 EOF",
    "2: FLOCK  ADVISORY  READ  -1 00:1f:18446744073709551615 0 EOF",
    "13: LEASE  ACTIVE    READ  7 fd:100:9 0 EOF",
    "14: OFDLCK ADVISORY  WRITE -1 fffff:00:9 0 EOF",
    "nothing of the kind",
    "",
  ].join("\n");
  expect(decodeLocks(text)).toEqual([
    { kind: "POSIX", shared: false, pid: 1234, device: { major: 8, minor: 1 }, inode: "5678" },
    { kind: "FLOCK", shared: true, pid: -1, device: { major: 0, minor: 31 }, inode: LARGEST },
    { kind: "LEASE", shared: true, pid: 7, device: { major: 0xfd, minor: 256 }, inode: "9" },
    { kind: "OFDLCK", shared: false, pid: -1, device: { major: 0xfffff, minor: 0 }, inode: "9" },
  ]);
});
