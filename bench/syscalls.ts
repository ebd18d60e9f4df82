// Where a server's time goes: its system calls per message, counted by strace, and its processor
// time in user mode and in the kernel, without strace. No echo server can do with less than a
// receive and a send, nobody accepts with less than an accept and a close; what is beyond is the
// loop.

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { onOne, output, pinned, scaled, scratch } from "./harness.ts";
import { bun, c, cServer, foreignEchoes, ours, type Start } from "./peers.ts";
import { Server } from "./processes.ts";
import type { CallsRow } from "./results.ts";

/** Messages; multiples of 128, since the client accepts 64 at a time. */
const FEW = 384;
const MANY = 3840;
const TIMED = 38_400;
const PAUSE_MS = 10;
const TRIES = 1000;
/** The client sends as many before, to warm up. */
const WITH_WARM_UP = 2;

interface Work {
  readonly name: string;
  readonly servers: Record<string, Start>;
  /** Arguments of client.c for so many messages; the path goes after the first. */
  client(messages: number): readonly [mode: string, ...rest: number[]];
}

const [serverCpu, clientCpu] = onOne;

function drive({ client }: Work, path: string, messages: number): void {
  const [mode, ...rest] = client(messages);
  output(pinned(clientCpu, [c("client"), mode, path, ...rest.map(String)]));
}

/** calls and their counts, from the table that strace -c prints. */
function parse(text: string): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const line of text.split("\n")) {
    const columns = /^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)$/.exec(line) ?? [];
    const [, calls, name] = columns;
    if (name !== undefined && name !== "total") counts[name] = Number(calls);
  }
  return counts;
}

/** All system calls of a server that answers so many messages. */
async function counted(
  work: Work,
  start: Start,
  messages: number,
): Promise<Record<string, number>> {
  const file = join(scratch, `strace-${crypto.randomUUID().slice(0, 8)}`);
  // -D: the tracer stands aside, so that the process we start is the server itself
  const before = ["strace", "-D", "-f", "-c", "-o", file];
  {
    await using server = new Server(start, serverCpu, { before });
    drive(work, server.path, messages);
  }
  for (let i = 0; i < TRIES; i++) {
    const text = existsSync(file) ? readFileSync(file, "utf8") : "";
    if (text.includes("total")) return parse(text);
    await Bun.sleep(PAUSE_MS); // the tracer writes when the server is gone
  }
  throw new Error("strace wrote nothing");
}

/** Two runs of different length: what they differ by belongs to the messages alone. */
async function perMessage(work: Work, start: Start): Promise<Record<string, number>> {
  const short = await counted(work, start, FEW);
  const long = await counted(work, start, MANY);
  const sent = (MANY - FEW) * WITH_WARM_UP;
  const entries = Object.entries(long).map(([name, count]) => {
    return [name, Math.max(0, count - (short[name] ?? 0)) / sent] as const;
  });
  return Object.fromEntries(entries);
}

/** Processor time per message in microseconds, of a server that is warm. */
async function times(work: Work, start: Start): Promise<{ user: number; system: number }> {
  await using server = new Server(start, serverCpu);
  const messages = scaled(TIMED);
  drive(work, server.path, messages);
  const [ticks, cpuNs] = [server.ticks, server.cpuNs];
  drive(work, server.path, messages);
  const micros = (server.cpuNs - cpuNs) / 1000 / (messages * WITH_WARM_UP);
  // the sum is exact; ticks only say how it is divided
  const [user, system] = [server.ticks.user - ticks.user, server.ticks.system - ticks.system];
  const share = user / Math.max(1, user + system);
  return { user: micros * share, system: micros * (1 - share) };
}

const echoes = (): Record<string, Start> => ({
  "C epoll": cServer("echo"),
  "bare FFI loop": ours("bare"),
  "bunix await": ours("echo", "await"),
  "bunix consume": ours("echo", "consume"),
  "Bun.listen": bun("echo"),
});

const echo = (name: string, conns: number, servers: Record<string, Start>): Work => ({
  name,
  servers,
  client: (messages) => ["crowd", conns, messages],
});

const works = (): Work[] => [
  echo("echo, 1 connection", 1, { ...echoes(), ...foreignEchoes() }),
  echo("echo, 10 connections", 10, echoes()),
  echo("echo, 200 connections", 200, echoes()),
  {
    name: "accept, peer credentials, close",
    servers: { C: cServer("accept"), bunix: ours("accept"), "Bun.listen": bun("accept") },
    client: (messages) => ["knock", messages],
  },
];

/** One row for each server and work. */
export async function syscalls(): Promise<CallsRow[]> {
  if (Bun.which("strace") === null) {
    console.log("(no strace here: apt-get install strace)");
    return [];
  }
  const rows: CallsRow[] = [];
  for (const work of works()) {
    console.log(`system calls: ${work.name}`);
    for (const [server, start] of Object.entries(work.servers)) {
      const calls = await perMessage(work, start);
      const { user: userMicros, system: systemMicros } = await times(work, start);
      rows.push({ work: work.name, server, calls, userMicros, systemMicros });
    }
  }
  return rows;
}
