// Modules that dist/ has as text until something of them is used. To a start a text is one token:
// it is neither parsed nor compiled. It is in the same file as the rest, so that its first use needs
// no descriptor, no path and no permission.
//
// The sources know nothing of it. Such a module becomes a stub: functions that run the text at
// their first call, and are replaced by what it defines.

import { readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { type BuildOptions, build, type Plugin } from "esbuild";
import { builtins, sources } from "./plugins.ts";

/** What the first message of a pair needs, and what is too small to be worth a stub. */
const AT_ONCE = [
  /^native\/(?:errno|file|fifo|library|numbers|platform|poll|search|socket|symbols|table|time)\.ts/,
  /^src\/base\//,
  /^src\/structs\/(?:cmsg|credentials|msghdr|sockaddr-un)\.ts/,
  /^src\/syscalls\/(?:clock|fd|header|libc|memory|message|piece|result|socket|thread-teardown)\.ts/,
  /^src\/fd\/(?:closing|fd|finalizer|owner|thread-end)\.ts/,
  /^src\/loop\/(?:gate|lazy-watch|stop-waiting|turn)\.ts/,
  /^src\/socket\/(?:datagram|endpoint|message|messaging|options|packet|pair|receive|send)\.ts/,
  /^src\/socket\/(?:seqpacket|stream|types)\.ts/,
];

/** A text shorter than this, before it is minified, costs more than it saves. */
const MIN_LENGTH = 800;

const root = join(import.meta.dir, "..");

/** A module's file, from the repository's root. */
type File = string;

/** What each module imports, types aside: the names, by module. */
type Imports = ReadonlyMap<File, ReadonlyMap<File, ReadonlySet<string>>>;

/** What each module exports at run time. */
type Exports = ReadonlyMap<File, Readonly<Record<string, unknown>>>;

const isOurs = (file: File): boolean => /^(?:src|native)\/.*\.ts$/.test(file);
const isDoor = (file: File): boolean => /^src\/[^/]+$/.test(file);
/** Files of the program, which loads each command when it is asked for. */
const isProgram = (file: File): boolean => file.startsWith("src/cli/");
const isFunction = (value: unknown): value is CallableFunction => typeof value === "function";
const isClass = (value: unknown): value is CallableFunction =>
  isFunction(value) && /^class\b/.test(String(value));

const common = {
  absWorkingDir: root,
  outdir: root,
  bundle: true,
  write: false as const,
  format: "esm" as const,
  platform: "node" as const,
  target: "esnext",
  external: ["bun", "bun:ffi", "node:*"],
  logLevel: "warning" as const,
} satisfies BuildOptions;

/** An import as esbuild writes it: of names, or of another file's text. */
const IMPORT = /^(?:\/\/.*\n|\s)*import (?:(\w+)|\{([^}]*)\}) from "([^"]*)".*;\n/;

/** The names that a module imports, by module; it stands alone in `text`. */
function importsIn(text: string): Map<File, Set<string>> {
  const imports = new Map<File, Set<string>>();
  let rest = text;
  for (let found = IMPORT.exec(rest); found !== null; found = IMPORT.exec(rest)) {
    const [all, whole, list = "", from = ""] = found;
    const names = list.split(",").map((one) => one.trim().split(" ")[0] ?? "");
    const own = imports.get(from) ?? new Set();
    for (const name of whole === undefined ? names : ["default"]) own.add(name);
    imports.set(from, own);
    rest = rest.slice(all.length);
  }
  return imports;
}

/** Nothing but the entry itself is loaded. */
const alone: Plugin = {
  name: "alone",
  setup({ onResolve }) {
    onResolve({ filter: /^\.\.?\// }, ({ path, resolveDir }) => {
      return { path: relative(root, join(resolveDir, path)), external: true, sideEffects: false };
    });
  },
};

/** All modules behind some entries; a module whose text alone is imported is none. */
async function modulesOf(entries: readonly string[]): Promise<File[]> {
  const { metafile } = await build({ ...common, entryPoints: [...entries], metafile: true });
  const imported = Object.values(metafile.inputs)
    .flatMap(({ imports }) => imports)
    .filter((one) => one.with?.["type"] !== "text")
    .map(({ path }) => path);
  const all = new Set([...imported, ...entries.map((entry) => relative(root, entry))]);
  return Object.keys(metafile.inputs).filter((file) => isOurs(file) && all.has(file));
}

