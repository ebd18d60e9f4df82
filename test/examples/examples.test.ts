// Every example runs to its end, with both wakers. (Those of the documents: test/docs.)

import { afterAll, expect, test } from "bun:test";
import { existsSync, globSync, mkdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { type Outcome, root, runScript, slower, succeeded } from "../support/child.ts";
import { peerTest } from "../support/peers.ts";
import { tempDir } from "../support/tmp.ts";
import { lackingFor, testUnless, wakersHere } from "../support/unless.ts";

const TIMEOUT_MS = 30_000;
const WAKERS = wakersHere();
const MAX_LINES = 30;
const MAX_PROTOCOL_LINES = 80;

const all = globSync("examples/*.ts", { cwd: root }).sort();

/** Talks to a daemon, which the test file of the same name starts. */
const isProtocol = (file: string): boolean =>
  existsSync(join(import.meta.dir, `${basename(file, ".ts")}.test.ts`));
const alone = all.filter((file) => !isProtocol(file));
const short = all.filter((file) => file !== "examples/demo.ts");
const dir = tempDir();
afterAll(() => dir.remove());

function wellEnded({ code, signal, stdout, stderr }: Outcome): void {
  if (code !== 0) throw new Error(`exit ${code ?? signal}\n${stdout}\n${stderr}`);
  expect(stderr).toBe("");
  expect(stdout).not.toBe("");
}

for (const file of alone) {
  const lacking = await lackingFor(join(root, file));
  for (const waker of WAKERS) {
    testUnless(
      lacking,
      `${file} [${waker}]`,
      async () => {
        wellEnded(await runScript(file, [], { cwd: dir.path, env: { BUNIX_WAKER: waker } }));
      },
      TIMEOUT_MS,
    );
  }
}

test(
  "the demo does without Python",
  async () => {
    const PATH = dir.file("no-commands");
    mkdirSync(PATH);
    const outcome = await runScript("examples/demo.ts", [], { env: { PATH } });
    wellEnded(outcome);
    expect(outcome.stdout).toContain("python3 is not here");
    expect(outcome.stdout.match(/left out: /g)).toHaveLength(4);
  },
  TIMEOUT_MS * slower,
);

peerTest(
  "the demo's post box has all four senders",
  ["sh", "socat", "kill", "cc"],
  async () => {
    const said = succeeded(await runScript("examples/demo.ts"));
    for (const line of ["fifo: hello, FIFO", "]: hello, socket", "]: 3", "]: hello, queue"]) {
      expect(said).toContain(line);
    }
    expect(said).toMatch(/^ {4}C +queue/m);
    expect(said).not.toContain("left out");
  },
  TIMEOUT_MS,
);

for (const file of short) {
  test(`${file} is short, and uses what is public`, () => {
    const text = readFileSync(join(root, file), "utf8");
    const max = isProtocol(file) ? MAX_PROTOCOL_LINES : MAX_LINES;
    expect(text.trimEnd().split("\n").length).toBeLessThanOrEqual(max);
    const where = isProtocol(file) ? /^(node:|bunix\b|\.\/)/ : /^(node:|bunix\b)/;
    for (const [, from] of text.matchAll(/from "(.*)"/g)) expect(from).toMatch(where);
  });
}

test("every example says how it is started", () => {
  for (const file of all) {
    expect(readFileSync(join(root, file), "utf8")).toContain(`//   bun ${file}`);
  }
});
