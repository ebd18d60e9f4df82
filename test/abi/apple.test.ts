// macOS's column against Apple's own headers, for both of its architectures: C with an assertion
// for each cell, which a compiler for macOS either takes or not. Nothing of it can be run here.

import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Arch } from "../../native/platform.ts";
import { darwin, posix, type Signature, variadic } from "../../native/symbols.ts";
import { type Row, structs, type Table, tables } from "../../native/table.ts";
import {
  compileForMac,
  exportedByLibSystem,
  maybeNoApple,
  noAppleCompiler,
} from "../darwin/apple.ts";
import { root } from "../support/child.ts";
import { testUnless } from "../support/unless.ts";
import { type Assertions, assertStruct, assertTable, joined, judge } from "./assertions.ts";

const native = join(root, "native");
for (const file of readdirSync(native)) if (file.endsWith(".ts")) await import(join(native, file));

const machines: readonly Arch[] = ["arm64", "x64"];
const LONG_MS = 120_000;
const reason = noAppleCompiler();

function appleTest(name: string, fn: () => void | Promise<void>): void {
  if (reason !== null && maybeNoApple) {
    console.log(`skip: ${name} (${reason})`);
    // biome-ignore lint/suspicious/noSkippedTests: the reason has been printed
    test.skip(name, fn);
  } else testUnless(reason, name, fn, LONG_MS);
}

/** There, but `null` in our column on purpose. */
const unused: Readonly<Record<string, string>> = {
  SO_TIMESTAMP: "only used for seqpacket sockets, which macOS does not have",
};

/** Rows whose names are in no header of Apple's that programs get. */
const unchecked: Readonly<Record<string, string>> = {};

/** What is no row for that reason, and no compiler can confirm. */
const elsewhere: Readonly<Record<string, string>> = {
  MSG_NBIO: "sys/socket_private.h",
  PSHMNAMLEN: "bsd/kern/posix_shm.c",
};

/** The order of what a header calls opaque. */
const opaque = "the words of audit_token_t (bsd/kern/kern_prot.c)";

const nothing: Row = [null, null];

/** Everything with the same headers in one program. */
function programs(machine: Arch): Assertions[] {
  const column = { on: "darwin", machine } as const;
  const all = [
    ...tables.map((table) => assertTable(table, column)),
    ...structs.map((struct) => assertStruct(struct, column)),
  ];
  return [...Map.groupBy(all, ({ headers }) => headers.join()).values()].map(joined);
}

async function compare(machine: Arch, programs: readonly Assertions[]) {
  const verdicts: ReturnType<typeof judge>[] = [];
  for (const program of programs) {
    const { said } = await compileForMac(machine, program.source, ["-c"]);
    verdicts.push(judge(program, said));
  }
  return {
    checked: verdicts.reduce((sum, { checked }) => sum + checked, 0),
    wrong: verdicts.flatMap(({ wrong }) => wrong),
    absent: verdicts.flatMap(({ absent }) => absent),
    confirmed: verdicts.reduce((sum, { confirmed }) => sum + confirmed, 0),
    unasked: verdicts.reduce((sum, { unasked }) => sum + unasked, 0),
  };
}

describe.each(machines)("Apple's headers for %s", (machine) => {
  appleTest(`say the same numbers and layouts (${machine})`, async () => {
    const { checked, wrong, absent, confirmed, unasked } = await compare(
      machine,
      programs(machine),
    );
    expect(wrong.filter((line) => !(line.split(":")[0]! in unused))).toEqual([]);
    expect(absent.sort()).toEqual(Object.keys(unchecked).sort());
    console.log(
      `note: ${machine}: ${checked} cells checked; ${absent.length} unchecked` +
        `${absent.length > 0 ? ` (${absent.join(", ")})` : ""}; ` +
        `${confirmed} names that are null here are in no header, ${unasked} cannot be asked for`,
    );
    expect(checked).toBeGreaterThan(250);
    const rows = Object.fromEntries(Object.keys(elsewhere).map((name) => [name, nothing]));
    const table: Table = { headers: ["sys/socket.h", "sys/mman.h"], rows };
    const others = assertTable(table, { on: "darwin", machine });
    expect((await compare(machine, [others])).confirmed).toBe(Object.keys(elsewhere).length);
    const listed = Object.entries(elsewhere).map(([name, where]) => `${name} (${where})`);
    console.log(
      `note: ${machine}: beside the tables, and unchecked: ${[...listed, opaque].join(", ")}`,
    );
  });

  appleTest(`say where a row is wrong (${machine})`, async () => {
    const rows: Table["rows"] = {
      O_RDWR: [2, 3],
      O_CREAT: [0o100, null],
      O_NOSUCH: [1, 1],
      O_EXCL: [0o200, 0x800],
    };
    const table = assertTable({ headers: ["fcntl.h"], rows }, { on: "darwin", machine });
    const fields = { fd: [[0, 0], [8, 8]] } as const; // biome-ignore format: one line
    const wide = assertStruct(
      { name: "struct pollfd", headers: ["poll.h"], size: [16, 16], fields },
      { on: "darwin", machine },
    );
    const none = assertStruct(
      { name: "struct bunix", headers: ["poll.h"], size: [16, 16], fields: {} },
      { on: "darwin", machine },
    );
    const found = await compare(machine, [table, wide]);
    expect(found.wrong.sort()).toEqual([
      "O_CREAT: null in the row, and there in the headers",
      "O_RDWR: row 3, headers 2",
      "struct pollfd.fd.bytes: row 8, headers 4",
      "struct pollfd.size: row 16, headers 8",
    ]);
    expect([found.absent, found.checked]).toEqual([["O_NOSUCH"], 5]);
    const [complaint] = (await compare(machine, [none])).wrong;
    expect(complaint).toInclude("incomplete type 'struct bunix'");
  });

  appleTest(`say the numbers of the shim (${machine})`, async () => {
    const found = await compare(machine, [assertTable(shim(), { on: "darwin", machine })]);
    expect([found.wrong, found.absent]).toEqual([[], []]);
    expect(found.checked).toBeGreaterThan(80);
    console.log(`note: ${machine}: ${found.checked} numbers of test/darwin/shim/darwin.h checked`);
  });

  appleTest(`declare what is called as it is called (${machine})`, async () => {
    const own: Record<string, Signature> = { ...posix, ...darwin };
    const names = Object.keys(own);
    // for select$DARWIN_EXTSN, which C calls select
    const lines = ["#define _DARWIN_UNLIMITED_SELECT"];
    for (const header of headers) lines.push(`#include <${header}>`);
    const used = names.map((name) => `(void *)${inC(name)},`);
    const source = [...lines, "void *used[] = {", ...used, "};"].join("\n");
    const { made, said } = await compileForMac(machine, source, ["-S", "-g0"]);
    const linked = Array.from(made.matchAll(/\.quad\t"?_([\w$]+)/g), ([, name]) => name!);
    expect({ said, linked }).toEqual({ said: "", linked: names }); // no $INODE64 and the like
    const exported = exportedByLibSystem();
    expect(names.filter((name) => !exported.has(name))).toEqual([]);
    const dump = ["-fsyntax-only", "-Xclang", "-ast-dump"];
    const tree = (await compileForMac(machine, source, dump)).said;
    const declared = new Map(
      Array.from(tree.matchAll(/FunctionDecl .* (\w+) '([^']*)'/g), ([, name, type]) => [
        name!,
        type!,
      ]),
    );
    const wrong = names.flatMap((name) => against(name, own[name]!, declared.get(inC(name)) ?? ""));
    expect(wrong).toEqual([]);
    console.log(`note: ${names.length} functions, ${machine}: names, arguments and results`);
  });
});

