// bunix doctor: the capabilities of this system, and a test of each.

import { printable } from "../base/printable.ts";
import { type Capabilities, type Capability, capabilities } from "../capabilities/capabilities.ts";
import { LIMIT_MS } from "./check-tools.ts";
import { type Check, checks } from "./checks.ts";
import { wanted } from "./commands.ts";
import { json, parse } from "./options.ts";
import { print } from "./terminal.ts";

interface Result {
  readonly name: string;
  readonly result: "works" | "fails" | "left out";
  /** Why it fails, or was left out. */
  readonly reason?: string;
}

/** Print capabilities and a self-test; the result is the exit code. */
export async function doctor(args: readonly string[]): Promise<number> {
  const { json: asJson } = parse(args, wanted("doctor"));
  const found = capabilities();
  const results: Result[] = [];
  for (const check of checks) results.push(await tryOut(check, found));
  // if nothing can be called nothing failed, and nothing works either
  const ok = found.libc !== "none" && results.every(({ result }) => result !== "fails");
  if (asJson) print(json({ capabilities: found, checks: results, ok }));
  else print(asText(found, results));
  return ok ? 0 : 1;
}

async function tryOut({ name, needs, run }: Check, found: Capabilities): Promise<Result> {
  for (const need of found.libc === "none" ? (["libcFunctions"] as const) : needs) {
    const { available, reason } = found[need];
    if (!available) return { name, result: "left out", reason: `${need}: ${reason}` };
  }
  try {
    await within(LIMIT_MS, run);
    return { name, result: "works" };
  } catch (error) {
    return { name, result: "fails", reason: error instanceof Error ? error.message : `${error}` };
  }
}

/** Run, but not for longer. */
async function within(ms: number, run: Check["run"]): Promise<void> {
  const signal = AbortSignal.timeout(ms);
  const late = Promise.withResolvers<never>();
  const giveUp = (): void => late.reject(new Error(`not done after ${ms} ms`));
  signal.addEventListener("abort", giveUp);
  try {
    await Promise.race([run(), late.promise]);
  } finally {
    signal.removeEventListener("abort", giveUp);
  }
}

const isCapability = (value: unknown): value is Capability =>
  typeof value === "object" && value !== null && "available" in value;

function asText(found: Capabilities, results: readonly Result[]): string {
  const { system, arch, libc, bun, tier, waker } = found;
  const about = libc === "none" ? "no libc" : libc;
  const lines = [`bunix on ${system} ${arch}, ${about}, Bun ${bun} (${tier})`];
  const reason = (text: string | undefined): string => (text === undefined ? "" : ` (${text})`);
  if (libc === "none") return [...lines, `nothing works: ${found.libcFunctions.reason}`].join("\n");
  const waits = waker === null ? "nothing" : `${waker.kind}${reason(waker.reason)}`;
  lines.push(`waits with ${waits}`, "", "What this system has");
  for (const [name, value] of Object.entries(found)) {
    if (!isCapability(value)) continue;
    lines.push(`  ${value.available ? "yes" : "no "}  ${name}${reason(value.reason)}`);
  }
  lines.push("", "Tried out");
  for (const { name, result, reason: why } of results) {
    lines.push(`  ${result.padEnd(8)}  ${name}${reason(why)}`);
  }
  return lines.map(printable).join("\n");
}
