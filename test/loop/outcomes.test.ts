// Whatever becomes of the calls on one descriptor, and whenever Bun's loop had its turn between
// them: their outcomes come in the order of the calls, errors and the end included.

import { expect, test } from "bun:test";
import fc from "fast-check";
import { socketPair } from "../../src/index.ts";
import { Again } from "../../src/loop/again.ts";
import { attempt } from "../../src/loop/attempt.ts";
import { Consumer } from "../../src/loop/consume.ts";
import { behindGate, settled } from "../../src/loop/gate.ts";
import { Watch } from "../../src/loop/poller.ts";
import { fakeClock } from "../support/seam.ts";

/** More than are answered before the clock is looked at, and longer than a turn may be. */
const AT_ONCE = 150;
const LONG_MS = 1000;

/** From now on, until Bun's loop has had its turn, what is known has to wait. */
function shutGate(): void {
  using _ = fakeClock((real) => real + LONG_MS);
  for (let i = 0; i < AT_ONCE; i++) void settled(i);
  expect(behindGate(() => {})).toBe(true);
}

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

type Step =
  | { readonly kind: "call" | "again"; readonly blocks: number; readonly fails: boolean }
  | { readonly kind: "consume"; readonly values: number; readonly blocks: number }
  | { readonly kind: "aborted" | "kick" | "gate" | "turn" | "close" };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constantFrom("call" as const, "again" as const),
      blocks: fc.nat(2),
      fails: fc.boolean(),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("consume" as const),
      values: fc.nat(3),
      blocks: fc.nat(2),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constantFrom("aborted" as const, "kick" as const, "gate" as const, "turn" as const),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("close" as const) }) },
);

/** One descriptor and what has been asked of it. */
class Calls implements Disposable {
  readonly #pair = socketPair("stream");
  readonly watch = Watch.of(this.#pair[0].fd, true);
  readonly all: Promise<void>[] = [];
  readonly told: string[] = [];
  /** Those given up before they began: told at once, but not before what was known before them. */
  readonly givenUp = new Set<number>();
  readonly overtaken: string[] = [];
  readonly #known = new Set<number>();
  #closed = false;
  /** What {@link again} tries for whoever waits through it. */
  #once: () => number | undefined = () => undefined;
  readonly #again = new Again({ tryOnce: () => this.#once() });

  #note(promise: Promise<unknown>, value: string, error: string): void {
    const number = this.all.length;
    const before = [...this.#known];
    const tell = (what: string): void => {
      this.told.push(`${number} ${what}`);
      for (const one of before) {
        if (!this.told.some((line) => line.startsWith(`${one} `))) {
          this.overtaken.push(`${one} by ${number}`);
        }
      }
    };
    this.all.push(
      promise.then(
        () => tell(value),
        () => tell(error),
      ),
    );
  }

  call({ blocks, fails }: { blocks: number; fails: boolean }, signal?: AbortSignal): void {
    if (this.#closed) return;
    if (signal !== undefined) this.givenUp.add(this.all.length);
    const tryOnce = this.#trying(blocks, fails);
    const wait = { watch: this.watch, direction: "read", signal } as const;
    this.#note(attempt(wait, { tryOnce }), "value", "error");
  }

  /** The same through the one object for all such calls, where nobody waits through it. */
  again({ blocks, fails }: { blocks: number; fails: boolean }): void {
    if (this.#closed) return;
    const before = this.#once;
    this.#once = this.#trying(blocks, fails);
    const promise = this.#again.once(this.watch);
    if (promise !== null) this.#note(promise, "value", "error");
    else {
      this.#once = before;
      this.call({ blocks, fails });
    }
  }

  #trying(blocks: number, fails: boolean): () => number | undefined {
    let left = blocks;
    const number = this.all.length;
    return () => {
      if (left-- > 0) return undefined;
      this.#known.add(number);
      if (fails) throw new Error("on purpose");
      return 1;
    };
  }

  consume({ values, blocks }: { values: number; blocks: number }): void {
    if (this.#closed) return;
    let [left, wait] = [values, blocks];
    const number = this.all.length;
    const tryOnce = (): number | null | undefined => {
      if (wait-- > 0) return undefined;
      return left-- > 0 ? 1 : null;
    };
    const told = (): unknown => this.told.push(`${number} consumed`);
    const consumer = new Consumer(this.watch, { tryOnce }, told);
    this.#note(consumer.start(undefined), "end", "error");
  }

  close(): void {
    this.#closed = true;
    this.watch.close(new Error("closed"));
  }

  async take(next: Step): Promise<void> {
    if (next.kind === "call") this.call(next);
    else if (next.kind === "again") this.again(next);
    else if (next.kind === "consume") this.consume(next);
    else if (next.kind === "aborted") this.call({ blocks: 0, fails: false }, AbortSignal.abort());
    else if (next.kind === "kick") this.watch.retry("read");
    else if (next.kind === "gate") shutGate();
    else if (next.kind === "turn") await nextTurn();
    else this.close();
  }

  /** Until all have been told. */
  async end(): Promise<void> {
    while (this.watch.hasWaiters("read")) {
      this.watch.retry("read");
      await nextTurn();
    }
    await Promise.all(this.all);
  }

  [Symbol.dispose](): void {
    this.close();
    for (const one of this.#pair) one.close();
  }
}

test("of random calls on one descriptor", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 2, maxLength: 20 }), async (steps) => {
      using calls = new Calls();
      for (const one of steps) await calls.take(one);
      await calls.end();
      const numbers = calls.told.map((line) => Number(line.split(" ")[0]));
      const inOrder = numbers.filter((number) => !calls.givenUp.has(number));
      expect(inOrder).toEqual(inOrder.toSorted((a, b) => a - b));
      expect(calls.overtaken).toEqual([]);
      expect(new Set(numbers).size).toBe(calls.all.length);
    }),
    { numRuns: 300 },
  );
});

