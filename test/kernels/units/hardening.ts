// Each property of the guide's table, one by one: what `bunix doctor` finds in a service that has
// it, next to what it finds in a plain one.

import { expect, setDefaultTimeout } from "bun:test";
import { join } from "node:path";
import { root, run } from "../../support/child.ts";
import { testUnless } from "../../support/unless.ts";
import { EVERYTHING, type Hardening, hardenings } from "../hardening.ts";
import { LIMIT_MS, whyNot } from "../systemd.ts";

setDefaultTimeout(LIMIT_MS);

interface Capability {
  readonly available: boolean;
  readonly reason?: string;
}

interface Findings {
  readonly capabilities: Readonly<Record<string, unknown>> & {
    readonly waker: { readonly kind: string } | null;
  };
  readonly checks: readonly { readonly name: string; result: string; reason?: string }[];
  readonly ok: boolean;
}

const isCapability = (value: unknown): value is Capability =>
  typeof value === "object" && value !== null && "available" in value;

const DOCTOR = [process.execPath, join(root, "src/cli/main.ts"), "doctor", "--json"];

interface Attempt {
  readonly found: Findings | null;
  /** What only a machine this slow says. */
  readonly late: boolean;
}

async function attempt(properties: readonly string[]): Promise<Attempt> {
  const options = properties.flatMap((property) => ["-p", property]);
  const service = ["systemd-run", "--quiet", "--wait", "--pipe", "-p", "LimitCORE=0", ...options];
  const { stdout, stderr } = await run([...service, ...DOCTOR], { timeoutMs: LIMIT_MS });
  if (!stdout.trimStart().startsWith("{")) {
    console.log(`note: ${properties.join(" ")}: ${stderr.trim().split("\n").at(-1)}`);
    return { found: null, late: stderr.includes("Connection timed out") };
  }
  const found: Findings = JSON.parse(stdout);
  const late = found.checks.some(({ reason = "" }) => reason.startsWith("not done after"));
  return { found, late };
}

/** Have the doctor look around in a service; null: it did not come to its end. */
async function findings(properties: readonly string[]): Promise<Findings | null> {
  const end = performance.now() + LIMIT_MS / 2; // a test's own limit leaves time for one more
  for (;;) {
    const { found, late } = await attempt(properties);
    if (!late || performance.now() > end) return found;
  }
}

/** Entries that are not there, all of them with a reason. */
function lacking({ capabilities }: Findings): string[] {
  return Object.entries(capabilities).flatMap(([name, entry]) => {
    if (!isCapability(entry) || entry.available) return [];
    expect(entry.reason ?? "", name).not.toBe("");
    return [name];
  });
}

/** So many services at once. */
const LANES = 2;
const lanes: Promise<unknown>[] = Array.from({ length: LANES }, () => Promise.resolve());

/** Services take their time: they run beside each other, and tests wait for theirs. */
function inLane(i: number, properties: readonly string[]): Promise<Findings | null> {
  const found = lanes[i % LANES]!.then(() => findings(properties));
  lanes[i % LANES] = found.catch(() => {});
  return found;
}

const plain = whyNot === null ? inLane(0, []) : Promise.resolve(null);
const each = hardenings.map(({ properties }, i) =>
  whyNot === null ? inLane(i + 1, properties) : Promise.resolve(null),
);

/** What this kernel and this Bun have where nothing is restricted. */
async function unrestricted(): Promise<Findings> {
  const found = await plain;
  if (found === null) throw new Error("the doctor says nothing in a plain service");
  expect(found.checks.filter(({ result }) => result === "fails")).toEqual([]);
  return found;
}

async function asTheGuideSays(
  { lost = [], waker, deadly }: Hardening,
  finding: Promise<Findings | null>,
): Promise<void> {
  const usual = await unrestricted();
  const found = await finding;
  if (deadly === true) return expect(found).toBeNull();
  if (found === null) throw new Error("it did not come to its end");
  const before = new Set(lacking(usual));
  const gone = lacking(found).filter((name) => !before.has(name));
  if (lost === EVERYTHING) {
    const all = Object.values(found.capabilities).filter(isCapability);
    expect(all.filter(({ available }) => available)).toEqual([]);
    expect(found.ok).toBe(false);
  } else {
    expect(gone.sort()).toEqual([...lost].filter((name) => !before.has(name)).sort());
    expect(found.capabilities.waker?.kind).toBe(waker ?? usual.capabilities.waker?.kind);
  }
  for (const { name, result, reason = "" } of found.checks) {
    expect([name, result, reason]).not.toEqual([name, "fails", reason]);
    if (result === "left out") expect(reason, name).not.toBe("");
  }
}

for (const [i, hardening] of hardenings.entries()) {
  testUnless(whyNot, hardening.properties.join(" "), () => asTheGuideSays(hardening, each[i]!));
}
