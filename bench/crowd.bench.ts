// Many connections, each with one message of 64 bytes under way: messages per second, on one
// processor.

import { type Contenders, interleave, onOne, quick, report, scaled } from "./harness.ts";
import { bun, cServer, ours } from "./peers.ts";
import { drive } from "./processes.ts";

/** After as many, which is what JavaScript takes to be compiled, and more. */
const COUNT = 120_000;

for (const conns of [10, 200, 1000]) {
  const run = (start: Parameters<typeof drive>[0]) => (): Promise<number> =>
    drive(start, onOne, ["crowd", conns, scaled(COUNT)]);
  const contenders: Contenders = {
    "bunix await": run(ours("echo", "await")),
    "bunix consume": run(ours("echo", "consume")),
    "Bun.listen": run(bun("echo")),
    "bare FFI loop": run(ours("bare")),
  };
  if (!quick) {
    contenders["C epoll"] = run(cServer("echo")); // the bare calls are the nearer floor
    contenders["bare messages"] = run(ours("messages", "handler"));
    contenders["bare promises"] = run(ours("messages", "promise"));
  }
  const taken = await interleave(contenders);
  report({ work: `64-byte echo, ${conns} connections, one processor`, unit: "messages/s" }, taken, [
    ["bunix await", "Bun.listen", 1],
    ["bunix consume", "Bun.listen", 1.15],
    ["bunix consume", "C epoll"],
    ["bunix consume", "bare FFI loop"],
    ["bunix consume", "bare messages"],
    ["bunix await", "bare promises"],
    ["bare FFI loop", "Bun.listen"],
    ["bare messages", "Bun.listen"],
    ["bare promises", "Bun.listen"],
    ["C epoll", "Bun.listen"],
  ]);
}
