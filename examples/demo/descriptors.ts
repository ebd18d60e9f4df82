// What this process has open.

import { readdirSync, readlinkSync } from "node:fs";
import { socketPair } from "bunix";

const PATIENCE_MS = 1_000;
const STEP_MS = 5;
const QUIET_MS = 50;

/** Start what is opened once and stays: this library's loop, and Bun's for spawnSync. */
export async function warmUp(): Promise<void> {
  const [a, b] = socketPair("stream");
  const received = a.receive();
  setImmediate(() => b.sendSync("x"));
  await received;
  a.close();
  b.close();
  Bun.spawnSync([process.execPath, "--version"], { stdout: "ignore" });
  await Bun.sleep(QUIET_MS); // Bun closes some of its own a moment later
}

/** One entry per descriptor: what it stands for, "socket:[4711]" or a path. */
export function listOpen(): string[] {
  const open: string[] = [];
  for (const fd of readdirSync("/proc/self/fd")) {
    try {
      open.push(readlinkSync(`/proc/self/fd/${fd}`));
    } catch {
      // the one that listed the directory
    }
  }
  return open;
}

/** What is open now and was not `before`, when Bun has had its time to close its own. */
export async function waitUntilClosed(before: readonly string[]): Promise<string[]> {
  const deadline = performance.now() + PATIENCE_MS;
  let left = surplus(before);
  while (left.length > 0 && performance.now() < deadline) {
    await Bun.sleep(STEP_MS);
    left = surplus(before);
  }
  return left;
}

function surplus(before: readonly string[]): string[] {
  const known = [...before];
  return listOpen().filter((entry) => {
    const at = known.indexOf(entry);
    if (at >= 0) known.splice(at, 1);
    return at < 0;
  });
}
