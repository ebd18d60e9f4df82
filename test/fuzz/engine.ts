// What fuzzing is here: seeds that are right, damaged at random, against properties that must hold
// for any bytes. fast-check makes a failing input small; the corpus keeps it.

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";

/** Something that takes bytes from elsewhere. */
export interface Target {
  readonly name: string;
  /** Inputs that are right, and such as once were not. */
  readonly seeds: readonly Uint8Array[];
  /** Throws, or rejects, where a property does not hold. */
  run(bytes: Uint8Array): void | Promise<void>;
  /** How many times as long as for the others a run takes: so many fewer are made. Default 1. */
  readonly cost?: number;
}

export interface Failure {
  readonly target: string;
  readonly input: Uint8Array;
  readonly reason: string;
}

const folder = join(import.meta.dir, "corpus");
export const corpusFile = (name: string): string => join(folder, `${name}.hex`);

/** The inputs kept for a target: a line each, in hexadecimal; "#" begins a remark. */
export function corpus(name: string): Uint8Array[] {
  const file = corpusFile(name);
  if (!existsSync(file)) return [];
  const lines = readFileSync(file, "utf8").split("\n");
  const inputs = lines.map((line) => line.replace(/#.*/, "").trim());
  return inputs.filter((line) => line !== "").map(fromHex);
}

function fromHex(text: string): Uint8Array {
  if (!/^(?:[0-9a-f]{2}|-)+$/.test(text)) throw new Error(`not hexadecimal: ${text}`);
  return text === "-" ? new Uint8Array(0) : Uint8Array.from(Buffer.from(text, "hex"));
}

/** The same as a line of the corpus; "-" is an input of no bytes. */
export const toHex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex") || "-";

const MAX_BYTES = 4_096;
const MAX_EDITS = 6;

/** One thing that may happen to bytes. `at` and `from` are taken modulo their length. */
type Edit =
  | { readonly kind: "set"; readonly at: number; readonly bytes: Uint8Array }
  | { readonly kind: "insert"; readonly at: number; readonly bytes: Uint8Array }
  | { readonly kind: "cut"; readonly at: number; readonly count: number }
  | { readonly kind: "repeat"; readonly at: number; readonly count: number };

const little = (value: number): Uint8Array => {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setInt32(0, value, true);
  return bytes;
};

const edges = [0, 1, 2, 3, 4, 7, 8, 15, 16, 17, 24, 28, 64, 127, 128, 253, 254, 255, 256, 4096];
const limits = [0x7fff, 0x8000, 0xffff, 0x10000, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 8, 2 ** 32 - 1];

const piece = fc.oneof(
  fc.uint8Array({ minLength: 1, maxLength: 4 }),
  fc.constantFrom(...edges, ...limits).map(little),
  fc.constantFrom(...edges).map((value) => Uint8Array.of(value)),
  fc.constantFrom(..." \n\t\0:\\=@/-+x0189aA".split("")).map((text) => Buffer.from(text)),
  fc.string({ unit: "grapheme", maxLength: 4 }).map((text) => Buffer.from(text)),
);
const place = fc.nat(MAX_BYTES);
const count = fc.nat(64);

const edit: fc.Arbitrary<Edit> = fc.oneof(
  fc.record({ kind: fc.constant("set" as const), at: place, bytes: piece }),
  fc.record({ kind: fc.constant("insert" as const), at: place, bytes: piece }),
  fc.record({ kind: fc.constant("cut" as const), at: place, count }),
  fc.record({ kind: fc.constant("repeat" as const), at: place, count }),
);

function apply(bytes: Uint8Array, one: Edit): Uint8Array {
  const at = one.at % (bytes.length + 1);
  const [before, after] = [bytes.subarray(0, at), bytes.subarray(at)];
  switch (one.kind) {
    case "set":
      return Buffer.concat([before, one.bytes, after.subarray(one.bytes.length)]);
    case "insert":
      return Buffer.concat([before, one.bytes, after]);
    case "cut":
      return Buffer.concat([before, after.subarray(one.count)]);
    case "repeat":
      return Buffer.concat([before, after.subarray(0, one.count), after]);
  }
}

/** Bytes in memory of their own, exactly as long as they are: a read beyond them throws. */
const exact = (bytes: Uint8Array): Uint8Array => new Uint8Array(bytes.slice(0, MAX_BYTES));

function inputs(target: Target): fc.Arbitrary<Uint8Array> {
  const anything = fc.uint8Array({ maxLength: 256 });
  const seeds = [...target.seeds, ...corpus(target.name)];
  if (seeds.length === 0) return anything;
  const damaged = fc
    .tuple(fc.constantFrom(...seeds), fc.array(edit, { maxLength: MAX_EDITS }))
    .map(([seed, edits]) => exact(edits.reduce(apply, seed)));
  return fc.oneof({ weight: 1, arbitrary: anything }, { weight: 4, arbitrary: damaged });
}

/** So many inputs as the fuzzer makes them, the same for the same seed. */
export const samples = (target: Target, count: number, seed: number): Uint8Array[] =>
  fc.sample(inputs(target), { numRuns: count, seed });

/** Damage and try `runs` times. null: everything held. */
export async function fuzz(target: Target, runs: number, seed?: number): Promise<Failure | null> {
  const property = fc.asyncProperty(inputs(target), async (bytes) => target.run(exact(bytes)));
  const numRuns = Math.ceil(runs / (target.cost ?? 1));
  const found = await fc.check(property, { numRuns, ...(seed === undefined ? {} : { seed }) });
  if (!found.failed) return null;
  const [input = new Uint8Array(0)] = found.counterexample ?? [];
  return { target: target.name, input, reason: await reasonFor(target, input) };
}

async function reasonFor(target: Target, input: Uint8Array): Promise<string> {
  try {
    await target.run(exact(input));
  } catch (error) {
    return error instanceof Error ? (error.stack ?? error.message) : String(error);
  }
  return "it holds when it is tried again: the target remembers something";
}

/** Give `bytes` to the target as the fuzzer would. */
export const replay = async (target: Target, bytes: Uint8Array): Promise<void> =>
  target.run(exact(bytes));
