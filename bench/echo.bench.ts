// 64 bytes there and back through a server, whole processes: ours, Bun's own sockets, C with epoll.
// One C client drives them all; server and client share one processor, or have one each.

import { join } from "node:path";
import { compile, figure, folder, output, pinned, ratio, scratch, show } from "./harness.ts";

const ROUNDS = Number(process.env["BENCH_ROUNDS"] ?? 5);
const COUNT = 50_000;

const client = compile("round-trip");
const servers: Record<string, string[]> = {
  bunix: [process.execPath, join(folder, "servers/bunix.ts")],
  "Bun.listen": [process.execPath, join(folder, "servers/bun-listen.ts")],
  "C epoll": [compile("echo")],
};

/** The median round trip in microseconds. */
async function measure(name: string, command: string[], cpus: [number, number]): Promise<number> {
  const path = join(scratch, `${name.replace(/\W/g, "")}-${crypto.randomUUID().slice(0, 8)}`);
  const server = Bun.spawn(pinned(cpus[0], [...command, path]), { stdio: ["ignore", "ignore", 2] });
  const printed = output(pinned(cpus[1], [client, path, String(COUNT)]));
  await server.exited;
  return Number(printed.split(" ")[0]) / 1000;
}

for (const [title, cpus] of [
  ["one processor", [0, 0]],
  ["a processor each", [0, 1]],
] as const) {
  const took: Record<string, number[]> = {};
  for (let round = 0; round < ROUNDS; round++) {
    for (const [name, command] of Object.entries(servers)) {
      (took[name] ??= []).push(await measure(name, command, [...cpus]));
    }
  }
  console.log(`64-byte round trip, ${title}: median µs of ${ROUNDS} runs (least–most)`);
  for (const [name, values] of Object.entries(took)) {
    const against =
      name === "bunix" ? "" : `   bunix/${name} ${show(ratio(took["bunix"]!, values))}`;
    console.log(`  ${name.padEnd(12)}${show(figure(values))}${against}`);
  }
}
