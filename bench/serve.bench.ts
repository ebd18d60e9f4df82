// What a listener's rules cost a server of Bun: `serveOn` accepts here, asks, and puts the client's
// connection in the place of one that Bun has accepted from this process. Processor time of the
// server, and connections per second; on one processor.

import { interleave, onOne, output, pinned, report, scaled, type Taken } from "./harness.ts";
import { bun, c, ours, type Start } from "./peers.ts";
import { Server } from "./processes.ts";

const COUNT = 3_000;
/** The client begins with half as many, to warm up. */
const ALL = 1.5;

interface Figures {
  readonly rate: number;
  readonly cpuNs: number;
}

async function measure(start: Start, mode: readonly string[], count: number): Promise<Figures> {
  const [serverCpu, clientCpu] = onOne;
  await using server = new Server(start, serverCpu);
  await server.listening();
  const client = pinned(clientCpu, [c("client"), mode[0]!, server.path, ...mode.slice(1)]);
  output(client); // what is compiled meanwhile is not what is measured
  const before = server.cpuNs;
  const rate = Number.parseFloat(output(client));
  return { rate, cpuNs: (server.cpuNs - before) / (ALL * count) };
}

const contenders = {
  "serveOn with rules": ours("http", "serve"),
  "Bun.serve": bun("http", "serve"),
};

const count = scaled(COUNT);
for (const [work, mode, aim] of [
  ["a request on a connection each, one at a time", ["http", "1", `${count}`, "0"], 2],
  ["a request on a connection each, 16 at a time", ["http", "16", `${count}`, "0"], 2],
  ["connect and close", ["touch", `${count}`], 2],
] as const) {
  const cpu: Taken = {};
  const rates = await interleave(
    Object.fromEntries(
      Object.entries(contenders).map(([name, start]) => [
        name,
        async (): Promise<number> => {
          const { rate, cpuNs } = await measure(start, mode, count);
          (cpu[name] ??= []).push(cpuNs);
          return rate;
        },
      ]),
    ),
  );
  report({ work: `HTTP server, ${work}: processor time of the server`, unit: "ns" }, cpu, [
    ["serveOn with rules", "Bun.serve", aim],
  ]);
  report({ work: `HTTP server, ${work}`, unit: "times/s" }, rates, [
    ["serveOn with rules", "Bun.serve", 1 / aim],
  ]);
}