/** What a real socket tells, in its order. */
class Told {
  readonly lines: string[] = [];
  readonly #all: Promise<unknown>[] = [];

  note(name: string, promise: Promise<unknown>): void {
    const value = (what: unknown): unknown =>
      this.lines.push(`${name} ${what === null ? "end" : "value"}`);
    const error = (what: { code?: string }): unknown => this.lines.push(`${name} ${what.code}`);
    this.#all.push(promise.then(value, error));
  }

  async end(): Promise<string[]> {
    await Promise.all(this.#all);
    return this.lines;
  }
}

test("of a real socket: values, a reset, the end, closed", async () => {
  const [near, far] = socketPair("seqpacket");
  far.sendSync("one");
  near.sendSync("never read");
  far.close(); // what it sent, then that it has not read ours, then the end
  shutGate();
  const told = new Told();
  for (const name of ["a", "b", "c"]) told.note(name, near.receive());
  told.note("d", near.send("x"));
  told.note("e", near.receive());
  near.close();
  told.note("f", near.receive());
  told.note("g", near.send("x"));
  const closed = ["f ERR_CLOSED", "g ERR_CLOSED"];
  expect(await told.end()).toEqual([
    "a value",
    "b ECONNRESET",
    "c end",
    "d EPIPE",
    "e end",
    ...closed,
  ]);
});

test("of a real socket: a handler after receives sees what comes after theirs", async () => {
  const [near, far] = socketPair("seqpacket");
  const seen: string[] = [];
  for (const text of ["one", "two", "three", "four"]) far.sendSync(text);
  far.close();
  shutGate();
  const note = (text: string): unknown => seen.push(text);
  void near.receive().then((message) => note(`receive ${message?.text()}`));
  void near.receive().then((message) => note(`receive ${message?.text()}`));
  await near.consume((message) => note(`consume ${message.text()}`));
  near.close();
  expect(seen).toEqual(["receive one", "receive two", "consume three", "consume four"]);
});

test("of a real socket: receives of every kind, one given up, and closed", async () => {
  const [near, far] = socketPair("seqpacket");
  const told = new Told();
  const given = new AbortController();
  told.note("a", near.receive());
  told.note("b", near.receive());
  const up = near.receive({ signal: given.signal });
  const givenUp = up.catch((reason: unknown) => reason);
  told.note("c", near.receive());
  given.abort("no longer");
  expect(await givenUp).toBe("no longer");
  far.sendSync("one");
  far.sendSync("two");
  const first = near.receive();
  far.sendSync("three");
  far.sendSync("four");
  expect((await first)?.text()).toBe("four");
  told.note("d", near.receive()); // through what served "a"
  told.note("e", near.receive());
  near.close();
  const values = ["a", "b", "c"].map((name) => `${name} value`);
  expect(await told.end()).toEqual([...values, "d ERR_CLOSED", "e ERR_CLOSED"]);
  far.close();
});
