// The FFI signatures of native/symbols.ts against this libc: is the symbol there, and does the C
// prototype take what we pass?

import { expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { system } from "../../native/platform.ts";
import { darwin, glibcOnly, linux, posix, type Signature, variadic } from "../../native/symbols.ts";
import { isMusl, symbol } from "../../src/syscalls/libc.ts";
import { peer, peerTest } from "../support/peers.ts";
import { tempDir } from "../support/tmp.ts";

const own: Record<string, Signature> = { ...posix, ...(system === "darwin" ? darwin : linux) };

const found = (name: string): boolean => (symbol(name) ?? 0) !== 0;

test("every symbol is in this libc", () => {
  expect(Object.keys(own).filter((name) => !found(name))).toEqual([]);
});

test("a symbol that no libc has is not found", () => {
  expect(found("bunix_no_such_symbol")).toBeFalse();
});

test("what tells glibc from musl does so", () => {
  expect(Object.keys(glibcOnly).every(found)).toBe(!isMusl());
});

/** What an FFI type may stand for, by the C type's last word ("*" for all pointers). */
const stands: Readonly<Record<string, readonly string[]>> = {
  "*": ["ptr"],
  __SOCKADDR_ARG: ["ptr"],
  __CONST_SOCKADDR_ARG: ["ptr"],
  int: ["i32"],
  pid_t: ["i32"],
  mqd_t: ["i32"],
  clockid_t: ["i32"],
  idtype_t: ["u32", "i32"],
  "unsigned int": ["u32"],
  socklen_t: ["u32"],
  uid_t: ["u32"],
  gid_t: ["u32"],
  mode_t: ["u32"],
  pthread_t: ["u64"],
  id_t: ["u32"],
  // as wide as a pointer, and an argument that costs less as one (facts: #ffi-call-cost)
  size_t: ["u64", "ptr"],
  nfds_t: ["u64", "ptr"],
  "long unsigned int": ["u64"],
  "long int": ["i64", "i64_fast", "ptr"],
  // the lower half: no call moves 2³¹ bytes at once
  ssize_t: ["i32"],
  off_t: ["i64", "i64_fast"],
  void: ["void"],
};

/** All that any system has of these; the rest are left out. */
const headers = [
  ...["aio", "dirent", "dlfcn", "errno", "fcntl", "grp", "mqueue", "poll", "pwd", "sched"],
  ...["signal", "pthread", "spawn", "stdlib", "string", "time", "unistd", "gnu/libc-version"],
  "sys/epoll",
  ...["sys/eventfd", "sys/file", "sys/inotify", "sys/ioctl", "sys/mman", "sys/mount", "sys/prctl"],
  ...["sys/resource", "sys/socket", "sys/stat", "sys/statfs", "sys/syscall", "sys/timerfd"],
  ...["sys/types", "sys/uio", "sys/un", "sys/wait"],
];

interface Prototype {
  readonly returns: string;
  readonly args: readonly string[];
  readonly variadic: boolean;
}

/** What gcc's -aux-info says: one line per function that the headers declare. */
function prototypes(): Map<string, Prototype> {
  using dir = tempDir();
  const source = dir.file("headers.c");
  const lines = headers.map((h) => `#if __has_include(<${h}.h>)\n#include <${h}.h>\n#endif\n`);
  writeFileSync(source, lines.join(""));
  const out = dir.file("prototypes");
  const command = ["cc", "-D_GNU_SOURCE", "-fsyntax-only", "-aux-info", out, source];
  expect(Bun.spawnSync(command).success).toBeTrue();
  const all = new Map<string, Prototype>();
  for (const line of readFileSync(out, "utf8").split("\n")) {
    const match = /\*\/ extern (.*?)(\w+) \((.*)\);$/.exec(line);
    if (match === null) continue;
    const args = match[3]!.split(", ").filter((arg) => arg !== "void");
    const variadic = args.at(-1) === "...";
    if (variadic) args.pop();
    all.set(match[2]!, { returns: match[1]!.trim(), args, variadic });
  }
  return all;
}

function standsFor(cType: string): readonly string[] {
  if (cType.endsWith("*") || cType.includes("(*)")) return stands["*"]!;
  const bare = cType.replace(/^const /, "").replace(/^__(?=[a-z])/, "");
  return stands[bare] ?? [`(add the C type "${bare}" to this test)`];
}

/** Where a signature is not what C declares. */
function disagreements(name: string, ours: Signature, c: Prototype | undefined): string[] {
  if (c === undefined) return [`${name}: no prototype; add its header to this test`];
  const wrong: string[] = [];
  const compare = (what: string, mine: string, theirs: string): void => {
    const allowed = standsFor(theirs);
    if (!allowed.includes(mine)) {
      wrong.push(`${name}: ${what} is ${theirs}, so ${allowed.join(" or ")}, not ${mine}`);
    }
  };
  compare("result", ours.returns, c.returns);
  if (c.variadic && variadic[name] !== c.args.length) {
    wrong.push(`${name}: ${c.args.length} arguments before its "...", not ${variadic[name]}`);
  }
  const enough = c.variadic ? ours.args.length >= c.args.length : false;
  if (!enough && ours.args.length !== c.args.length) {
    wrong.push(`${name}: takes ${c.args.length} arguments, not ${ours.args.length}`);
  }
  for (const [i, theirs] of c.args.entries()) {
    const mine = ours.args[i];
    if (mine !== undefined) compare(`argument ${i + 1}`, mine, theirs);
  }
  return wrong;
}

/** clang has no -aux-info. */
const isClang = (): boolean =>
  peer("cc").available &&
  !Bun.spawnSync(["cc", "--version"]).stdout.toString().includes("Free Software Foundation");

if (isClang()) {
  console.log("skip: signatures agree with the C prototypes (needs gcc's -aux-info)");
} else {
  peerTest("signatures agree with the C prototypes", ["cc"], () => {
    const declared = prototypes();
    const all: Record<string, Signature> = isMusl() ? own : { ...own, ...glibcOnly };
    const wrong = Object.entries(all).flatMap(([name, signature]) =>
      disagreements(name, signature, declared.get(name)),
    );
    expect(wrong).toEqual([]);
  });
}

test("a signature with every mistake is found", () => {
  const c: Prototype = { returns: "ssize_t", args: ["int", "const void *"], variadic: false };
  const ours: Signature = { args: ["u32", "u64", "i32"], returns: "i64" };
  expect(disagreements("f", ours, c)).toEqual([
    "f: result is ssize_t, so i32, not i64",
    "f: takes 2 arguments, not 3",
    "f: argument 1 is int, so i32, not u32",
    "f: argument 2 is const void *, so ptr, not u64",
  ]);
  expect(disagreements("g", ours, undefined)).toHaveLength(1);
  const variadicC: Prototype = { ...c, variadic: true };
  expect(disagreements("h", { args: ["i32", "ptr"], returns: "i32" }, variadicC)).toEqual([
    'h: 2 arguments before its "...", not undefined',
  ]);
});
