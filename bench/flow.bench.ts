// One way: how fast bytes come in, every one of them handed to the user.

import { interleave, onOne, onTwo, report, scaled, twoProcessors } from "./harness.ts";
import { bun, cServer, ours } from "./peers.ts";
import { drive } from "./processes.ts";

const KB = 1024;
const MB = 1024 * KB;

for (const [size, total] of [
  [64, 4 * MB],
  [KB, 32 * MB],
  [64 * KB, 1024 * MB], // as many receives as JavaScript takes to be compiled, and more
] as const) {
  const bytes = size * Math.ceil(scaled(total) / size);
  for (const [where, placement] of [
    ["one processor", onOne],
    ["two processors", onTwo],
  ] as const) {
    if (placement === onTwo && !twoProcessors) continue;
    const run = (start: Parameters<typeof drive>[0]) => async (): Promise<number> =>
      (await drive(start, placement, ["flow", size, bytes])) / 1e6;
    const taken = await interleave({
      "bunix await": run(ours("sink", "await", bytes)),
      "bunix consume": run(ours("sink", "consume", bytes)),
      "bunix receiveInto": run(ours("sink", "into", bytes)),
      "bunix consumeInto": run(ours("sink", "consumeInto", bytes)),
      "Bun.listen": run(bun("sink", bytes)),
      "C recv": run(cServer("sink", bytes)),
      "bare FFI loop": run(ours("bare", "sink", bytes)),
    });
    const writes = size < KB ? `${size} B` : `${size / KB} KiB`;
    report({ work: `one way, writes of ${writes}, ${where}`, unit: "MB/s" }, taken, [
      ["bunix await", "Bun.listen", 1],
      ["bunix consume", "Bun.listen", 1],
      ["bunix consume", "C recv", 0.85],
      ["bunix receiveInto", "C recv", 0.85],
      ["bunix consumeInto", "Bun.listen", 1],
      ["bunix consumeInto", "C recv", 0.85],
      ["bare FFI loop", "C recv"],
      ["Bun.listen", "C recv"],
    ]);
  }
}