/** What every module imports, and how long it is without comments and types. */
async function look(files: readonly File[]): Promise<[Imports, ReadonlyMap<File, number>]> {
  const { outputFiles } = await build({
    ...common,
    entryPoints: files.map((file) => ({ in: join(root, file), out: file })),
    plugins: [alone],
  });
  const file = (path: string): File => relative(root, path).replace(/\.js$/, "");
  return [
    new Map(outputFiles.map(({ path, text }) => [file(path), importsIn(text)])),
    new Map(outputFiles.map(({ path, text }) => [file(path), text.length])),
  ];
}

/** What the classes of a module extend. */
const basesIn = (file: File): string[] =>
  Array.from(
    readFileSync(join(root, file), "utf8").matchAll(/\bclass \w+(?:<.*?>)? extends (\w+)/g),
    ([, base = ""]) => base,
  );

/**
 * The modules that can be texts: what others that are none use of them is functions, and classes
 * that no user gets and none of theirs extends.
 */
function textsOf(imports: Imports, exported: Exports, atOnce: ReadonlySet<File>): Set<File> {
  const files = [...imports.keys()].filter((file) => !isDoor(file) && !isProgram(file));
  const texts = new Set(files.filter((file) => !atOnce.has(file)));
  for (let before = -1; before !== texts.size; ) {
    before = texts.size;
    for (const [importer, own] of imports) {
      if (texts.has(importer)) continue;
      const bases = basesIn(importer);
      const fits = (value: unknown, name: string): boolean =>
        isFunction(value) && !bases.includes(name) && !(isDoor(importer) && isClass(value));
      for (const [file, names] of own) {
        if ([...names].some((name) => !fits(exported.get(file)?.[name], name))) texts.delete(file);
      }
    }
  }
  return texts;
}

/** Of each module, the modules behind doors that lead to it. */
function waysTo(imports: Imports): Map<File, Set<File>> {
  const ways = new Map<File, Set<File>>();
  const visit = (file: File, from: File): void => {
    const own = ways.get(file) ?? new Set();
    ways.set(file, own);
    if (own.has(from)) return;
    own.add(from);
    for (const next of imports.get(file)?.keys() ?? []) visit(next, from);
  };
  for (const [importer, own] of imports) {
    if (isProgram(importer)) visit(importer, "");
    else if (isDoor(importer)) for (const file of own.keys()) visit(file, file);
  }
  return ways;
}

/** One text: modules of one folder that the same doors lead to, so that a bundle takes all or none. */
type Group = ReadonlySet<File>;

function groupsOf(
  imports: Imports,
  exported: Exports,
  lengths: ReadonlyMap<File, number>,
): Group[] {
  const ways = waysTo(imports);
  const atOnce = [...imports.keys()].filter((file) => AT_ONCE.some((one) => one.test(file)));
  for (;;) {
    const texts = textsOf(imports, exported, new Set(atOnce));
    const groups = new Map<string, Set<File>>();
    for (const file of texts) {
      const key = [dirname(file), ...[...(ways.get(file) ?? [])].sort()].join(" ");
      groups.set(key, (groups.get(key) ?? new Set()).add(file));
    }
    /** Short, and at once it needs no other one at once. */
    const isSmall = (group: Group): boolean => {
      const length = [...group].reduce((sum, file) => sum + (lengths.get(file) ?? 0), 0);
      if (length >= MIN_LENGTH) return false;
      const others = textsOf(imports, exported, new Set([...atOnce, ...group]));
      return others.size === texts.size - group.size;
    };
    const small = [...groups.values()].find(isSmall);
    if (small === undefined) return [...groups.values()];
    atOnce.push(...small);
  }
}

interface Plan {
  readonly imports: Imports;
  readonly exported: Exports;
  readonly groups: ReadonlyMap<File, Group>;
}

/** A name that a module exports, as a text calls it. */
type Alias = (file: File, name: string) => string;

