// What the sources go through on their way to dist/ (build.ts): less to read at every start. What
// each part saves stands in bench/README.md ("What the build saves"); bench/build-parts.ts measures.

import { type Plugin, transform } from "esbuild";
import { nativeSources } from "./tables.ts";

/**
 * node:fs and node:path take 4 ms to load, node:util as much, which a program that only has sockets
 * need not pay: in dist each of their functions gets its module when it is called.
 */
export const builtins: Plugin = {
  name: "builtins at first use",
  setup({ onResolve, onLoad }) {
    const namespace = "builtin";
    onResolve({ filter: /^node:(fs|os|path|util)$/ }, ({ path }) => ({ path, namespace }));
    onLoad({ filter: /./, namespace }, async ({ path }) => {
      const functions = Object.entries(await import(path))
        .filter(([name, value]) => typeof value === "function" && /^(?!default)[a-z]/.test(name))
        .map(([name]) => `export const ${name} = (...args) => load().${name}(...args);`);
      const load = `let own; const load = () => (own ??= process.getBuiltinModule("${path}"));`;
      return { contents: [load, ...functions].join("\n"), loader: "js" };
    });
  },
};

let native: Promise<Map<string, string>> | undefined;

/**
 * Short names for what a module keeps to itself; what it exports keeps its name in stack traces. The
 * text of a module, which a thread runs, is minified.
 */
export const sources: Plugin = {
  name: "sources",
  async setup({ onLoad }) {
    const tables = await (native ??= nativeSources());
    onLoad({ filter: /\/(native|src)\/.*\.ts$/ }, async ({ path, with: attributes }) => {
      const text = tables.get(path) ?? (await Bun.file(path).text());
      if (attributes["type"] === "text") {
        const { code } = await transform(text, { loader: "ts", target: "esnext", minify: true });
        return { contents: code, loader: "text" };
      }
      const { code } = await transform(text, {
        loader: "ts",
        target: "esnext",
        sourcefile: path,
        sourcemap: "inline",
        minifyIdentifiers: true,
      });
      return { contents: code, loader: "js" };
    });
  },
};

/**
 * A class that mentions itself is `_Name` within, and users would see that. A blank is as long as
 * an underscore: the source map stays true. No short name is a capital and more after an underscore.
 */
export function withOwnNames(code: string): string {
  const renamed = Array.from(code.matchAll(/class (_[A-Z]\w+)/g), ([, name]) => name);
  if (renamed.length === 0) return code;
  const any = new RegExp(`(?<![\\w$.#])(?:${renamed.join("|")})(?![\\w$])`, "g");
  return code.replace(any, (name) => ` ${name.slice(1)}`);
}
