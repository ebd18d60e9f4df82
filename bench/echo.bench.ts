// 64 bytes there and back through a server, whole processes. One C client drives them all; server
// and client share one processor, or have one each.

import {
  interleave,
  onOne,
  onTwo,
  type Pairing,
  type Placement,
  report,
  scaled,
  twoProcessors,
} from "./harness.ts";
import { bun, cServer, foreignEchoes, ours, type Start } from "./peers.ts";
import { drive } from "./processes.ts";

const servers: Record<string, Start> = {
  "bunix await": ours("echo", "await"),
  "bunix consume": ours("echo", "consume"),
  "Bun.listen": bun("echo"),
  "C epoll": cServer("echo"),
  "bare FFI loop": ours("bare"),
  ...foreignEchoes(),
};
const forms = ["bunix await", "bunix consume"];

async function measure(where: string, placement: Placement, count: number): Promise<void> {
  const trips: readonly [string, ...number[]] = ["trip", scaled(count), scaled(count)];
  const runs = Object.entries(servers).map(([name, start]) => {
    return [name, (): Promise<number> => drive(start, placement, trips)] as const;
  });
  const taken = await interleave(Object.fromEntries(runs));
  const aim = (max: number): number | undefined => (placement === onOne ? max : undefined);
  const pairings = forms.flatMap((form): Pairing[] => [
    [form, "Bun.listen", aim(1)],
    [form, "Go net", aim(1.1)],
    [form, "node net", aim(0.8)],
    [form, "python asyncio", aim(0.3)],
    [form, "C epoll", aim(1.6)],
    [form, "bare FFI loop", undefined],
  ]);
  const floor = ["bare FFI loop", "C epoll"].flatMap((name): Pairing[] => [
    [name, "node net"],
    [name, "python asyncio"],
  ]);
  const work = `64-byte echo, one connection, ${where}`;
  report({ work, unit: "ns" }, taken, [...pairings, ...floor]);
}

await measure("one processor", onOne, 30_000);
if (twoProcessors) await measure("two processors", onTwo, 20_000);
