// Connections per second: accept, ask who it is, close; on one processor.

import { interleave, onOne, report, scaled } from "./harness.ts";
import { bun, cServer, ours, type Start } from "./peers.ts";
import { drive } from "./processes.ts";

/** After as many; with fewer most of what is measured is JavaScript being compiled. */
const COUNT = 40_000;

const run = (start: Start) => (): Promise<number> => drive(start, onOne, ["knock", scaled(COUNT)]);

const taken = await interleave({
  "bunix await": run(ours("accept", "await")),
  "bunix consume": run(ours("accept", "consume")),
  "Bun.listen (asks nothing)": run(bun("accept")),
  C: run(cServer("accept")),
  "bare FFI loop": run(ours("bare", "accept")),
});
report({ work: "accept, peer credentials, close, one processor", unit: "times/s" }, taken, [
  ["bunix await", "Bun.listen (asks nothing)", 1],
  ["bunix await", "C", 0.7],
  ["bunix consume", "Bun.listen (asks nothing)", 1],
  ["bunix consume", "C", 0.7],
  ["bare FFI loop", "C"],
]);
