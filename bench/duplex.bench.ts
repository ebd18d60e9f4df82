// There and back through a node:stream over one connection: round trips per second, on one
// processor.

import { interleave, onOne, report, scaled } from "./harness.ts";
import { ours } from "./peers.ts";
import { drive } from "./processes.ts";

const KB = 1024;

for (const { size, count } of [
  { size: 64, count: 40_000 },
  { size: 16 * KB, count: 20_000 },
]) {
  const run = (form: string) => (): Promise<number> =>
    drive(ours("duplex", form), onOne, ["echo", size, scaled(count)]);
  const taken = await interleave({
    "bunix toDuplex": run("toDuplex"),
    "net.Socket": run("net"),
    "bare Duplex": run("bare"),
  });
  const bytes = size < KB ? `${size} bytes` : `${size / KB} KiB`;
  const work = `echo of ${bytes} through a node:stream, one connection, one processor`;
  report({ work, unit: "messages/s" }, taken, [
    ["bunix toDuplex", "net.Socket", 1.5],
    ["bunix toDuplex", "bare Duplex"],
    ["bare Duplex", "net.Socket"],
  ]);
}
