// Inside one process: synchronous sends and receives over a pair of sockets, ours against C.

import { socketPair } from "../src/index.ts";
import { interleave, quick, report, type Taken } from "./harness.ts";
import { barePlain, inC, timed } from "./in-process.ts";

const SIZE = 64;
const BATCH = 32;
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

async function bare(type: "stream" | "seqpacket"): Promise<number> {
  const pair = socketPair(type);
  const result = await timed(barePlain(pair, bytes));
  for (const socket of pair) socket.close();
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
  const taken = await interleave({
    bunix: () => plain(type),
    C: inC(type, 5000),
    "C as in Bun": inC(`shared-${type}`, 5000),
    "bare FFI calls": () => bare(type),
  });
  const work = `trySend + tryReceive of 64 bytes, ${type} pair`;
  report({ work, unit: "ns" }, taken, [
    ["bunix", "C", type === "stream" ? 1.05 : 1.1],
    ["bunix", "C as in Bun"], // a process with threads, and time stamps: see pair.c
    ["bare FFI calls", "C"],
    ["C as in Bun", "C"],
  ]);
}

if (!quick) {
  const theirs = inC("credentials", 5000);
  const taken = await interleave({ bunix: () => plain("stream", true), C: theirs });
  const work = "64 bytes received with credentials";
  report({ work, unit: "ns" }, taken, [["bunix", "C", 1.2]]);
}

/** The same figures as rates, where more is better. */
function rates(taken: Taken): Taken {
  const turn = (values: number[]): number[] => values.map((ns) => 1e9 / ns);
  return Object.fromEntries(Object.entries(taken).map(([name, values]) => [name, turn(values)]));
}

if (!quick) {
  const taken = await interleave({
    "bunix batch": batches,
    "C batch": inC("batch", 200),
    "C one by one": inC("single", 200),
  });
  const work = "datagrams of 64 bytes, 32 at a time";
  report({ work, unit: "ns" }, taken, [["bunix batch", "C batch", 1.25]]);
  report({ work, unit: "messages/s" }, rates(taken), [
    ["bunix batch", "C one by one", 1.5],
    ["C batch", "C one by one"],
  ]);
}
