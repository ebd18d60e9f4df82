// The library in eight Workers at once, each with an event loop of its own, talking to each other;
// and Workers that are ended in the middle of it.

import { expect, test } from "bun:test";
import { Worker } from "node:worker_threads";
import { freshAddress } from "../api/pairs.ts";
import { leakFree } from "../api/tools.ts";
import { runSource, succeeded } from "../support/child.ts";

const WORKERS = 8;
const ROUNDS = Number(process.env["BUNIX_WORKER_ROUNDS"] ?? 15);
const file = new URL("../fixtures/stress-worker.ts", import.meta.url);

/** Start the crew; each says "ready" before it begins. */
function crew(rounds: number): { worker: Worker; next: () => Promise<string> }[] {
  const name = freshAddress("abstract").slice(1);
  return Array.from({ length: WORKERS }, (_, index) => {
    const worker = new Worker(file, { workerData: { name, index, workers: WORKERS, rounds } });
    const said: string[] = [];
    const waiting: PromiseWithResolvers<string>[] = [];
    worker.on("message", (text: string) => {
      const first = waiting.shift();
      if (first === undefined) said.push(text);
      else first.resolve(text);
    });
    worker.on("error", (error) => {
      for (const one of waiting.splice(0)) one.reject(error);
    });
    const next = (): Promise<string> => {
      const known = said.shift();
      if (known !== undefined) return Promise.resolve(known);
      const later = Promise.withResolvers<string>();
      waiting.push(later);
      return later.promise;
    };
    return { worker, next };
  });
}

const everyone = (said: string): string[] => new Array<string>(WORKERS).fill(said);

test(
  `${WORKERS} Workers, ${ROUNDS} rounds each`,
  () =>
    leakFree(async () => {
      const workers = crew(ROUNDS);
      const all = (): Promise<string[]> => Promise.all(workers.map(({ next }) => next()));
      const tell = (): void => {
        for (const { worker } of workers) worker.postMessage("go on");
      };
      const ended = workers.map(
        ({ worker }) => new Promise((resolve) => worker.once("exit", resolve)),
      );
      expect(await all()).toEqual(everyone("ready"));
      tell();
      expect(await all()).toEqual(everyone("done"));
      tell();
      expect(await all()).toEqual(everyone("closed"));
      expect(await Promise.all(ended)).toEqual(new Array(WORKERS).fill(0));
    }),
  100_000,
);

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
const MOST_IN_A_MOMENT = 2;

test("Workers ended at work: what they had open goes with them", async () => {
  const [had, left] = succeeded(await runSource(ENDING, { timeoutMs: 90_000 }))
    .trim()
    .split(" ")
    .map(Number);
  console.log(`note: ${WORKERS} Workers had ${had} descriptors, ${left} were left`);
  expect(had).toBeGreaterThan(4 * WORKERS);
  expect(left).toBeLessThanOrEqual(MOST_IN_A_MOMENT * WORKERS);
}, 100_000);