/** What a group imports from outside of it, by module. */
function needsOf(group: Group, imports: Imports): Map<File, Set<string>> {
  const needs = new Map<File, Set<string>>();
  for (const file of group) {
    for (const [from, names] of imports.get(file) ?? []) {
      if (group.has(from) || from.startsWith("node:")) continue;
      needs.set(from, new Set([...(needs.get(from) ?? []), ...names]));
    }
    // what the tables become, see tables.ts
    if (file.startsWith("native/")) needs.set("native/platform.ts", new Set(["arch", "system"]));
  }
  return needs;
}

/** In a text, what is imported from outside is a parameter. */
const fromOutside = (needs: Needs, alias: Alias): Plugin => ({
  name: "from outside",
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^(?:\.\.?\/|bun)/ }, ({ path, resolveDir }) => {
      const file = path.startsWith("bun") ? path : relative(root, join(resolveDir, path));
      return needs.has(file) ? { path: file, namespace: "outside", sideEffects: false } : null;
    });
    onLoad({ filter: /./, namespace: "outside" }, ({ path }) => {
      const lines = [...(needs.get(path) ?? [])].map((name) => {
        const given = alias(path, name);
        return name === "default" ? `export default ${given};` : `export const ${name} = ${given};`;
      });
      return { contents: lines.join("\n"), loader: "js" };
    });
  },
});

/** What a group takes from outside, and what the outside uses of it, by module. */
type Needs = ReadonlyMap<File, ReadonlySet<string>>;
type Used = ReadonlyMap<File, readonly string[]>;

interface Text {
  readonly code: string;
  /** By alias, what the text calls them. */
  readonly parameters: ReadonlyMap<string, string>;
}

/** A group as one text: a function's body, which puts what others use of it into `$`. */
async function textOf(group: Group, used: Used, needs: Needs, alias: Alias): Promise<Text> {
  const lines = [...used].map(([file, names]) => {
    const list = names.map((name) => `${name} as ${alias(file, name)}`);
    return `import { ${list.join(", ")} } from "./${file}";`;
  });
  const results = [...used].flatMap(([file, names]) => names.map((name) => alias(file, name)));
  lines.push(`Object.assign($, { ${results.join(", ")} });`);
  const { outputFiles } = await build({
    ...common,
    stdin: { contents: lines.join("\n"), resolveDir: root },
    minify: true,
    plugins: [fromOutside(needs, alias), builtins, sources],
  });
  let text = outputFiles[0]?.text.trimEnd() ?? "";
  const parameters = new Map<string, string>();
  for (const name of [...needs].flatMap(([file, own]) => [...own].map((one) => alias(file, one)))) {
    // its short name is the parameter's
    const declared = new RegExp(`\\bvar ([$\\w]+)=\\${name};`).exec(text);
    if (declared === null) {
      if (new RegExp(`\\${name}\\b`).test(text)) parameters.set(name, name);
      continue;
    }
    const [all, short = name] = declared;
    text = text.replace(all, () => "");
    parameters.set(name, short);
  }
  const code = `"use strict";${text}\n//# sourceURL=bunix/${dirname([...group][0] ?? "")}`;
  return { code, parameters };
}

/** Where esbuild finds a text and what runs it, once. */
const hubOf = (group: Group): string => `text-of:${[...group].join("+")}`;

/** The module that has a text and its `run`. */
function hub(
  { code, parameters }: Text,
  needs: Needs,
  { exported, groups }: Plan,
  alias: Alias,
): string {
  const path = (file: File): string => JSON.stringify(file.startsWith("bun") ? file : `./${file}`);
  const lines: string[] = [];
  const given = ["$"];
  const locals = ["$"];
  for (const [from, names] of needs) {
    const group = groups.get(from);
    for (const name of names) {
      const own = alias(from, name);
      const local = parameters.get(own);
      if (local === undefined) continue;
      locals.push(local);
      if (name === "default") {
        lines.push(`import ${own} from ${path(from)} with { type: "text" };`);
        given.push(own);
      } else if (group !== undefined && !isFunction(exported.get(from)?.[name])) {
        lines.push(`import { run as ${own} } from ${JSON.stringify(hubOf(group))};`);
        given.push(`${own}().${own}`);
      } else {
        lines.push(`import { ${name} as ${own} } from ${path(from)};`);
        given.push(own);
      }
    }
  }
  lines.push(
    "let all;",
    "export function run() {",
    "  if (all !== undefined) return all;",
    "  const $ = {};",
    `  new Function(${JSON.stringify(locals.join())}, ${JSON.stringify(code)})(${given.join(", ")});`,
    "  return (all = $);",
    "}",
  );
  return lines.join("\n");
}

