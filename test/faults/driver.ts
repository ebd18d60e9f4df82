// Drives an operation through every fault at every step: once undisturbed, to see which calls it
// makes; then again for each call and each fault that this call may return.
//
// BUNIX_FAULTS=all tries every fault of every call; without it each call of an operation has a few.

import { afterAll, beforeAll, expect } from "bun:test";
import { readdirSync, readlinkSync } from "node:fs";
import { UnixError, UnsupportedError } from "../../src/index.ts";
import { startLoop } from "../api/tools.ts";
import { translated } from "../cases/raw.ts";
import { emulated, slower, work } from "../support/child.ts";
import { testUnless } from "../support/unless.ts";
import { faultsOf, names } from "./calls.ts";
import { standBetween } from "./files.ts";
import { Injector, type Point } from "./injector.ts";

/** Keeps something until the run is over, and has it closed then. */
export type Keep = <T extends { close(): void }>(one: T) => T;

export interface Operation<T> {
  /** What is needed first; nothing fails yet. */
  prepare?(keep: Keep): T | Promise<T>;
  /** The operation. It throws where what it got is wrong. */
  run(objects: T, keep: Keep, point: Point | null): unknown;
  /** After a failure: what was prepared works still, or is closed. Nothing fails any more. */
  after?(objects: T, keep: Keep): unknown;
  /** Once all is closed: what must be so, however it went. */
  atEnd?(objects: T, point: Point | null): unknown;
  /** Whether an error is right although it does not tell of the call that failed. */
  right?(error: unknown, point: Point): boolean;
  /** Why it cannot succeed here, if it cannot. */
  readonly lacking?: string | null;
  /** Milliseconds until it counts as hanging, and what is open as leaked. */
  readonly hangsMs?: number;
}

const HANGS_MS = 10_000 * slower;
const LIMIT_MS = 400_000;
/** Complaints about one operation; each may have taken its time. */
const ENOUGH = 8;
const LISTING_MS = 3_000 * slower;
const all = process.env["BUNIX_FAULTS"] === "all";
/** Without BUNIX_FAULTS=all: faults of a call when it is made again; the first has them all. */
const FEW = 3;
/** Loops of equal calls are tried this far. */
const MAX_FAULTS_OF_A_CALL = all ? 40 : emulated ? 2 : Math.ceil(2 * work);

/** A run is a little different each time: of the points so many may not be reached. */
const MAX_MISSED = 0.15;

/** What an emulator makes of it is its own doing. */
const noShortControl = translated();
if (noShortControl !== null) console.log(`note: the fault "few" is left out (${noShortControl})`);

const totals = { operations: 0, points: 0, missed: 0, failed: 0, survived: 0 };

const said: string[] = [];
/** Instead of Node's, which opens the standard error anew; the count of descriptors would see. */
function onWarning(message: string | Error, options?: unknown): void {
  const { code } = { code: "", ...(options as object) };
  if (code === "BUNIX_FORGOTTEN_FD") said.push(`forgotten: ${message}`);
}

/** To be called once in a file. (What is rejected and not handled fails the file by itself.) */
export function setUp(): void {
  const { emitWarning } = process;
  beforeAll(async () => {
    process.emitWarning = onWarning;
    await startLoop();
  });
  afterAll(() => {
    process.emitWarning = emitWarning;
    standBetween(null);
    const { operations, points, failed, survived, missed } = totals;
    const ends = `${failed} ended in an error, ${survived} without, ${missed} were not reached`;
    console.log(`note: ${operations} operations, ${points} faults: ${ends}`);
    expect(missed).toBeLessThanOrEqual(points * MAX_MISSED);
  });
}

/** A test of `operation` under every fault. */
export function underFaults<T>(name: string, operation: Operation<T>): void {
  const tried = async (): Promise<void> => expect(await drive(name, operation)).toEqual([]);
  testUnless(operation.lacking ?? null, name, tried, LIMIT_MS);
}

/** What was wrong, at which points. */
export async function drive<T>(name: string, operation: Operation<T>): Promise<string[]> {
  using injector = new Injector();
  standBetween(injector.files);
  const complaints: string[] = [];
  const note = (point: Point | null, wrong: readonly string[]): void => {
    const where = point === null ? "" : ` ${point.call} #${point.index} ${point.fault}`;
    complaints.push(...wrong.map((one) => `${name}${where}: ${one}`));
  };
  for (let warm = 0; warm < 2; warm++) note(null, await runOnce(injector, operation, null));
  if (complaints.length > 0) return complaints;
  totals.operations += 1;
  for (const point of pointsOf(injector.counts)) {
    totals.points += 1;
    note(point, await runOnce(injector, operation, point));
    if (!injector.reached) totals.missed += 1;
    if (complaints.length >= ENOUGH) break;
  }
  return complaints;
}

function pointsOf(counts: ReadonlyMap<string, number>): Point[] {
  const points: Point[] = [];
  for (const [call, count] of new Map(counts)) {
    const faults = faultsOf(call).filter((one) => one !== "few" || noShortControl === null);
    for (let index = 0; index < Math.min(count, MAX_FAULTS_OF_A_CALL); index++) {
      const some = all || index === 0 ? faults : rotated(faults, index * FEW).slice(0, FEW);
      points.push(...some.map((fault) => ({ call, index, fault })));
    }
  }
  return points;
}

