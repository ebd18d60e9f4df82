// The house's rules that Biome does not have (biome.json has the others). Each message says where,
// what, and what to do instead.

import { describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./support/child.ts";
import { imports, type Source, sourceOf, sources } from "./support/source.ts";

type Rule = (source: Source) => string[];

const MAX_COLUMNS = 100;

const own = sources("native", "src");
const everything = sources("native", "src", "test", "bench", "examples");

/**
 * The floors of the house, from the bottom to the top. A file imports from its own folder and from
 * the floors below it; "src" are the doors (src/*.ts), which users import.
 */
const floors = [
  ...["native", "base", "structs", "syscalls", "users", "loop", "fd", "readiness", "signals"],
  ...["address", "process", "peer", "inspect", "lock", "bind", "socket", "listener", "fifo"],
  ...["message-queue", "memory", "activation", "channel", "handover", "send-fd", "spawn", "serve"],
  ...["http", "queue-socket", "capabilities", "src", "cli"],
];

/** The folder directly below src/, "src" for a door, or "native". */
function floorNameOf(file: string): string {
  if (file.startsWith("native/")) return "native";
  const [top, folder, ...rest] = file.split("/");
  return top !== "src" ? "" : rest.length === 0 ? "src" : folder!;
}

const floorOf = (file: string): number => floors.indexOf(floorNameOf(file));

const at = ({ file }: Source, line: number, what: string): string => `${file}:${line}: ${what}`;

/** Every line of `source.code` that matches `pattern`. */
function matches(source: Source, pattern: RegExp, what: string): string[] {
  const found: string[] = [];
  for (const [i, line] of source.code.entries()) {
    if (pattern.test(line)) found.push(at(source, i + 1, what));
  }
  return found;
}

const layering: Rule = (source) => {
  const mine = floorOf(source.file);
  const found: string[] = [];
  if (mine < 0) found.push(at(source, 1, `on no floor; there are ${floors.join(", ")}`));
  for (const { from, line } of imports(source)) {
    if (/^(?:bun|node)(?::|$)/.test(from)) continue;
    const theirs = floorOf(from);
    if (theirs < 0) {
      found.push(at(source, line, `imports ${from}: only Bun's own modules and our floors`));
    } else if (theirs > mine) {
      const order = floors.join(" ← ");
      found.push(at(source, line, `imports ${from}, upwards. ${order}: pass it in, or move it`));
    }
  }
  return found;
};

const dlopenIn = ["src/syscalls/libc.ts", "src/loop/waker-thread.ts"];

const oneDlopen: Rule = (source) =>
  dlopenIn.includes(source.file)
    ? []
    : matches(source, /\bdlopen\(/, "dlopen is called in src/syscalls/libc.ts only: add a symbol");

const platformIn = "native/platform.ts";
const inErrorText = "src/syscalls/libc.ts";

const onePlatform: Rule = (source) => {
  if (source.file === platformIn) return [];
  const what = `process.platform and .arch are read in ${platformIn} only: use system or arch`;
  const found = matches(source, /\bprocess\.(?:platform|arch)\b/, what);
  if (source.file !== inErrorText) return found;
  const inText = source.code.filter((line) => /\$\{process\.platform\}/.test(line)).length;
  return inText === found.length && inText <= 1 ? [] : found;
};

const aloneIn = "src/loop/waker-thread.ts";

const threadAlone: Rule = (source) =>
  source.file !== aloneIn
    ? []
    : imports(source)
        .filter(({ from }) => !/^(?:bun|node):/.test(from))
        .map(({ from, line }) => at(source, line, `imports ${from}: it must stand alone`));

const nativeIsData: Rule = (source) =>
  source.file.startsWith("native/")
    ? matches(source, /\b(?:dlopen|read|ptr|toArrayBuffer)\(/, "native/ is data: no calls to C")
    : [];

const withOwnBytes = [
  ...["src/syscalls/memory.ts", "src/syscalls/header.ts", "src/syscalls/trace/"],
  ...["src/loop/waker-thread.ts", "src/structs/", "src/cli/"],
];
const ofViews = "\\.(?:byteLength|byteOffset|buffer)\\b(?!\\()";
const kinds = "ArrayBuffer|SharedArrayBuffer|DataView|Buffer|(?:Uint8|Int8|Float64)Array";
const looksAtBytes = new RegExp(
  `\\bptr\\(|\\bArrayBuffer\\.isView\\b|\\binstanceof (?:${kinds})\\b|${ofViews}`,
);

/** Views of callers may lie, and be gone. The places above have ours alone. */
const oneLookAtBytes: Rule = (source) =>
  withOwnBytes.some((place) => source.file.startsWith(place))
    ? []
    : matches(
        source,
        looksAtBytes,
        "only src/syscalls/memory.ts asks a view where its bytes are: bytesIn, addressOf, Piece",
      );

const escapedIn = ["src/base/printable.ts", "src/queue-socket/inherit.ts"];

const textEscaped: Rule = (source) =>
  !source.file.startsWith("src/") || escapedIn.includes(source.file)
    ? []
    : matches(
        source,
        /\bJSON\.stringify\(|\bconsole\.log\(/,
        "text of others is in it: toJson (base/printable.ts), or print (cli/terminal.ts)",
      );

const timersIn = "src/base/timers.ts";

/** Biome has the rule for what is a global itself. */
const timersAsLoaded: Rule = (source) =>
  !source.file.startsWith("src/") || source.file === timersIn
    ? []
    : matches(
        source,
        /\b(?:process\.nextTick|performance\.now|Date\.now)\b/,
        `tests of programs replace it: import it from ${timersIn}`,
      );

const narrow: Rule = (source) =>
  source.lines.flatMap((line, i) =>
    line.length <= MAX_COLUMNS
      ? []
      : [at(source, i + 1, `${line.length} columns: break it, ${MAX_COLUMNS} are the most`)],
  );

const later = new RegExp(`\\b(?:${["TO" + "DO", "FIX" + "ME", "XX" + "X"].join("|")})\\b`);

const nothingForLater: Rule = (source) =>
  source.lines.flatMap((line, i) =>
    later.test(line) ? [at(source, i + 1, "do it now, or open an issue and name it here")] : [],
  );

const documented: Rule = (source) =>
  source.code.flatMap((line, i) => {
    if (!/^export (?!\{|\*|type \{)/.test(line)) return [];
    if (/\*\/\s*$/.test(source.lines[i - 1] ?? "")) return [];
    return [at(source, i + 1, "a public export without a doc comment: say what the caller gets")];
  });

const onlyReexports: Rule = (source) =>
  source.text
    .replace(/^\/\/.*$/gm, "")
    .replace(/^export [^;]*? from "[^"]+";$/gm, "")
    .trim() === ""
    ? []
    : [at(source, 1, "it has more than re-exports: move the rest to a file of its own")];

const isDoor = ({ file }: Source): boolean => floorNameOf(file) === "src";

/** Files that have something public: a door re-exports it. */
function publicFiles(): Source[] {
  const files = new Set(
    own.filter(isDoor).flatMap((door) => imports(door).map(({ from }) => from)),
  );
  return own.filter((source) => files.has(source.file));
}

/** The doors are exactly what package.json lets users import. */
function doorsAndExports(): { doors: string[]; exported: string[] } {
  const manifest = readFileSync(join(root, "package.json"), "utf8");
  const exported = Array.from(
    manifest.matchAll(/"\.\/dist\/(src\/[\w-]+)\.js"/g),
    ([, at]) => `${at}.ts`,
  );
  const doors = own.filter(isDoor).map(({ file }) => file);
  return { doors: doors.sort(), exported: exported.sort() };
}

const rules: readonly (readonly [string, readonly Source[], Rule])[] = [
  ["imports point downwards", own, layering],
  ["one dlopen", own, oneDlopen],
  ["one reading of the platform", own, onePlatform],
  ["the waker's thread stands alone", own, threadAlone],
  ["native/ is data", own, nativeIsData],
  ["one look at callers' bytes", own, oneLookAtBytes],
  ["text of others is escaped", own, textEscaped],
  ["timers and clocks as they were loaded", own, timersAsLoaded],
  [`at most ${MAX_COLUMNS} columns in a line`, everything, narrow],
  ["nothing left for later", everything, nothingForLater],
  ["exports of files with something public are documented", publicFiles(), documented],
  ["doors only re-export", own.filter(isDoor), onlyReexports],
];

for (const [name, files, rule] of rules) {
  test(name, () => expect(files.flatMap(rule)).toEqual([]));
}

test("src/*.ts are what package.json exports", () => {
  const { doors, exported } = doorsAndExports();
  expect(doors).toEqual(exported);
});

/** What stands in the first column of the table under `head`, where the second says something. */
function firstColumn(file: string, head: string): string[] {
  const text = readFileSync(join(root, file), "utf8");
  const table = text.slice(text.indexOf(`| ${head} `)).split("\n\n")[0]!;
  return Array.from(table.matchAll(/^\| `([\w-]+)` +\| \S/gm), ([, name]) => name!);
}

test("CONTRIBUTING.md has the floors in their order, and says what stands on each", () => {
  expect(firstColumn("CONTRIBUTING.md", "floor")).toEqual(floors);
});

test("CONTRIBUTING.md names files that exist", () => {
  const text = readFileSync(join(root, "CONTRIBUTING.md"), "utf8");
  const named = Array.from(text.matchAll(/\b((?:src|native|test|scripts)\/[\w/.-]+\.\w+)/g));
  expect(named.length).toBeGreaterThan(20);
  const missing = named.map(([, file]) => file!).filter((file) => !existsSync(join(root, file)));
  expect(missing).toEqual(["src/socket/low-water.ts"]); // the example of a new file
});

test("test/README.md says what belongs in each folder of test/", () => {
  const entries = readdirSync(join(root, "test"), { withFileTypes: true });
  const folders = entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
  expect(firstColumn("test/README.md", "folder").sort()).toEqual(folders.sort());
});

describe("the rules find what they look for", () => {
  const say = (file: string, text: string, rule: Rule): number => rule(sourceOf(file, text)).length;
  const cases: readonly (readonly [Rule, file: string, bad: string, good: string])[] = [
    [layering, "src/structs/a.ts", 'import "../fd/fd.ts";', 'import "../../native/file.ts";'],
    [layering, "native/a.ts", 'import "../src/base/errors.ts";', 'import "./table.ts";'],
    [layering, "src/base/errors.ts", 'import "../fd/fd.ts";', 'import "../../native/errno.ts";'],
    [layering, "src/socket/a.ts", 'import "../socket.ts";', 'import "../syscalls/fd.ts";'],
    [layering, "src/loop/a.ts", 'import x from "left-pad";', 'import x from "../base/errors.ts";'],
    [oneDlopen, "src/a.ts", "dlopen(x);", "// dlopen(x)"],
    [onePlatform, "src/a.ts", "process.arch;", '"process.arch";'],
    [onePlatform, inErrorText, "f(process.platform);", "f(`\u0024{process.platform}`);"],
    [threadAlone, aloneIn, 'import "../errors.ts";', 'import "node:fs";'],
    [textEscaped, "src/a.ts", "JSON.stringify(x);", "toJson(x);"],
    [nativeIsData, "native/a.ts", "dlopen(x);", "constants(x);"],
    [oneLookAtBytes, "src/a.ts", "f(ptr(data));", "f(addressOf(data));"],
    [oneLookAtBytes, "src/a.ts", "f(data.byteLength);", "f(bytesIn(data), Buffer.byteLength(s));"],
    [oneLookAtBytes, "src/a.ts", "if (data instanceof Uint8Array) f();", "if (isView(data)) f();"],
    [timersAsLoaded, "src/a.ts", "process.nextTick(f);", "nextTick(f);"],
    [narrow, "a.ts", "x".repeat(101), "x".repeat(100)],
    [nothingForLater, "a.ts", `// ${"TO" + "DO"}: x`, "// done"],
    [documented, "src/a.ts", "export const a = 1;", "/** A. */\nexport const a = 1;"],
    [onlyReexports, "src/index.ts", "const a = 1;", 'export { a } from "./a.ts";'],
  ];
  for (const [i, [rule, file, bad, good]] of cases.entries()) {
    test(`case ${i + 1}: ${bad.trim().slice(0, 40).replaceAll("\n", " ")}`, () => {
      expect(say(file, bad, rule)).toBe(1);
      expect(say(file, good, rule)).toBe(0);
    });
  }
});
