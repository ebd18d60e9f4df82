// 64 bytes there and back between two processors, where ours polls for 50 µs before it sleeps.

import { join } from "node:path";
import {
  folder,
  interleave,
  onTwo,
  output,
  pinned,
  report,
  scaled,
  twoProcessors,
} from "./harness.ts";
import { bun, cServer, ours, type Start } from "./peers.ts";
import { drive, Server } from "./processes.ts";

const MICROS = 50;
const COUNT = 5000;
const [serverCpu, clientCpu] = onTwo;

const inC = (start: Start) => (): Promise<number> =>
  drive(start, onTwo, ["trip", scaled(COUNT), scaled(COUNT)]);

/** Both ends ours, both polling. */
async function bothPolling(): Promise<number> {
  await using server = new Server(ours("echo", "consume", MICROS), serverCpu);
  await server.listening();
  const client = [process.execPath, join(folder, "servers/trip.ts"), server.path];
  const counts = [scaled(COUNT), scaled(2 * COUNT), MICROS].map(String);
  return Number.parseFloat(output(pinned(clientCpu, [...client, ...counts])));
}

if (twoProcessors) {
  const taken = await interleave({
    "bunix await, polling": inC(ours("echo", "await", MICROS)),
    "bunix consume, polling": inC(ours("echo", "consume", MICROS)),
    "bunix at both ends, polling": bothPolling,
    "Bun.listen": inC(bun("echo")),
    "C epoll": inC(cServer("echo")),
    "C epoll, polling": inC(cServer("poll")),
  });
  const work = `64-byte echo, two processors, busyPollMicros ${MICROS}`;
  report({ work, unit: "ns" }, taken, [
    ["bunix await, polling", "Bun.listen", 0.4],
    ["bunix await, polling", "C epoll", 0.4],
    ["bunix consume, polling", "Bun.listen", 0.4],
    ["bunix consume, polling", "C epoll", 0.4],
    ["bunix at both ends, polling", "Bun.listen", 0.15],
    ["bunix at both ends, polling", "C epoll", 0.15],
    ["C epoll, polling", "Bun.listen"],
    ["C epoll, polling", "C epoll"],
  ]);
}
