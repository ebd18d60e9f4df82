// npm run build, after tsc has written the types: dist/ as it is published. What the public modules
// share becomes a few chunks: reading ninety files takes twice as long, and whoever imports two
// parts of the package still gets one instance of what both use.

import { join } from "node:path";
import { build, type Plugin } from "esbuild";
import manifest from "../package.json";

const root = join(import.meta.dir, "..");
const source = (file: string): string =>
  join(root, file.replace(/^\.\/dist\//, "").replace(/\.js$/, ".ts"));

const modules = Object.values(manifest.exports)
  .filter((entry) => typeof entry !== "string")
  .map((entry) => source(entry.default));

/** A class that mentions itself is renamed by the bundler; users see the name, so it is kept. */
const classNames: Plugin = {
  name: "class names",
  setup({ onLoad }) {
    onLoad({ filter: /\/src\/.*\.ts$/ }, async ({ path, with: attributes }) => {
      const text = await Bun.file(path).text();
      if (attributes["type"] === "text") return { contents: text, loader: "text" };
      const named = text.replace(
        /^(?:export )?(?:abstract )?class (\w+)[^{]*\{$/gm,
        '$& static { Object.defineProperty(this, "name", { value: "$1" }); }',
      );
      return { contents: named, loader: "ts" };
    });
  },
};

await build({
  entryPoints: [...modules, source(manifest.bin.bunix)],
  outdir: join(root, "dist"),
  outbase: root,
  chunkNames: "chunks/[hash]",
  bundle: true,
  splitting: true,
  format: "esm",
  platform: "node",
  target: "esnext",
  external: ["bun", "bun:ffi"],
  banner: { js: "// @bun" }, // Bun need not transpile it once more
  minifyWhitespace: true,
  minifySyntax: true,
  sourcemap: "linked",
  plugins: [classNames],
  logLevel: "warning",
});
