// A native library has set SIGPIPE back to its default, or handles it: a FIFO writer is told EPIPE.

import { afterAll, expect, test } from "bun:test";
import { runSource, succeeded } from "../support/child.ts";
import { tempDir } from "../support/tmp.ts";

const dir = tempDir();
afterAll(() => dir.remove());

/** Writes after the reader has left, in each way; says what came of it, and what is pending. */
const source = (prepare: string, path: string): string => `
import { dlopen } from "bun:ffi";
import { readFileSync } from "node:fs";
import { makeFifo, openFifo } from "@/src/index.ts";
import { libcNames } from "@/native/platform.ts";
const signatures = { signal: { args: ["i32", "ptr"], returns: "ptr" } };
const { signal } = dlopen(libcNames[0], signatures).symbols;
const path = ${JSON.stringify(path)};
const said = [];
makeFifo(path);
${prepare}
const masks = () => readFileSync("/proc/thread-self/status", "utf8").match(/^(SigPnd|SigBlk).*/gm);
const before = masks();
for (const way of ["write", "tryWrite", "writeSync"]) {
  const reader = openFifo(path, "read");
  const writer = openFifo(path, "write", { waitForReader: false });
  await writer.write("read");
  reader.close();
  try {
    said.push(await writer[way]("nobody reads this"));
  } catch ({ code }) { said.push(code); }
  writer.close();
}
await new Promise((resolve) => setImmediate(resolve));
if (String(masks()) !== String(before)) said.push(masks());
console.log(JSON.stringify(said));`;

const cases = {
  "at its default": "signal(13, null);",
  "ignored, as Bun has it": "",
  "with a listener, which hears nothing": 'process.on("SIGPIPE", () => void said.push("SIGPIPE"));',
};

for (const [name, prepare] of Object.entries(cases)) {
  test(`SIGPIPE ${name}`, async () => {
    const outcome = await runSource(source(prepare, dir.file(name.slice(0, 6))));
    expect(JSON.parse(succeeded(outcome))).toEqual(["ENXIO", "no-reader", "ENXIO"]);
  });
}
