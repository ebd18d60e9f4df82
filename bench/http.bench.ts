// Requests per second over a Unix socket, one at a time and 16, on a connection that is kept and on
// one for each; on one processor.

import { interleave, onOne, report, scaled } from "./harness.ts";
import { bun, ours, type Start } from "./peers.ts";
import { drive } from "./processes.ts";

const KEPT = 20_000;
const EACH = 5_000;

for (const [conns, amount, aimNode] of [
  [1, "one at a time", 1],
  [16, "16 at a time", 0.8],
] as const) {
  for (const [keep, count, connection] of [
    [1, KEPT, "kept connections"],
    [0, EACH, "a connection each"],
  ] as const) {
    const run = (start: Start) => (): Promise<number> =>
      drive(start, onOne, ["http", conns, scaled(count), keep]);
    const taken = await interleave({
      "serveHttp on node:http": run(ours("http", "node")),
      "serveOn with rules": run(ours("http", "serve")),
      "node:http": run(bun("http", "node")),
      "node:http, bare calls": run(ours("http", "bare")),
      "Bun.serve": run(bun("http", "serve")),
    });
    report({ work: `HTTP, ${amount}, ${connection}`, unit: "times/s" }, taken, [
      ["serveHttp on node:http", "node:http", aimNode],
      ["serveHttp on node:http", "node:http, bare calls"],
      ["node:http, bare calls", "node:http"],
      ["serveOn with rules", "Bun.serve", keep === 1 ? 0.95 : undefined],
      ["serveHttp on node:http", "Bun.serve"],
    ]);
  }
}
