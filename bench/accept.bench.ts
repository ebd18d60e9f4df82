// Connections per second: accept, ask who it is, close; on one processor.

import { interleave, onOne, report, scaled } from "./harness.ts";
import { bun, cServer, ours, type Start } from "./peers.ts";
import { drive } from "./processes.ts";

const run = (start: Start) => (): Promise<number> => drive(start, onOne, ["knock", scaled(20_000)]);

const taken = await interleave({
  bunix: run(ours("accept")),
  "Bun.listen (asks nothing)": run(bun("accept")),
  C: run(cServer("accept")),
});
report({ work: "accept, peer credentials, close, one processor", unit: "times/s" }, taken, [
  ["bunix", "Bun.listen (asks nothing)", 1],
  ["bunix", "C", 0.7],
]);