const rotated = <T>(list: readonly T[], by: number): T[] => {
  const at = by % Math.max(list.length, 1);
  return [...list.slice(at), ...list.slice(0, at)];
};

/** One run, and what was wrong with it. */
async function runOnce<T>(
  injector: Injector,
  operation: Operation<T>,
  point: Point | null,
): Promise<string[]> {
  const wrong: string[] = [];
  const kept: { close(): void }[] = [];
  let over = false;
  const keep: Keep = (one) => {
    if (over) one.close();
    else kept.push(one);
    return one;
  };
  const before = listing(injector);
  let objects: T;
  try {
    objects = (await operation.prepare?.(keep)) as T;
  } catch (error) {
    for (const one of kept) one.close();
    throw error;
  }
  injector.start(point);
  const error = await outcome(() => operation.run(objects, keep, point), operation.hangsMs);
  if (error !== null) {
    injector.stop();
    wrong.push(...judge(error.reason, point, operation));
    const later = await outcome(() => operation.after?.(objects, keep));
    if (later !== null) wrong.push(`not usable after ${error.reason}: ${later.reason}`);
  }
  if (point !== null) totals[error === null ? "survived" : "failed"] += 1;
  for (const one of kept.reverse()) {
    const closing = await outcome(() => one.close());
    if (closing !== null) wrong.push(`close() threw ${closing.reason}`);
  }
  over = true;
  injector.stop();
  const left = await outcome(() => operation.atEnd?.(objects, point));
  if (left !== null) wrong.push(`at the end: ${describeError(left.reason)}`);
  wrong.push(...(await compare(before, injector, operation.hangsMs)));
  injector.unearth();
  wrong.push(...injector.complaints.splice(0), ...said.splice(0));
  return wrong;
}

/** What `body` threw, if it did; that it has not come to an end is an error too. */
async function outcome(
  body: () => unknown,
  hangsMs = HANGS_MS,
): Promise<{ readonly reason: unknown } | null> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error("it hangs")), hangsMs);
  });
  try {
    await Promise.race([(async () => await body())(), late]);
    return null;
  } catch (reason) {
    return { reason };
  } finally {
    clearTimeout(timer);
  }
}

/** These only say that something is not there, or not yet. */
const retried = new Set(["EINTR", "EAGAIN"]);
const missing = new Set(["ENOSYS", "ENOPROTOOPT", "EOPNOTSUPP"]);

function judge<T>(error: unknown, point: Point | null, operation: Operation<T>): string[] {
  if (point === null) return [`threw ${describeError(error)}`];
  if (operation.right?.(error, point) === true) return [];
  const { call, fault } = point;
  const wait = retried.has(fault) && !call.startsWith("SYS_"); // some are only out of something
  if (wait || !fault.startsWith("E")) return [`threw ${describeError(error)}`];
  if (error instanceof UnsupportedError && missing.has(fault)) return [];
  if (error instanceof UnixError && error.code === fault && names(error.syscall, call)) return [];
  return [`threw ${describeError(error)}`];
}

function describeError(error: unknown): string {
  if (error instanceof UnixError) return error.message;
  if (!(error instanceof Error)) return String(error);
  return `${error.name} ${error.message} ${error.stack?.split("\n").slice(1, 6).join("")}`;
}

/** Open descriptors with what they are, eventfds left out (Bun closes its duplicates later). */
function listing({ buried }: Injector): string[] {
  const open: string[] = [];
  for (const fd of readdirSync("/proc/self/fd")) {
    if (buried.has(Number(fd))) continue;
    try {
      const link = readlinkSync(`/proc/self/fd/${fd}`);
      if (!link.includes("eventfd")) open.push(`${fd} ${link}`);
    } catch {
      // the one that lists them
    }
  }
  return open;
}

/** Descriptors are as they were, at once or a little later. */
async function compare(
  before: readonly string[],
  injector: Injector,
  patienceMs = LISTING_MS,
): Promise<string[]> {
  const deadline = performance.now() + patienceMs;
  for (;;) {
    const now = listing(injector);
    const leaked = now.filter((one) => !before.includes(one)).map((one) => `leaked: ${one}`);
    const lost = before.filter((one) => !now.includes(one)).map((one) => `closed: ${one}`);
    if (leaked.length + lost.length === 0) return [];
    if (performance.now() > deadline) return [...leaked, ...lost];
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** Try until there is something: what would block is no error, and comes again. */
export function again<T>(attempt: () => T | null | undefined): T {
  for (let tries = 0; tries < 5; tries++) {
    const got = attempt();
    if (got !== null && got !== undefined) return got;
  }
  throw new Error("nothing, again and again");
}

/** @throws Error where they differ */
export function same(got: unknown, wanted: unknown): void {
  if (!Bun.deepEquals(got, wanted)) {
    throw new Error(`${JSON.stringify(got)} instead of ${JSON.stringify(wanted)}`);
  }
}
