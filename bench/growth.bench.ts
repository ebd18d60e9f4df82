// Idle connections beside a busy one: what each costs in memory, and what they do to the round trip
// and to the work per message.

import { interleave, onOne, output, report, scaled, type Taken } from "./harness.ts";
import { bun, c, ours, type Start } from "./peers.ts";
import { Server, Stepper } from "./processes.ts";

const COUNT = 10_000;
const HUNDRED_THOUSAND = 100_000;
const MAX_CONNECTIONS = 10_000;
/** Descriptors that a process has beside its connections. */
const SPARE = 100;

const limit = Number(output(["sh", "-c", "ulimit -Hn"])) || Infinity;
const fits = (conns: number): boolean => conns + SPARE <= limit;
const max = fits(MAX_CONNECTIONS) ? MAX_CONNECTIONS : limit - SPARE;
const steps = [0, 10, 100, 1000, max, HUNDRED_THOUSAND].filter(fits);
if (!fits(HUNDRED_THOUSAND)) console.log(`(open files are limited to ${limit}: at most ${max})`);

/** What one server showed at one step. */
interface Step {
  readonly tripNs: number;
  readonly cpuNs: number;
  readonly memoryBytes: number;
}

/** Go through the steps with one server. */
async function grow(start: Start, conns: readonly number[]): Promise<Step[]> {
  await using server = new Server(start, onOne[0]);
  const count = scaled(COUNT);
  const command = [c("client"), "beside", server.path, `${count}`, ...conns.map(String)];
  await using client = new Stepper(command, onOne[1]);
  const found: Step[] = [];
  for (const _ of conns) {
    client.go();
    await client.line();
    const before = server.cpuNs;
    const { memoryBytes } = server;
    client.go();
    const tripNs = Number.parseFloat(await client.line());
    found.push({ tripNs, cpuNs: (server.cpuNs - before) / count, memoryBytes });
  }
  return found;
}

const servers: Record<string, readonly [Start, readonly number[]]> = {
  "bunix await": [ours("echo", "await"), steps],
  "bunix consume": [ours("echo", "consume"), steps],
  "Bun.listen": [bun("echo"), [0, max]],
};

const memory: Taken = {};
const beside: Record<string, Taken> = {};
const work: Record<string, Taken> = {};

/** Keep one value under `name` in `table`. */
const note = (table: Taken, name: string, value: number): unknown =>
  (table[name] ??= []).push(value);
const idleName = (conns: number): string => (conns === 0 ? "none" : `${conns}`);

function noteSteps(name: string, conns: readonly number[], found: readonly Step[]): void {
  const [trips, cpu]: [Taken, Taken] = [(beside[name] ??= {}), (work[name] ??= {})];
  for (const [i, step] of found.entries()) {
    const idle = idleName(conns[i] ?? 0);
    note(trips, `beside ${idle}`, step.tripNs);
    note(cpu, `beside ${idle}`, step.cpuNs);
    if (conns[i] !== max) continue;
    note(memory, name, (step.memoryBytes - (found[0]?.memoryBytes ?? 0)) / max);
  }
}

await interleave(
  Object.fromEntries(
    Object.entries(servers).map(([name, [start, conns]]) => {
      const run = async (): Promise<number> => {
        noteSteps(name, conns, await grow(start, conns));
        return 0;
      };
      return [name, run];
    }),
  ),
);

report({ work: `memory per idle connection, ${max} of them`, unit: "bytes" }, memory, [
  ["bunix await", "Bun.listen", 1],
  ["bunix consume", "Bun.listen", 1],
]);
for (const name of ["bunix await", "bunix consume"]) {
  const pairings = steps
    .filter((conns) => conns > 0)
    .map((conns) => [`beside ${conns}`, "beside none", 1.1] as const);
  const trip = { work: `${name}: 64-byte echo beside idle connections`, unit: "ns" } as const;
  report(trip, beside[name] ?? {}, pairings);
  const cpu = {
    work: `${name}: processor time per message beside idle connections`,
    unit: "ns",
  } as const;
  report(cpu, work[name] ?? {}, pairings);
}
