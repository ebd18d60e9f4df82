// Inside one process: synchronous sends and receives over a pair of sockets, ours against C.

import { closeSync, openSync } from "node:fs";
import { Bench } from "tinybench";
import { type Message, socketPair } from "../src/index.ts";
import {
  type Contenders,
  interleave,
  median,
  output,
  report,
  scaled,
  type Taken,
} from "./harness.ts";
import { c } from "./peers.ts";

const peer = c("pair");
const SIZE = 64;
const BATCH = 32;
/** Rounds of work in one sample, so that the clock does not count. */
const SAMPLE = 50;

/** Nanoseconds per message of `work`, which does `messages` of them. */
async function timed(work: () => void, messages = 1): Promise<number> {
  const bench = new Bench({ time: scaled(300), warmupTime: scaled(200) });
  bench.add("work", () => {
    for (let i = 0; i < SAMPLE; i++) work();
  });
  await bench.run();
  const result = bench.tasks[0]?.result;
  if (result?.state !== "completed") throw new Error(`tinybench: ${result?.state}`);
  return (result.latency.p50 * 1e6) / SAMPLE / messages;
}

const inC = (what: string, count: number) => (): number =>
  median(
    output([peer, what, String(scaled(count))])
      .trim()
      .split("\n")
      .map(Number),
  );

const bytes = new Uint8Array(SIZE);

async function plain(type: "stream" | "seqpacket", passCredentials = false): Promise<number> {
  const [to, from] = socketPair(type, { passCredentials });
  const result = await timed(() => {
    to.trySend(bytes);
    const message = from.tryReceive();
    if (message?.data.length !== SIZE) throw new Error("nothing came");
    if (passCredentials && message.credentials?.pid !== process.pid) throw new Error("from whom?");
  });
  to.close();
  from.close();
  return result;
}

/** What is done with a message of descriptors: take each and close it, or close the message. */
const endings: Record<string, (message: Message) => void> = {
  bunix: (message) => message.close(),
  "bunix takeFds": (message) => {
    for (const fd of message.takeFds()) fd.close();
  },
};

async function passing(count: number, end: (message: Message) => void): Promise<number> {
  const [giver, taker] = socketPair("stream");
  const file = openSync("/dev/null", "r");
  const fds = Array.from({ length: count }, () => file);
  const byte = new Uint8Array(1);
  const pass = (): Message => {
    giver.trySend(byte, { fds });
    const message = taker.tryReceive();
    if (!message || message.fdsTruncated) throw new Error("nothing came");
    return message;
  };
  const first = pass();
  if (first.fds.length !== count) throw new Error("descriptors are missing");
  first.close();
  const result = await timed(() => end(pass()));
  giver.close();
  taker.close();
  closeSync(file);
  return result;
}

async function batches(): Promise<number> {
  const [to, from] = socketPair("datagram");
  const messages = Array.from({ length: BATCH }, () => bytes);
  const result = await timed(() => {
    to.trySendBatch(messages);
    if (from.tryReceiveBatch({ max: BATCH })?.length !== BATCH) throw new Error("some are missing");
  }, BATCH);
  to.close();
  from.close();
  return result;
}

for (const type of ["stream", "seqpacket"] as const) {
  const taken = await interleave({ bunix: () => plain(type), C: inC(type, 100_000) });
  const work = `trySend + tryReceive of 64 bytes, ${type} pair`;
  report({ work, unit: "ns" }, taken, [["bunix", "C", 1.15]]);
}

for (const [count, reach] of [
  [1, 1.15],
  [253, 1.1],
] as const) {
  const theirs = inC(`fds-${count}`, 200_000 / (count + 1));
  const contenders: Contenders = { C: theirs };
  for (const [name, end] of Object.entries(endings)) contenders[name] = () => passing(count, end);
  const taken = await interleave(contenders);
  const work = `pass ${count} descriptor${count > 1 ? "s" : ""}, receive, close`;
  const forms = Object.keys(endings).map((name) => [name, "C", reach] as const);
  report({ work, unit: "ns" }, taken, forms);
}

{
  const theirs = inC("credentials", 100_000);
  const taken = await interleave({ bunix: () => plain("stream", true), C: theirs });
  const work = "64 bytes received with credentials";
  report({ work, unit: "ns" }, taken, [["bunix", "C", 1.2]]);
}

/** The same figures as rates, where more is better. */
function rates(taken: Taken): Taken {
  const turn = (values: number[]): number[] => values.map((ns) => 1e9 / ns);
  return Object.fromEntries(Object.entries(taken).map(([name, values]) => [name, turn(values)]));
}

{
  const taken = await interleave({
    "bunix batch": batches,
    "C batch": inC("batch", 4000),
    "C one by one": inC("single", 4000),
  });
  const work = "datagrams of 64 bytes, 32 at a time";
  report({ work, unit: "ns" }, taken, [["bunix batch", "C batch", 1.25]]);
  report({ work, unit: "messages/s" }, rates(taken), [["bunix batch", "C one by one", 1.5]]);
}
