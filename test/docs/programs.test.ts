// Every program of the README and of docs/ runs to its end, with both wakers; what the documents
// name is there.

import { afterAll, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import manifest from "../../package.json";
import { type Outcome, root, run, runScript } from "../support/child.ts";
import { blocksOf, documents, textOf, writeConfig, writePrograms } from "../support/markdown.ts";
import { tempDir } from "../support/tmp.ts";
import { lackingFor, noTypeChecker, testUnless, wakersHere } from "../support/unless.ts";

const TIMEOUT_MS = 30_000;
const WAKERS = wakersHere();
const MAX_LINES = 95;
/** Of documents that are looked things up in. */
const MAX_LINES_OF: Readonly<Record<string, number>> = {
  "README.md": 260,
  "docs/development.md": 160,
  "docs/facts.md": 970,
  "docs/http.md": 160,
  "docs/kernels.md": 120,
  "docs/macos.md": 110,
  "docs/migrating.md": 130,
  "docs/node-unix-socket.md": 270,
  "docs/owned-address.md": 125,
  "docs/posix-mq.md": 115,
  "docs/systemd.md": 190,
  "docs/unix-dgram.md": 125,
  "docs/usocket.md": 190,
};
/** js: other packages' code; text and ini: not for a shell. */
const languages = new Set(["ts", "sh", "js", "text", "ini"]);

const dir = tempDir();
afterAll(() => dir.remove());
const programs = documents.flatMap((file) => writePrograms(file, dir));
/** Those for `bun test` are run by docs/development. */
const forTest = programs.filter(({ path }) => path.endsWith(".test.ts"));
const config = writeConfig(dir);
const collectAtEnd = join(root, "test/fixtures/collect-at-end.ts");

function wellEnded({ code, signal, stdout, stderr }: Outcome): void {
  if (code !== 0) throw new Error(`exit ${code ?? signal}\n${stdout}\n${stderr}`);
  expect(stderr).toBe("");
  expect(stdout).not.toBe("");
}

for (const { name, path } of programs.filter((one) => !forTest.includes(one))) {
  const lacking = await lackingFor(path);
  for (const waker of WAKERS) {
    testUnless(
      lacking,
      `${name} [${waker}]`,
      async () => {
        const env = { BUNIX_WAKER: waker, NOTIFY_SOCKET: undefined, LISTEN_FDS: undefined };
        const program = [process.execPath, "--preload", collectAtEnd, path];
        wellEnded(await run(program, { cwd: dir.path, env }));
      },
      TIMEOUT_MS,
    );
  }
}

test("there are programs in the README and in every guide", () => {
  const guides = documents.filter((file) => textOf(file).includes("```ts\n"));
  expect(guides).toContain("README.md");
  expect(guides.length).toBeGreaterThanOrEqual(11);
  expect(programs.length).toBeGreaterThanOrEqual(24);
  expect(forTest).toHaveLength(1);
});

testUnless(
  noTypeChecker(),
  "they pass the type checker",
  async () => {
    const tsc = join(root, "node_modules/.bin/tsc");
    const { code, stdout } = await run([process.execPath, tsc, "-p", config]);
    expect(stdout).toBe("");
    expect(code).toBe(0);
  },
  TIMEOUT_MS,
);

test("every block says what it is", () => {
  for (const file of documents) {
    for (const { language } of blocksOf(file))
      expect([file, languages.has(language)]).toEqual([file, true]);
  }
});

test("documents are short", () => {
  for (const file of documents) {
    const max = MAX_LINES_OF[file] ?? MAX_LINES;
    const lines = textOf(file).trimEnd().split("\n").length;
    expect(lines, file).toBeLessThanOrEqual(max);
  }
});

const pages = [...documents, "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md"];

test("links lead to files that are there", () => {
  for (const file of pages) {
    for (const [, to] of textOf(file).matchAll(/\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)/g)) {
      expect(existsSync(join(root, dirname(file), to!)), `${file}: ${to}`).toBe(true);
    }
  }
});

test("the index lists every document", () => {
  const index = textOf("docs/README.md");
  for (const file of documents) {
    const name = file.replace(/^docs\//, "");
    if (name !== "README.md") expect(index, name).toContain(`(${name})`);
  }
});

test("every module stands in the README", () => {
  const readme = textOf("README.md");
  for (const key of Object.keys(manifest.exports)) {
    if (key !== "." && key !== "./package.json") {
      expect(readme).toContain(`\`${key.replace(".", "bunix")}\``);
    }
  }
});

test("commands of the README and of CONTRIBUTING.md exist", async () => {
  const lines = ["README.md", "CONTRIBUTING.md"]
    .flatMap((file) => blocksOf(file))
    .filter(({ language }) => language === "sh")
    .flatMap(({ code }) => code.split("\n"));
  const scripts = lines.flatMap((line) =>
    Array.from(line.matchAll(/npm run ([\w:.-]+)/g), ([, it]) => it!),
  );
  const commands = lines.flatMap((line) =>
    Array.from(line.matchAll(/bunx bunix (\w+)/g), ([, it]) => it!),
  );
  expect(scripts.length).toBeGreaterThan(3);
  for (const script of scripts) expect(Object.keys(manifest.scripts)).toContain(script);
  const help = await runScript("src/cli/main.ts", ["help"]);
  expect(commands.length).toBeGreaterThan(3);
  for (const command of commands) expect(help.stdout).toContain(`  bunix ${command}`);
});
