// 1 GiB for another process: handed over as a descriptor and mapped there, against written by one
// and read by the other (C, as fast as it goes).

import { join } from "node:path";
import { SharedMemory, spawn } from "../src/index.ts";
import {
  folder,
  interleave,
  median,
  onOne,
  onTwo,
  report,
  scaled,
  twoProcessors,
} from "./harness.ts";
import { cServer } from "./peers.ts";
import { drive } from "./processes.ts";

const GIB = 2 ** 30;
const WRITE = 2 ** 20;
const HANDINGS = 100;
const FIRST = 7;
const LAST = 9;

using memory = SharedMemory.create(GIB);
memory.bytes.fill(1);
memory.bytes[0] = FIRST;
memory.bytes[GIB - 1] = LAST;

const child = spawn([process.execPath, join(folder, "servers/mapped.ts")], {
  channel: true,
  stdio: ["ignore", "inherit", "inherit"],
});

/** From the send to the answer of the other, who has mapped it and seen its ends: median ms. */
async function handed(): Promise<number> {
  const took: number[] = [];
  for (let i = 0; i < scaled(HANDINGS); i++) {
    const begin = Bun.nanoseconds();
    child.channel.sendSync("here", { fds: [memory] });
    const answer = child.channel.receiveSync()?.text();
    took.push((Bun.nanoseconds() - begin) / 1e6);
    if (answer !== `${GIB} ${FIRST} ${LAST}`) throw new Error(`the other sees ${answer}`);
  }
  return median(took);
}

const placement = twoProcessors ? onTwo : onOne;
const rate = (): Promise<number> => drive(cServer("sink", GIB), placement, ["flow", WRITE, GIB]);

await handed(); // both are warm

/** 1 GiB per so many times a second: more is better. */
const taken = await interleave({
  "bunix SharedMemory": async () => 1000 / (await handed()),
  "C write and read": async () => (await rate()) / GIB,
});
report({ work: "1 GiB handed to another process", unit: "times/s" }, taken, [
  ["bunix SharedMemory", "C write and read", 1000],
]);
child.channel.close();
await child.exited;
