// All channels at once, in slices; between two slices everything rests, garbage is collected, and
// what the process holds is looked at.

import { heapStats } from "bun:jsc";
import { openFds } from "../api/tools.ts";
import type { Channel, Moved } from "./channel.ts";
import type { Sample } from "./curve.ts";
import { others } from "./others.ts";
import { sockets } from "./sockets.ts";

const MEBIBYTE = 2 ** 20;

/** Everything that was moved, by channel. */
export type Sums = Map<string, Moved>;

export interface Mix {
  readonly samples: readonly Sample[];
  readonly sums: Sums;
}

export interface MixOptions {
  readonly seconds: number;
  /** One slice, in seconds. */
  readonly every: number;
  readonly onSample?: (sample: Sample) => void;
}

async function during(channel: Channel, end: number, sum: Moved): Promise<void> {
  do {
    const { messages, fds } = await channel.round();
    sum.messages += messages;
    sum.fds += fds;
    await new Promise((resolve) => setImmediate(resolve)); // the others' turn
  } while (performance.now() < end);
}

function look(begin: number, sums: Sums): Sample {
  Bun.gc(true);
  const all = [...sums.values()];
  return {
    seconds: (performance.now() - begin) / 1_000,
    rssMebibytes: process.memoryUsage.rss() / MEBIBYTE,
    heapMebibytes: heapStats().heapSize / MEBIBYTE,
    fds: openFds(),
    messages: all.reduce((sum, { messages }) => sum + messages, 0),
    fdsMoved: all.reduce((sum, { fds }) => sum + fds, 0),
  };
}

/** Work for so long; a sample after each slice. */
export async function soak({ seconds, every, onSample }: MixOptions): Promise<Mix> {
  const channels = [...sockets(), ...(await others())];
  const sums: Sums = new Map(channels.map(({ name }) => [name, { messages: 0, fds: 0 }]));
  const samples: Sample[] = [];
  const begin = performance.now();
  try {
    while (performance.now() - begin < seconds * 1_000) {
      const end = performance.now() + every * 1_000;
      await Promise.all(channels.map((one) => during(one, end, sums.get(one.name)!)));
      await Bun.sleep(0);
      const sample = look(begin, sums);
      samples.push(sample);
      onSample?.(sample);
    }
  } finally {
    for (const one of channels) one[Symbol.dispose]();
  }
  return { samples, sums };
}
