// A hundred connections that receive descriptors, each of which is asked in turn: ours in one
// thread, against the transport that Bun programs had, with a Worker for each connection.

import { type Contenders, interleave, onOne, report, scaled, type Taken } from "./harness.ts";
import { bun, c, ours, type Start } from "./peers.ts";
import { Server, Stepper, somewhere } from "./processes.ts";

const CONNS = 100;
const COUNT = 10_000;
const [programCpu, driverCpu] = onOne;

/** Median round trip in ns. The program connects, since the transports of old are clients. */
async function asked(start: Start, conns: number, threads: number[]): Promise<number> {
  const path = somewhere();
  await using driver = new Stepper([c("driver"), path, `${conns}`, `${scaled(COUNT)}`], driverCpu);
  await driver.line();
  await using program = new Server(start, programCpu, { path });
  await driver.line();
  threads.push(program.threads);
  driver.go();
  return Number.parseFloat(await driver.line());
}

const forms: Record<string, (conns: number) => Start> = {
  "bunix await": (conns) => ours("descriptors", "await", conns),
  "bunix consume": (conns) => ours("descriptors", "consume", conns),
  "a Worker each": (conns) => bun("workers", conns),
};

const [threads, base]: [Taken, Taken] = [{}, {}];
const contenders: Contenders = {};
for (const [name, start] of Object.entries(forms)) {
  const many = (threads[name] = []);
  contenders[name] = () => asked(start(CONNS), CONNS, many);
}
const taken = await interleave(contenders);
// the same with one connection, for the threads that a program has anyway
for (const [name, start] of Object.entries(forms)) {
  const one = (base[`${name}, one connection`] = []);
  await asked(start(1), 1, one);
}

const work = `64 bytes and a descriptor there and back, ${CONNS} connections in turn`;
report({ work, unit: "ns" }, taken, [
  ["bunix await", "a Worker each", 0.6],
  ["bunix consume", "a Worker each", 0.6],
]);

/** Threads that 99 more connections add; a stray thread of Bun's own may start meanwhile. */
const line = {
  work: `threads with ${CONNS} connections`,
  unit: "threads",
  as: "difference",
} as const;
const repeated = Object.entries(base).map(([name, [value = 0]]) => {
  return [name, (threads["bunix await"] ?? []).map(() => value)] as const;
});
report(line, { ...threads, ...Object.fromEntries(repeated) }, [
  ["bunix await", "bunix await, one connection", 0],
  ["bunix consume", "bunix consume, one connection", 0],
  ["a Worker each", "a Worker each, one connection"],
]);
