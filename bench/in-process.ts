// Timing what happens inside one process: ours with tinybench, C's with its own clock, and the bare
// system calls through the FFI, which is as near to C as JavaScript comes.

import { Bench } from "tinybench";
import type { StreamSocket } from "../src/index.ts";
import { encodeControl } from "../src/structs/cmsg.ts";
import { close } from "../src/syscalls/fd.ts";
import { MessageHeader } from "../src/syscalls/header.ts";
import { lend, Memory } from "../src/syscalls/memory.ts";
import { recvmsg, send, sendmsg } from "../src/syscalls/message.ts";
import { output, scaled } from "./harness.ts";
import { c } from "./peers.ts";

const ROOM = 256 * 1024;
/** Where the first descriptor stands in control data. */
const FIRST_FD = 16;
/** Rounds of work in one sample, there and here, so that the clock does not count. */
const SAMPLE = 50;

/** Nanoseconds per message of `work`, which does `messages` of them. */
export async function timed(work: () => void, messages = 1): Promise<number> {
  const bench = new Bench({ time: scaled(300), warmupTime: scaled(200) });
  bench.add("work", () => {
    for (let i = 0; i < SAMPLE; i++) work();
  });
  await bench.run();
  const result = bench.tasks[0]?.result;
  if (result?.state !== "completed") throw new Error(`tinybench: ${result?.state}`);
  return (result.latency.p50 * 1e6) / SAMPLE / messages;
}

/** The same of peers/c/pair.c: the median of so many samples of as many rounds. */
export function inC(what: string, samples: number): () => number {
  const peer = c("pair");
  return () => Number(output([peer, what, String(scaled(samples))]));
}

/** Receives without a message: nothing is copied, checked or owned. */
function receiver(): MessageHeader {
  const room = new Memory(ROOM);
  const envelope = MessageHeader.single(1);
  envelope.part(0, room.address, ROOM);
  return Object.assign(envelope, { room }); // which an address does not keep alive
}

type Pair = readonly [to: Pick<StreamSocket, "fd">, from: Pick<StreamSocket, "fd">];

/** send and recvmsg with nothing around them. */
export function barePlain([to, from]: Pair, bytes: Uint8Array): () => void {
  const envelope = receiver();
  return () => {
    send(to.fd, lend(bytes, bytes.length), bytes.length);
    if (recvmsg(from.fd, envelope, false) !== bytes.length) throw new Error("nothing came");
  };
}

/** sendmsg, recvmsg, perhaps a question about each descriptor, and close: nothing around them. */
export function barePass(
  [to, from]: Pair,
  fds: readonly number[],
  ask?: (fd: number) => unknown,
): () => void {
  const byte = new Memory(1);
  const out = MessageHeader.single(1);
  out.part(0, byte.address, 1);
  out.controlBytes = encodeControl(out.control, { fds });
  const envelope = receiver();
  return () => {
    if (sendmsg(to.fd, out) !== 1) throw new Error("not sent");
    if (recvmsg(from.fd, envelope, false) !== 1) throw new Error("nothing came");
    for (let i = 0; i < fds.length; i++) {
      const fd = envelope.control.getInt32(FIRST_FD + 4 * i, true);
      ask?.(fd);
      close(fd);
    }
  };
}