/** The module that takes a text's place: its functions are replaced at the first call of any. */
function stub(file: File, names: readonly string[], plan: Plan, alias: Alias): string {
  const values = names.map((name) => [name, plan.exported.get(file)?.[name]] as const);
  const functions = values.filter(([, value]) => isFunction(value));
  const taken = functions.map(([name]) => `${alias(file, name)}: ${name}`);
  const group = plan.groups.get(file) ?? new Set();
  const lines = [
    `import { run } from ${JSON.stringify(hubOf(group))};`,
    `function use() { ({ ${taken.join(", ")} } = run()); }`,
  ];
  for (const [name, value] of functions) {
    if (!isClass(value)) {
      lines.push(`export function ${name}(...args) { use(); return ${name}(...args); }`);
      continue;
    }
    const statics = Object.getOwnPropertyNames(value)
      .filter((key) => isFunction(Reflect.get(value, key)))
      .map((key) => `${key}(...args) { use(); return ${name}.${key}(...args); }`);
    const made = `function (...args) { use(); return new ${name}(...args); }`;
    const whole = `/* @__PURE__ */ Object.assign(${made}, { ${statics.join(", ")} })`;
    lines.push(`export let ${name} = ${statics.length > 0 ? whole : made};`);
  }
  return lines.join("\n");
}

/** The modules that take the place of others, by their path. */
async function modulesFor(plan: Plan): Promise<Map<string, string>> {
  const { imports, groups } = plan;
  const aliases = new Map<string, string>();
  const alias: Alias = (file, name) => {
    const key = `${name} of ${file}`;
    const short = aliases.get(key) ?? `$${aliases.size.toString(36)}`;
    aliases.set(key, short);
    return short;
  };
  const usedOf = (file: File): string[] => {
    const importers = [...imports].filter(([one]) => groups.get(one) !== groups.get(file));
    const names = importers.flatMap(([, own]) => [...(own.get(file) ?? [])]);
    return [...new Set(names)].sort();
  };
  const modules = new Map<string, string>();
  for (const group of new Set(groups.values())) {
    const used = new Map([...group].map((file) => [file, usedOf(file)] as const));
    for (const [file, names] of used) {
      if (names.length === 0) used.delete(file);
      else modules.set(join(root, file), stub(file, names, plan, alias));
    }
    const needs = needsOf(group, imports);
    modules.set(hubOf(group), hub(await textOf(group, used, needs, alias), needs, plan, alias));
  }
  return modules;
}

/** Stubs and texts in the place of what the entries do not need at once. */
export async function firstUse(entries: readonly string[]): Promise<Plugin> {
  const files = await modulesOf(entries);
  const [imports, lengths] = await look(files);
  const loaded = files
    .filter((file) => !isProgram(file))
    .map(async (file) => [file, (await import(join(root, file))) as object] as const);
  const exported = new Map(await Promise.all(loaded)) as Exports;
  const groups = groupsOf(imports, exported, lengths);
  const groupOf = new Map(groups.flatMap((group) => [...group].map((file) => [file, group])));
  const modules = await modulesFor({ imports, exported, groups: groupOf });
  return {
    name: "text until first use",
    setup({ onResolve, onLoad }) {
      onResolve({ filter: /^text-of:/ }, ({ path }) => ({
        path,
        namespace: "text",
        sideEffects: false,
      }));
      const load = ({ path }: { path: string }) => {
        const contents = modules.get(path);
        return contents === undefined
          ? null
          : { contents, loader: "js" as const, resolveDir: root };
      };
      onLoad({ filter: /^text-of:/, namespace: "text" }, load);
      onLoad({ filter: /\.ts$/ }, load);
    },
  };
}
