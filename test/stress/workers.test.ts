// The library in eight Workers at once, each with an event loop of its own, talking to each other;
// and Workers that are ended in the middle of it.

import { expect, setDefaultTimeout, test } from "bun:test";
import { freshAddress } from "../api/pairs.ts";
import { leakFree } from "../api/tools.ts";
import { fewer, runSource, slower, succeeded } from "../support/child.ts";
import { keptOfWorkers, testUnless } from "../support/unless.ts";
import { file, talk } from "./crew.ts";

setDefaultTimeout(100_000 * slower);

const WORKERS = 8;
const ROUNDS = Number(process.env["BUNIX_WORKER_ROUNDS"] ?? fewer(6));

const everyone = <T>(said: T): T[] => new Array<T>(WORKERS).fill(said);

/** Where Bun keeps descriptors of Workers there is nothing to count: in a process of its own. */
async function talkElsewhere(kept: string): Promise<unknown> {
  console.log(`note: in another process: ${kept}`);
  const name = JSON.stringify(freshAddress("abstract").slice(1));
  const program = `import { talk } from "@/test/stress/crew.ts";
    const said = await talk(${name}, { workers: ${WORKERS}, rounds: ${ROUNDS} });
    console.log(JSON.stringify(said));
    process.exit(0);`;
  return JSON.parse(succeeded(await runSource(program, { timeoutMs: 90_000 })));
}

const kept = await keptOfWorkers();

test(`${WORKERS} Workers, ${ROUNDS} rounds each`, () =>
  leakFree(async () => {
    const name = freshAddress("abstract").slice(1);
    const said =
      kept === null
        ? await talk(name, { workers: WORKERS, rounds: ROUNDS })
        : await talkElsewhere(kept);
    expect(said).toEqual([everyone("ready"), everyone("done"), everyone("closed"), everyone(0)]);
  }));

/** Ends crews at work; says how many descriptors they had, and how many are left without them. */
const ENDING = `import { readdirSync } from "node:fs";
  import { Worker } from "node:worker_threads";
  const count = () => readdirSync("/proc/self/fd").length;
  const turn = () => new Promise(setImmediate);
  const crew = (name, rounds) => Array.from({ length: ${WORKERS} }, (_, index) => {
    const workerData = { name: name + "-" + process.pid, index, workers: ${WORKERS}, rounds };
    const worker = new Worker("${file.pathname}", { workerData });
    return { worker, ready: new Promise((resolve) => worker.once("message", resolve)) };
  });
  async function one(name) {
    const workers = crew(name, 1e9);
    await Promise.all(workers.map(({ ready }) => ready));
    for (const { worker } of workers) worker.postMessage("go on");
    for (let i = 0; i < 20; i++) await turn();
    const open = count();
    await Promise.all(workers.map(({ worker }) => worker.terminate()));
    return open;
  }
  await one("first"); // Bun's own come with the first
  const before = count();
  const had = (await one("second")) - before;
  for (let i = 0; i < 400 && count() > before; i++) await Bun.sleep(5);
  console.log(had, count() - before);
  process.exit();`;

/** Between a system call and who owns its result there is a moment: a socketPair has two. */
const MAX_IN_A_MOMENT = 2;

testUnless(kept, "Workers ended at work: what they had open goes with them", async () => {
  const [had, left] = succeeded(await runSource(ENDING, { timeoutMs: 90_000 }))
    .trim()
    .split(" ")
    .map(Number);
  console.log(`note: ${WORKERS} Workers had ${had} descriptors, ${left} were left`);
  expect(had).toBeGreaterThan(4 * WORKERS);
  expect(left).toBeLessThanOrEqual(MAX_IN_A_MOMENT * WORKERS);
});