/** Those of the library that runs our Darwin code on Linux: `#define D_NAME number`. */
function shim(): Table {
  const text = readFileSync(join(root, "test/darwin/shim/darwin.h"), "utf8");
  const rows: Record<string, Row> = {};
  for (const [, name, value] of text.matchAll(/^#define D_(\w+) \(?(-?\w+)\)?$/gm)) {
    const isEnum = name === "SOCKINFO_UN";
    rows[name!] = isEnum ? [null, Number(value), "enumerator"] : [null, Number(value)];
  }
  expect(Object.keys(rows).length).toBe(text.match(/^#define D_/gm)!.length);
  const where = ["errno", "fcntl", "signal", "sys/event", "sys/mman", "sys/proc", "sys/proc_info"];
  where.push("sys/socket", "sys/un", "sys/wait", "time");
  return { headers: ["sys/types.h", ...where.map((name) => `${name}.h`)], rows };
}

/** A symbol's name without what its variant is called. */
const inC = (name: string): string => name.split("$")[0]!;

/** Where the functions are declared. */
const headers = [
  ...["launch", "libproc", "stdlib", "sys/select"],
  ...["dlfcn", "errno", "fcntl", "grp", "poll", "pwd", "sched", "signal", "sys/event"],
  ...["sys/file", "sys/mman", "sys/socket", "sys/stat", "sys/types", "sys/wait", "time"],
  ...["unistd", "stdio"],
].map((name) => `${name}.h`);

/** What an FFI type may stand for on macOS. All are in a register of their own. */
const stands: Readonly<Record<string, readonly string[]>> = {
  int: ["i32"],
  pid_t: ["i32"],
  "unsigned int": ["u32"],
  socklen_t: ["u32"],
  uint32_t: ["u32"],
  uint64_t: ["u64"],
  uid_t: ["u32"],
  gid_t: ["u32"],
  id_t: ["u32"],
  // 16 bits: a register of 32 that is zero above them
  mode_t: ["u32"],
  clockid_t: ["i32"],
  idtype_t: ["u32", "i32"],
  // 32 bits: the lower half of a register, and we pass less than 2³²
  nfds_t: ["u64", "ptr"],
  size_t: ["u64", "ptr"],
  ssize_t: ["i32"],
  off_t: ["i64"],
  void: ["void"],
};

function against(name: string, { args, returns }: Signature, type: string): string[] {
  const parts = /^(.*?) ?\((.*)\)$/.exec(type);
  if (parts === null) return [`${name}: no prototype in the headers that this test includes`];
  const all = parts[2] === "void" ? [] : parts[2]!.replace(/\(\*\)\([^)]*\)/, "*").split(", ");
  const isVariadic = all.at(-1) === "...";
  const named = isVariadic ? all.slice(0, -1) : all;
  const wrong: string[] = [];
  const compared = [parts[1]!, ...named].map((theirs, i) => [theirs, [returns, ...args][i]!]);
  for (const [theirs, ours] of compared) {
    const bare = theirs!.replace(/^(const|enum) /, "");
    const allowed = bare.includes("*") ? ["ptr"] : (stands[bare] ?? [`(add "${bare}")`]);
    if (!allowed.includes(ours!)) wrong.push(`${name}: ${theirs} is ${allowed}, not ${ours}`);
  }
  if (isVariadic ? variadic[name] !== named.length : args.length !== named.length) {
    wrong.push(`${name}: ${type} has ${named.length} named arguments`);
  }
  return wrong;
}
