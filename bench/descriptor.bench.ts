// Pass descriptors over a pair, receive them, close them: synchronous, ours against C.

import { closeSync, openSync } from "node:fs";
import { type Message, socketPair } from "../src/index.ts";
import { lookAt } from "../src/syscalls/file-kind.ts";
import { type Contenders, interleave, report, works } from "./harness.ts";
import { barePass, inC, timed } from "./in-process.ts";

/** What is done with a message of descriptors: take each and close it, or close the message. */
const endings: Record<string, (message: Message) => void> = {
  bunix: (message) => message.close(),
  "bunix takeFds": (message) => {
    for (const fd of message.takeFds()) fd.close();
  },
};

const file = openSync("/dev/null", "r");

async function passing(count: number, end: (message: Message) => void): Promise<number> {
  const [giver, taker] = socketPair("stream");
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
  return result;
}

async function bare(count: number, ask?: (fd: number) => unknown): Promise<number> {
  const fds = Array.from({ length: count }, () => file);
  const pair = socketPair("stream");
  const result = await timed(barePass(pair, fds, ask));
  for (const socket of pair) socket.close();
  return result;
}

for (const { count, aim, samples } of works(
  { count: 1, aim: 1.12, samples: 4000 },
  { count: 253, aim: 1.1, samples: 100 },
)) {
  const contenders: Contenders = {
    C: inC(`fds-${count}`, samples),
    "C that asks first": inC(`asked-${count}`, samples),
    "C as in Bun, asking": inC(`shared-asked-${count}`, samples),
    "bare FFI calls": () => bare(count),
    "bare FFI calls, asking": () => bare(count, lookAt),
  };
  for (const [name, end] of Object.entries(endings)) contenders[name] = () => passing(count, end);
  const taken = await interleave(contenders);
  const work = `pass ${count} descriptor${count > 1 ? "s" : ""}, receive, close`;
  const forms = Object.keys(endings).flatMap((name) => [
    [name, "C", aim] as const,
    [name, "C that asks first"] as const, // what a descriptor is: its close may wait
  ]);
  report({ work, unit: "ns" }, taken, [
    ...forms,
    ["bare FFI calls", "C"],
    ["bare FFI calls, asking", "C"],
    ["C that asks first", "C"],
    ["C as in Bun, asking", "C"],
  ]);
}
closeSync(file);
