// `npm run report`: one page about this machine, to be pasted into an issue. Every cell of native/
// that a C compiler here can be asked about, everything in capabilities(), and the tests of the
// folders that do not need Linux's tools. Wrong answers are what it is for: it always ends with 0.
//
//   npm run report [-- part of a test file's name …]

import { readdirSync } from "node:fs";
import { arch, release, type } from "node:os";
import { join } from "node:path";
import { cellFor, type Row, structs, tables } from "../../native/table.ts";
import { capabilities } from "../../src/capabilities.ts";
import { judgeStruct, judgeTable, ownColumn, structSource, tableSource } from "../abi/probe.ts";
import { root } from "../support/child.ts";
import { compileCSource, missing } from "../support/peers.ts";

const native = join(root, "native");
for (const file of readdirSync(native)) if (file.endsWith(".ts")) await import(join(native, file));

const lines: string[] = [];
const say = (...more: readonly string[]): void => void lines.push(...more);
const asked = Bun.spawnSync(["git", "rev-parse", "--short", "HEAD"], { cwd: root });
const commit = asked.stdout.toString().trim();

say(
  "# bunix on this machine",
  "",
  `${type()} ${release()}, ${arch()}; Bun ${Bun.version}; commit ${commit}`,
);

const has = (row: Row): boolean => cellFor(row, ownColumn.on, ownColumn.machine) !== null;
const answer = (name: string, source: string): string =>
  Bun.spawnSync([compileCSource(name, source)]).stdout.toString();

/** What one table or struct gets wrong; what the compiler says where it takes none of it. */
function judged(check: () => readonly string[]): readonly string[] {
  try {
    return check();
  } catch (error) {
    return [String(error).split("\n").slice(0, 6).join(" / ")];
  }
}

function cells(): void {
  say("", "## Cells of native/ against this machine's headers", "");
  const lacking = missing(["cc"]);
  if (lacking !== null) {
    say(`not compared: ${lacking}`);
    return;
  }
  let compared = 0;
  const [wrong, absent]: [string[], string[]] = [[], []];
  for (const table of tables) {
    compared += Object.values(table.rows).filter(has).length;
    const found = judged(() => {
      const verdict = judgeTable(table, answer("report-table", tableSource(table)));
      absent.push(...verdict.absent);
      return verdict.wrong;
    });
    wrong.push(...found.map((line) => `${table.headers.join(", ")}: ${line}`));
  }
  for (const struct of structs) {
    const source = structSource(struct);
    if (source === null) continue;
    compared += 1 + 2 * Object.values(struct.fields).filter(([offset]) => has(offset)).length;
    const found = judged(() => judgeStruct(struct, answer("report-struct", source)));
    wrong.push(...found.map((line) => `${struct.name}: ${line}`));
  }
  say(`${compared} cells with a value; wrong: ${wrong.length}; absent: ${absent.length}`);
  say(...wrong.map((line) => `- WRONG ${line}`), ...absent.map((line) => `- absent: ${line}`));
}

function works(): void {
  say("", "## capabilities()", "");
  for (const [name, value] of Object.entries(capabilities())) {
    if (typeof value !== "object" || value === null) say(`- ${name}: ${value}`);
    else if ("available" in value) {
      say(
        `- ${name}: ${value.available ? "yes" : "no"}${value.reason ? ` (${value.reason})` : ""}`,
      );
    } else say(`- ${name}: ${JSON.stringify(value)}`);
  }
}

async function promises(filters: readonly string[]): Promise<void> {
  say("", "## Tests", "");
  const folders = ["structs", "syscalls", "loop", "api"].map((name) => `test/${name}/`);
  const command = ["test/run.ts", "--only-tests", "--limit=120"];
  const child = Bun.spawn(
    [process.execPath, ...command, ...(filters.length > 0 ? filters : folders)],
    { cwd: root, stdio: ["ignore", "pipe", "inherit"], env: { ...process.env, CI: "false" } },
  );
  const failed = new Set<string>();
  for (const line of (await child.stdout.text()).split("\n")) {
    if (line.startsWith("(fail) ")) failed.add(line);
    else if (/^(ok {2}|FAIL) /.test(line)) {
      say(`- ${line}`, ...[...failed].map((test) => `  - ${test}`));
      failed.clear();
    } else if (/^\d+ passed, /.test(line)) say("", line);
  }
}

cells();
works();
await promises(process.argv.slice(2));
console.log(lines.join("\n"));
