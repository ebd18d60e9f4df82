// npm run build, after tsc has written the types: dist/ as it is published. The sources become a few
// files, for each file that is loaded costs more than what is in it: sockets and what they need, and
// all the rest. Each public module lists what it has of them, so whoever imports two parts of the
// package gets one instance of what both use.

import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join, relative } from "node:path";
import { type BuildOptions, build, type Plugin } from "esbuild";
import manifest from "../package.json";
import { firstUse } from "./first-use.ts";
import { builtins, sources, withOwnNames } from "./plugins.ts";

const root = join(import.meta.dir, "..");
const dist = join(root, "dist");
const source = (file: string): string =>
  join(root, file.replace(/^\.\/dist\//, "").replace(/\.js$/, ".ts"));

/** Says that Bun need not transpile it once more. */
const PLAIN = "// @bun";

const PROGRAM = "src/cli/main";

/**
 * What is linked as `bunix`: a script for sh that is also a module, which starts Bun with itself.
 * `ls` is over before code of JavaScriptCore's second compiler would have paid for its compilation:
 * a third of its processor time, which only the environment can switch off.
 */
const LAUNCHER = `#!/usr/bin/env sh
":" //;case $1 in ls)export BUN_JSC_useDFGJIT=\${BUN_JSC_useDFGJIT-0};;esac;exec bun "$0" "$@"
import "./main.js";
`;

/** The program's commands that need most of the library, which it loads when they are asked for. */
const OTHERS = "src/cli/others.ts";

/** Modules that most programs begin with. */
const ofCore = new Set(["address", "errors", "fd", "inspect", "listener", "readiness", "socket"]);

/** A public module: its file in dist, and what it exports as what from which of the two. */
interface Part {
  readonly file: string;
  readonly part: "core" | "rest";
  readonly names: readonly (readonly [name: string, alias: string])[];
}

async function partOf(file: string, number: number): Promise<Part> {
  const name = basename(file, ".js");
  const exported = Object.keys(await import(source(file)));
  return {
    file,
    part: ofCore.has(name) ? "core" : "rest",
    names: exported.sort().map((one) => [one, `${one}_${number}`]),
  };
}

const files = Object.values(manifest.exports)
  .filter((entry) => typeof entry !== "string")
  .map((entry) => entry.default);
const index = files.find((file) => basename(file) === "index.js");
const parts = await Promise.all(files.filter((file) => file !== index).map(partOf));

mkdirSync(dist, { recursive: true });
/** The exports of the public modules of one part. */
const exportsOf = (part: "core" | "rest"): string[] =>
  parts
    .filter((one) => one.part === part)
    .map(({ file, names }) => {
      const list = names.map(([name, alias]) => `${name} as ${alias}`);
      return `export { ${list.join(", ")} } from "${source(file)}";`;
    });

// each names what core has: what only some of them used would be files of its own, which core loads
const core = exportsOf("core");
const entries = [
  { name: "core", out: "core", lines: core },
  { name: "rest", out: "rest", lines: [...core, ...exportsOf("rest")] },
  {
    name: "others",
    out: "src/cli/others",
    lines: [`export { others } from "${join(root, OTHERS)}";`, ...core],
  },
].map(({ name, out, lines }) => {
  const entry = join(dist, `${name}.ts`);
  writeFileSync(entry, lines.join("\n"));
  return { in: entry, out };
});

/** "sideEffects": false in package.json is true of the library, not of the program. */
const program: Plugin = {
  name: "the program runs",
  setup({ onResolve }) {
    const path = join(root, `${PROGRAM}.ts`);
    onResolve({ filter: /\/cli\/main\.ts$/ }, () => ({ path, sideEffects: true }));
    onResolve({ filter: /\/others\.ts$/, namespace: "file" }, ({ kind }) =>
      kind === "dynamic-import" ? { path: "./others.js", external: true } : null,
    );
  },
};

const atFirstUse = await firstUse([...files.map(source), join(root, OTHERS)]);

const common = {
  outdir: dist,
  write: false,
  bundle: true,
  format: "esm",
  platform: "node",
  target: "esnext",
  external: ["bun", "bun:ffi"],
  banner: { js: PLAIN },
  minifyWhitespace: true,
  minifySyntax: true,
  sourcemap: "linked",
  logLevel: "warning",
} as const satisfies BuildOptions;

const library = await build({
  ...common,
  entryPoints: entries,
  chunkNames: "chunks/[hash]",
  splitting: true,
  plugins: [builtins, atFirstUse, sources],
});
for (const entry of entries) rmSync(entry.in);
/** With a library of its own, as much of it as the commands use that only look: one file to load. */
const main = await build({
  ...common,
  entryPoints: [{ in: join(root, `${PROGRAM}.ts`), out: PROGRAM }],
  plugins: [program, builtins, sources],
});
for (const { path, text } of [...library.outputFiles, ...main.outputFiles]) {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, path.endsWith(".js") ? withOwnNames(text) : text);
}
writeFileSync(join(root, manifest.bin.bunix), LAUNCHER, { mode: 0o755 });

/** Every name of the index from the first public module that has it. */
const ofIndex = new Set(index === undefined ? [] : Object.keys(await import(source(index))));
const inIndex: string[] = [];
for (const { file, part, names } of parts) {
  const module = join(root, file);
  const from = relative(join(module, ".."), join(dist, `${part}.js`));
  const list = names.map(([name, alias]) => `${alias} as ${name}`);
  writeFileSync(module, `${PLAIN}\nexport{${list.join(",")}}from"${from}";\n`);
  const own = names.filter(([name]) => ofIndex.delete(name));
  const lines = own.map(([name, alias]) => `${alias} as ${name}`);
  inIndex.push(`export{${lines.join(",")}}from"../${part}.js";`);
}
if (ofIndex.size > 0) throw new Error(`of no public module: ${[...ofIndex].join(", ")}`);
if (index !== undefined) {
  writeFileSync(join(root, index), `${[PLAIN, ...inIndex].join("\n")}\n`);
}
