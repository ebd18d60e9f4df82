// Pass descriptors over a pair, receive them, close them: synchronous, ours against C.

import { openSync } from "node:fs";
import { Bench } from "tinybench";
import { socketPair } from "../src/index.ts";
import { compile, figure, median, output, ratio, show } from "./harness.ts";

const ROUNDS = Number(process.env["BENCH_ROUNDS"] ?? 5);
/** Rounds of work in one sample, so that the clock does not count. */
const BATCH = 50;

const peer = compile("pass-descriptor");
const file = openSync("/dev/null", "r");

async function ours(count: number): Promise<number> {
  const [giver, taker] = socketPair("stream");
  const fds = Array.from({ length: count }, () => file);
  const byte = new Uint8Array(1);
  const bench = new Bench({ time: 500, warmupTime: 300 });
  bench.add("pass", () => {
    for (let i = 0; i < BATCH; i++) {
      giver.trySend(byte, { fds });
      taker.tryReceive()?.close();
    }
  });
  await bench.run();
  giver.close();
  taker.close();
  const result = bench.tasks[0]?.result;
  if (result?.state !== "completed") throw new Error(`tinybench: ${result?.state}`);
  return (result.latency.p50 * 1e6) / BATCH;
}

function theirs(count: number): number {
  const lines = output([peer, String(count), String(Math.ceil(200_000 / (count + 1)))]);
  return median(lines.trim().split("\n").map(Number));
}

for (const count of [1, 253]) {
  const [a, b]: [number[], number[]] = [[], []];
  for (let round = 0; round < ROUNDS; round++) {
    a.push(await ours(count));
    b.push(theirs(count));
  }
  console.log(`pass ${count} descriptor${count > 1 ? "s" : ""}, receive, close: median ns`);
  console.log(`  bunix  ${show(figure(a), 0)}\n  C      ${show(figure(b), 0)}`);
  console.log(`  bunix/C ${show(ratio(a, b))}`);
}
