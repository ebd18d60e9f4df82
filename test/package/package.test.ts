// The package as its users get it: packed, installed offline, type-checked, bundled, compiled.

import { afterAll, beforeAll, expect, test } from "bun:test";
import {
  globSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { root, run, slower } from "../support/child.ts";
import { type TempDir, tempDir } from "../support/tmp.ts";
import { noCompiledPrograms, noTypeChecker, testUnless, wakersHere } from "../support/unless.ts";
import { install, pack, succeed, TIMEOUT_MS } from "./packed.ts";

const WAKERS = wakersHere();

interface Manifest {
  readonly exports: Record<string, string | { types: string; default: string }>;
  readonly [field: string]: unknown;
}

const manifest = (file: string): Manifest => JSON.parse(readFileSync(file, "utf8"));
const { exports: entries } = manifest(join(root, "package.json"));
/** "bunix", "bunix/fd", … without package.json. */
const modules = Object.entries(entries)
  .filter(([, entry]) => typeof entry !== "string")
  .map(([key]) => key.replace(/^\./, "bunix"));

let dir: TempDir;
let tarball: string;
let project: string;
let installed: string;

const tool = (name: string): string[] => [process.execPath, join(root, "node_modules/.bin", name)];

/** Ten lines of a user, in which something really waits. */
const PROGRAM = `
import { capabilities, socketPair } from "bunix";
import { Fd } from "bunix/fd";

const [a, b] = socketPair("stream");
setTimeout(() => a.send("a descriptor", { fds: [0] }), 10);
using message = await b.receive();
const fd = message?.fds[0];
console.log(message?.text(), fd instanceof Fd, fd?.describe().kind, capabilities().waker?.kind);
a.close();
b.close();
`;

async function runsWithBothWakers(command: readonly string[]): Promise<void> {
  for (const waker of WAKERS) {
    // from another folder: nothing may be looked for in the current one
    const options = { cwd: dir.path, env: { BUNIX_WAKER: waker } };
    const { stdout, stderr } = await succeed(command, options);
    expect(stdout.trim()).toMatch(new RegExp(`^a descriptor true (pipe|socket) ${waker}$`));
    expect(stderr).toBe("");
  }
}

/** BUNIX_DEBUG: the program says the same, and each system call on standard error. */
async function showsItsCalls(command: readonly string[]): Promise<void> {
  const options = { cwd: dir.path, env: { BUNIX_DEBUG: "1" } };
  const { stdout, stderr } = await succeed(command, options);
  expect(stdout).toStartWith("a descriptor true ");
  expect(stderr).toMatch(/^\[bunix [\d.]+\] sendmsg\(.*SCM_RIGHTS \[0\].*\) = 12$/m);
}

beforeAll(async () => {
  dir = tempDir();
  tarball = await pack(dir);
  project = await install(dir, tarball);
  installed = join(project, "node_modules/bunix");
  writeFileSync(join(project, "program.ts"), PROGRAM);
}, TIMEOUT_MS * slower);

afterAll(() => dir.remove());

test("the tarball has what is needed and nothing else", () => {
  const files = globSync("**/*", { cwd: installed }).filter((file) =>
    statSync(join(installed, file)).isFile(),
  );
  const documents = files.filter((file) => !file.startsWith("dist/"));
  expect(documents.sort()).toEqual(["CHANGELOG.md", "LICENSE", "README.md", "package.json"]);
  const sources = globSync("{src,native}/**/*.ts", { cwd: root, exclude: ["**/*.d.ts"] });
  const types = sources.map((file) => `dist/${file.replace(/\.ts$/, "")}.d.ts`);
  const programs = Object.values(entries).flatMap((entry) => {
    if (typeof entry === "string") return [];
    return [entry.default.replace(/^\.\//, "")];
  });
  for (const name of ["core", "rest", "src/cli/main", "src/cli/others"]) {
    programs.push(`dist/${name}.js`, `dist/${name}.js.map`);
  }
  programs.push("dist/src/cli/bunix.js");
  const chunks = files.filter((file) => file.startsWith("dist/chunks/"));
  expect(chunks.length).toBeGreaterThan(0);
  for (const chunk of chunks) expect(chunk).toMatch(/^dist\/chunks\/\w+\.js(\.map)?$/);
  const expected = [...types, ...programs, ...chunks];
  expect(files.filter((file) => file.startsWith("dist/")).sort()).toEqual(expected.sort());
});

test("its modules export what exports.json lists, and nothing else", async () => {
  const list = JSON.parse(readFileSync(join(root, "test/package/exports.json"), "utf8"));
  expect(Object.keys(list)).toHaveLength(modules.length);
  for (const key of modules) {
    const door = key === "bunix" ? "index" : key.replace("bunix/", "");
    const module = (await import(join(installed, `dist/src/${door}.js`))) as object;
    expect([door, ...Object.keys(module).sort()]).toEqual([door, ...list[door].values]);
  }
});

test("the published types have nothing that is internal", () => {
  const files = globSync("**/*.d.ts", { cwd: join(installed, "dist") });
  expect(files.length).toBeGreaterThan(100);
  const text = (file: string): string => readFileSync(join(installed, "dist", file), "utf8");
  expect(files.filter((file) => text(file).includes("@internal"))).toEqual([]);
  expect(text("src/fd/fd.d.ts")).toContain("release(): number");
  expect(text("src/fd/fd.d.ts")).not.toMatch(/\b(?:owned|registered)\b.*:/);
  expect(text("src/socket/stream.d.ts")).not.toMatch(/\btake\(/);
});

test("no file names a place on the machine that built it", () => {
  for (const file of globSync("dist/**/*.{js,map,ts}", { cwd: installed })) {
    const text = readFileSync(join(installed, file), "utf8");
    for (const place of [root, dir.path]) expect(text.includes(place), file).toBe(false);
  }
});

test("classes have their own names, and a subpath has the same ones as the whole", async () => {
  const whole: Record<string, unknown> = await import(join(installed, "dist/src/index.js"));
  for (const key of modules) {
    const file = key.replace("bunix", "dist/src").replace(/^dist\/src$/, "dist/src/index");
    const part: Record<string, unknown> = await import(join(installed, `${file}.js`));
    for (const [name, value] of Object.entries(part)) {
      if (name in whole) expect(value, `${key}: ${name}`).toBe(whole[name]);
      if (typeof value === "function" && /^[A-Z]/.test(name)) expect(value.name).toBe(name);
    }
  }
});

test("importing it loads no module of Node", () => {
  const javascript = new Bun.Transpiler({ loader: "js" });
  const files = globSync("dist/**/*.js", { cwd: installed });
  for (const file of files.filter((name) => !name.startsWith("dist/src/cli/"))) {
    const text = readFileSync(join(installed, file), "utf8");
    const imported = javascript.scanImports(text).map(({ path }) => path);
    const foreign = imported.filter((path) => !path.startsWith("."));
    expect(new Set([...foreign, "bun:ffi"]), file).toEqual(new Set(["bun:ffi"]));
  }
});

test("the stack of an error names the lines of the sources", async () => {
  const script = `import { MessageQueue } from "bunix";
try { MessageQueue.open("/none"); } catch (error) { console.log(error.stack); }`;
  const { stdout } = await succeed([process.execPath, "-e", script], { cwd: project });
  const places = Array.from(stdout.matchAll(/\/(src\/[\w/-]+\.ts):(\d+):/g));
  const lines = places.map(
    ([, file, line]) => readFileSync(join(root, file!), "utf8").split("\n")[Number(line) - 1],
  );
  expect(lines[0]).toContain("new UnixError(");
  expect(lines.at(-1)).toContain("openQueue");
});

test("it has no dependencies at run time", () => {
  const fields = ["dependencies", "peerDependencies", "optionalDependencies", "bundleDependencies"];
  const packed = manifest(join(installed, "package.json"));
  expect(fields.filter((field) => field in packed)).toEqual([]);
  const visible = readdirSync(join(project, "node_modules")).filter((name) => name[0] !== ".");
  expect(visible).toEqual(["bunix"]);
});

test("every module that index.ts exports is a subpath, and its files are there", () => {
  const index = readFileSync(join(root, "src/index.ts"), "utf8");
  const exported = Array.from(index.matchAll(/from "\.\/(.*)\.ts"/g), ([, name]) => name!);
  expect(modules.toSorted()).toEqual(["bunix", ...exported.map((name) => `bunix/${name}`)].sort());
  const packed = globSync("**/*", { cwd: installed });
  for (const entry of Object.values(entries)) {
    const files = typeof entry === "string" ? [entry] : Object.values(entry);
    for (const file of files) expect(packed).toContain(file.replace(/^\.\//, ""));
  }
});

test("a program passes a descriptor", async () => {
  await runsWithBothWakers([process.execPath, join(project, "program.ts")]);
  await showsItsCalls([process.execPath, join(project, "program.ts")]);
});

test("every module can be imported by itself", async () => {
  for (const module of modules) {
    const script = `console.log(Object.keys(await import("${module}")).length > 0)`;
    const { stdout } = await succeed([process.execPath, "-e", script], { cwd: project });
    expect(stdout.trim(), module).toBe("true");
  }
});

test("a bundle is one file that works anywhere", async () => {
  const output = dir.file("bundle.js");
  const build = ["build", "--target=bun", "--minify", "program.ts", "--outfile", output];
  await succeed([process.execPath, ...build], { cwd: project });
  await runsWithBothWakers([process.execPath, output]);
});

/** What a start reads, in kB; the sizes depend on nothing but the sources. */
const MAX_KB = { bundle: 160, "bundle at once": 85, socket: 124, whole: 240 };

/** A text that waits for its first use, and the names of what it needs. */
const TEXT = /Function\("[$\w,]*",(?:"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`(?:\\.|[^`\\])*`)/g;

/** How many characters are parsed when a file is loaded. */
const atOnce = (code: string): number => code.replace(TEXT, "").length;

test("a start reads no more than it did", async () => {
  const message = `import { socketPair } from "bunix/socket";
const [a, b] = socketPair("stream");
a.trySend("hello");
if (b.tryReceive()?.text() !== "hello") process.exit(1);`;
  writeFileSync(join(project, "message.mjs"), message);
  const output = dir.file("message.js");
  const build = ["build", "--target=bun", "--minify", "message.mjs", "--outfile", output];
  await succeed([process.execPath, ...build], { cwd: project });
  await succeed([process.execPath, output]);
  const bundle = readFileSync(output, "utf8");

  const dist = join(installed, "dist");
  const files = ["core.js", "rest.js", ...globSync("chunks/*.js", { cwd: dist })];
  const sizes = files.map(
    (file) => [file, atOnce(readFileSync(join(dist, file), "utf8"))] as const,
  );
  const core = sizes.filter(([file]) =>
    readFileSync(join(dist, "core.js"), "utf8").includes(basename(file)),
  );
  const sum = (list: typeof sizes): number => list.reduce((all, [, size]) => all + size, 0) / 1000;
  const found = {
    bundle: bundle.length / 1000,
    "bundle at once": atOnce(bundle) / 1000,
    socket: sum(core),
    whole: sum(sizes),
  };
  console.log("kB", JSON.stringify(found));
  for (const [name, size] of Object.entries(found)) {
    expect(size, name).toBeLessThan(MAX_KB[name as keyof typeof MAX_KB]);
  }
});

/** A `bun` that says how it was started. */
const SAYS = `#!/bin/sh
echo "$BUN_JSC_useDFGJIT" "$@"
`;

test("bunix is started by Bun: ls without the compiler that pays later", async () => {
  const linked = join(project, "node_modules/.bin/bunix");
  const folder = dir.file("bin");
  mkdirSync(folder);
  writeFileSync(join(folder, "bun"), SAYS, { mode: 0o755 });
  const said = async (env: Record<string, string>, ...args: string[]): Promise<string> => {
    const whole = { ...env, PATH: `${folder}:${process.env["PATH"]}` };
    return (await succeed([linked, ...args], { env: whole })).stdout.trim();
  };
  expect(await said({}, "ls", "a  b")).toBe(`0 ${linked} ls a  b`);
  expect(await said({}, "listen", "ls")).toBe(`${linked} listen ls`);
  expect(await said({ BUN_JSC_useDFGJIT: "1" }, "ls")).toBe(`1 ${linked} ls`);
});

test("bunix does what it should, through sh, by Bun, and its failure is told", async () => {
  const linked = join(project, "node_modules/.bin/bunix");
  const path = `${dirname(process.execPath)}:${process.env["PATH"]}`;
  const named = dir.file("named");
  mkdirSync(named);
  symlinkSync(process.execPath, join(named, "bun"));
  const env = { PATH: `${named}:${path}` };
  for (const command of [[linked], [process.execPath, linked], [process.execPath, "x", "bunix"]]) {
    const { stdout } = await succeed([...command, "ls", "--json"], { cwd: project, env });
    expect(Array.isArray(JSON.parse(stdout))).toBe(true);
    const wrong = await run([...command, "frobnicate"], { cwd: project, env });
    expect([wrong.code, wrong.stdout]).toEqual([64, ""]);
    expect(wrong.stderr).toContain('there is no command "frobnicate"');
  }
});

test("what is used first when descriptors have run out is there", async () => {
  const script = `import { listen, socketPair } from "bunix";
import { openSync } from "node:fs";
const [a] = socketPair("stream");
const codes = [];
const attempt = (f) => { try { f(); codes.push("done"); } catch (e) { codes.push(e.code); } };
try { for (;;) openSync("/dev/null", "r"); } catch (e) { codes.push(e.code); }
attempt(() => a.peerCredentials());
attempt(() => listen("${dir.file("none.sock")}"));
console.log(codes.join(" "));`;
  const command = `ulimit -n 256 && exec "$0" -e "$1"`;
  const options = { cwd: project };
  const { stdout } = await succeed(["sh", "-c", command, process.execPath, script], options);
  expect(stdout.trim()).toBe("EMFILE done EMFILE");
});

testUnless(
  noCompiledPrograms(),
  "a compiled program works",
  async () => {
    const output = dir.file("program");
    const build = ["build", "--compile", "program.ts", "--outfile", output];
    await succeed([process.execPath, ...build], { cwd: project });
    await runsWithBothWakers([output]);
    await showsItsCalls([output]);
  },
  TIMEOUT_MS,
);

/** Every module imported, some types used; the last line must be an error: there are types. */
const TYPED = `
${modules.map((module, i) => `import * as m${i} from "${module}";`).join("\n")}
export const all = [${modules.map((_, i) => `m${i}`).join(", ")}];
import { type Address, connect, type Credentials, listen, type Message, socketPair } from "bunix";
import { sendSignal } from "bunix/signals";
import { sendSignal as same } from "bunix/process";
import manifest from "bunix/package.json" with { type: "json" };

await using listener = listen("/run/x", { type: "seqpacket", allow: ({ uid }) => uid === 0 });
for await (const socket of listener) {
  using held = socket;
  const message: Message | null = await held.receive();
  const who: Credentials = held.peerCredentials();
  const from: Address | undefined = message?.from;
  console.log(who.pid?.toFixed(), from?.kind, manifest.version);
}
const [pair] = socketPair("stream");
const duplex = pair.toDuplex();
duplex.on("fds", (fds) => console.log(fds.length.toFixed()));
duplex.pipe(process.stdout);
const stream = await connect("/run/x");
const bytes: number | null = stream.trySend(["a", new Uint8Array(1)], { fds: [0] });
console.log(bytes, sendSignal === same);
// @ts-expect-error a pair is of three kinds
socketPair("pipe");
`;

for (const [resolution, module] of [
  ["bundler", "ESNext"],
  ["nodenext", "NodeNext"],
]) {
  testUnless(
    noTypeChecker(),
    `types resolve and hold with moduleResolution ${resolution}`,
    async () => {
      writeFileSync(join(project, `typed-${resolution}.ts`), TYPED);
      const options = {
        target: "ESNext",
        module,
        moduleResolution: resolution,
        strict: true,
        exactOptionalPropertyTypes: true,
        resolveJsonModule: true,
        noEmit: true,
        skipLibCheck: false,
        types: ["bun"],
        typeRoots: [join(root, "node_modules/@types")],
      };
      const config = { compilerOptions: options, files: [`typed-${resolution}.ts`] };
      const file = join(project, `tsconfig.${resolution}.json`);
      writeFileSync(file, JSON.stringify(config));
      const { stdout } = await succeed([...tool("tsc"), "-p", file], { cwd: project });
      expect(stdout).toBe("");
    },
    TIMEOUT_MS,
  );
}

test("publint finds nothing to say", async () => {
  const { stdout } = await succeed([...tool("publint"), "run", "--strict", tarball]);
  expect(stdout).toContain("All good");
});

test(
  "are the types wrong? No",
  async () => {
    const flags = ["--profile", "esm-only", "--format", "ascii", "--no-emoji"];
    await succeed([...tool("attw"), tarball, ...flags]);
  },
  TIMEOUT_MS * slower,
);

test(
  "npm would publish it: --dry-run, no registry in reach",
  async () => {
    const nowhere = ["--registry=http://127.0.0.1:9/", "--fetch-retries=0"];
    const { stderr } = await succeed(["npm", "publish", "--dry-run", tarball, ...nowhere]);
    const { version } = manifest(join(root, "package.json"));
    expect(stderr).toContain(`bunix@${version}`);
    expect(stderr).toContain("dist/src/index.js");
  },
  TIMEOUT_MS * slower,
);

test("the tarball is named after the version", () => {
  const { name, version } = manifest(join(root, "package.json"));
  expect(basename(tarball)).toBe(`${name}-${version}.tgz`);
});
