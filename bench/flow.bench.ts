// One way: how fast bytes come in, every one of them handed to the user.

import {
  interleave,
  onOne,
  onTwo,
  quick,
  report,
  scaled,
  twoProcessors,
  works,
} from "./harness.ts";
import { bun, cServer, ours } from "./peers.ts";
import { drive } from "./processes.ts";

const KB = 1024;
const MB = 1024 * KB;

/** As many receives as it takes to be compiled, and more: the first half is not measured. */
for (const { size, total } of works(
  { size: 64, total: 32 * MB },
  { size: KB, total: 192 * MB },
  { size: 64 * KB, total: 1024 * MB },
)) {
  const bytes = size * Math.ceil(scaled(total) / size);
  for (const [where, placement] of [
    ["one processor", onOne],
    ["two processors", onTwo],
  ] as const) {
    if (placement === onTwo ? !twoProcessors : quick) continue;
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
