// The Linux column against the headers of systems that this machine is not: arm64 and musl, with
// compilers for them. The programs that come out say what those headers say.

import { expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { arch, system } from "../../native/platform.ts";
import { cellFor, type Struct, structs, type Table, tables } from "../../native/table.ts";
import { root } from "../support/child.ts";
import { compileCSource, missing } from "../support/peers.ts";
import { foreignCompiler, testUnless } from "../support/unless.ts";
import { type Column, judgeStruct, judgeTable, structSource, tableSource } from "./probe.ts";

const native = join(root, "native");
for (const file of readdirSync(native)) if (file.endsWith(".ts")) await import(join(native, file));

interface Other {
  readonly name: string;
  readonly column: Column;
  readonly compiler: string;
  /** What runs the programs, where the machine cannot. */
  readonly run: readonly string[];
  /** Whether these headers have all that glibc's and the kernel's have. */
  readonly complete: boolean;
  /** Where they are not the kernel's numbers, which are what is passed, and read, here. */
  readonly own: readonly string[];
}

const others: readonly Other[] = [
  {
    name: "arm64",
    column: { on: "linux", machine: "arm64" },
    compiler: "aarch64-linux-gnu-gcc",
    run: arch === "arm64" ? [] : ["qemu-aarch64-static"],
    complete: true,
    own: [],
  },
  {
    name: "musl",
    column: { on: "linux", machine: arch },
    compiler: "musl-gcc",
    run: [],
    complete: false,
    own: [
      "O_ACCMODE: row 3, headers 2097155", // with O_PATH in it, for O_SEARCH
      "SOMAXCONN: row 4096, headers 128", // the kernel's since 5.4
      // the kernel's size_t as 32 bits and padding, which is zero in what we pass
      "struct msghdr.msg_iovlen.bytes: row 8, headers 4",
      "struct msghdr.msg_controllen.bytes: row 8, headers 4",
      "struct cmsghdr.cmsg_len.bytes: row 8, headers 4",
    ],
  },
];

const LONG_MS = 120_000;

class Headers {
  readonly #other: Other;
  readonly #known = new Map<string, boolean>();
  /** Rows and fields that were compared. */
  compared = 0;

  constructor(other: Other) {
    this.#other = other;
  }

  /** What one table gets wrong, as far as these headers can tell. */
  table(table: Table): string[] {
    if (!this.#hasAll(table.headers)) return [];
    const { column, complete } = this.#other;
    const said = this.#output("table", tableSource(table, column));
    this.compared += said.split("\n").filter((line) => /\t-?\d/.test(line)).length;
    const { wrong } = judgeTable(table, said, column);
    return complete ? wrong : wrong.filter((line) => !line.includes("not in the headers"));
  }

  struct(struct: Struct): string[] {
    const { column } = this.#other;
    if (cellFor(struct.size, column.on, column.machine) === null) return [];
    const source = structSource(struct, column);
    if (source === null || !this.#hasAll(struct.headers)) return [];
    this.compared++;
    const wrong = judgeStruct(struct, this.#output("struct", source), column);
    return wrong.map((line) => `${struct.name}.${line}`);
  }

  #hasAll(headers: readonly string[]): boolean {
    return headers.every((header) => {
      let has = this.#known.get(header);
      if (has === undefined) {
        const look = [this.#other.compiler, "-E", "-include", header, "-x", "c", "/dev/null"];
        has = Bun.spawnSync(look, { stdout: "ignore", stderr: "ignore" }).success;
        this.#known.set(header, has);
      }
      return has;
    });
  }

  #output(what: string, source: string): string {
    const { name, compiler, run } = this.#other;
    const program = compileCSource(`${name}-${what}`, source, ["-static"], compiler);
    const { stdout, success } = Bun.spawnSync([...run, program]);
    if (!success) throw new Error(`${program} failed`);
    return stdout.toString();
  }
}

for (const other of others) {
  if (system !== "linux") continue;
  testUnless(
    foreignCompiler() ?? missing([other.compiler, ...other.run]),
    `${other.name}'s headers`,
    () => {
      const headers = new Headers(other);
      const wrong = tables.flatMap((table) => headers.table(table));
      wrong.push(...structs.flatMap((struct) => headers.struct(struct)));
      expect(wrong).toEqual([...other.own]);
      console.log(`note: ${headers.compared} rows and layouts compared`);
      expect(headers.compared).toBeGreaterThan(200);
    },
    LONG_MS,
  );
}

test("there are tables to look at", () => expect(tables.length).toBeGreaterThan(10));
