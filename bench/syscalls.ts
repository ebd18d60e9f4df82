// Where a server's time goes: the system calls of each echo server per message, counted by strace,
// and its processor time in user mode and in the kernel, without strace. No server can do with
// less than its receive and its send; what is beyond is the loop.

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { onOne, output, pinned, scaled, scratch } from "./harness.ts";
import { bun, c, cServer, foreignEchoes, ours, type Start } from "./peers.ts";
import { Server } from "./processes.ts";
import type { CallsRow } from "./results.ts";

const FEW = 500;
const MANY = 4000;
const TIMED = 60_000;
const PAUSE_MS = 10;
const TICK_MICROS = 1e6 / Number(output(["getconf", "CLK_TCK"]));

/** calls and their counts, from the table that strace -c prints. */
function parse(text: string): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const line of text.split("\n")) {
    const [, calls, name] =
      /^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)$/.exec(line) ?? [];
    if (name !== undefined && name !== "total") counts[name] = Number(calls);
  }
  return counts;
}

/** All system calls of a server that answers so many messages. */
async function counted(
  start: Start,
  conns: number,
  messages: number,
): Promise<Record<string, number>> {
  const file = join(scratch, `strace-${crypto.randomUUID().slice(0, 8)}`);
  // -D: the tracer stands aside, so that the process we start is the server itself
  const before = ["strace", "-D", "-f", "-c", "-o", file];
  {
    await using server = new Server(start, onOne[0], { before });
    output(pinned(onOne[1], [c("client"), "crowd", server.path, `${conns}`, `${messages}`]));
  }
  while (!existsSync(file) || !readFileSync(file, "utf8").includes("total")) {
    await Bun.sleep(PAUSE_MS);
  }
  return parse(readFileSync(file, "utf8"));
}

/** Two runs of different length: what they differ by belongs to the messages alone. */
async function perMessage(start: Start, conns: number): Promise<Record<string, number>> {
  const [few, many] = [FEW + 2 * conns, MANY + 2 * conns];
  const short = await counted(start, conns, few);
  const long = await counted(start, conns, many);
  const sent = (many - few) * 1.5; // the client sends half as many again to warm up
  const entries = Object.entries(long).map(([name, count]) => {
    return [name, Math.max(0, count - (short[name] ?? 0)) / sent] as const;
  });
  return Object.fromEntries(entries);
}

/** Processor time per message, of a server that is warm. */
async function times(start: Start, conns: number): Promise<{ user: number; system: number }> {
  await using server = new Server(start, onOne[0]);
  const run = (): string =>
    output(pinned(onOne[1], [c("client"), "crowd", server.path, `${conns}`, `${scaled(TIMED)}`]));
  run();
  const before = server.ticks;
  run();
  const after = server.ticks;
  const each = TICK_MICROS / (scaled(TIMED) * 1.5);
  return {
    user: (after.user - before.user) * each,
    system: (after.system - before.system) * each,
  };
}

/** One row for each server and number of connections. */
export async function syscalls(): Promise<CallsRow[]> {
  if (Bun.which("strace") === null) {
    console.log("(no strace here: apt-get install strace)");
    return [];
  }
  const servers: Record<string, Start> = {
    "C epoll": cServer("echo"),
    "bunix await": ours("echo", "await"),
    "bunix consume": ours("echo", "consume"),
    "Bun.listen": bun("echo"),
    ...foreignEchoes(),
  };
  const rows: CallsRow[] = [];
  for (const connections of [1, 200]) {
    for (const [server, start] of Object.entries(servers)) {
      const calls = await perMessage(start, connections);
      const { user: userMicros, system: systemMicros } = await times(start, connections);
      rows.push({ server, connections, calls, userMicros, systemMicros });
    }
  }
  return rows;
}
