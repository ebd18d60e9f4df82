// What is asked of the kernel from one wake-up to the next: a nap only where it is likely to end.

import { afterAll, beforeAll, expect, test } from "bun:test";
import { errno } from "../../native/errno.ts";
import type { Watch } from "../../src/loop/poller.ts";
import { Rounds, type Source, turnFirst } from "../../src/loop/rounds.ts";
import type { Served } from "../../src/loop/watch-set.ts";
import { fakeClock } from "../support/seam.ts";

/** What `Rounds` asks of a watch: there is always a waiter, and a retry finds nothing. */
const asked = {
  hasWaiters: () => true,
  retry: () => "none",
} as const satisfies Pick<Watch, "hasWaiters" | "retry">;
const served = asked as unknown as Watch;

/** The time stands still: a turn of two milliseconds is over soon on a busy machine. */
let clock: Disposable;
beforeAll(() => {
  clock = fakeClock(() => 0);
});
afterAll(() => clock[Symbol.dispose]());

class Kernel implements Source {
  readonly awaited: boolean = true;
  readonly #batches: number[] = [];
  #nap = 0;
  #asked: string[] = [];
  #rest: () => void = () => {};
  readonly rounds: Rounds = new Rounds(this);

  /** One wake-up with these counts of events: what was asked for until the next. */
  async wake(batches: readonly number[], nap = 0): Promise<string[]> {
    this.#batches.push(...batches);
    this.#nap = nap;
    this.#asked = [];
    const rest = Promise.withResolvers<void>();
    this.#rest = rest.resolve;
    this.rounds.wake();
    await rest.promise;
    return this.#asked;
  }

  take(): number {
    this.#asked.push("take");
    return this.#batches.shift() ?? 0;
  }

  takeWithin(nanoseconds: number): number {
    expect(nanoseconds).toBeLessThanOrEqual(100_000);
    this.#asked.push("nap");
    const nap = this.#nap;
    this.#nap = 0;
    return nap;
  }

  watchOf(): Watch {
    return served;
  }

  serve(): Served {
    return "callback";
  }

  goIdle(): void {
    this.#rest();
  }
}

test("after work it naps for more, and goes back to Bun's loop when there is none", async () => {
  const kernel = new Kernel();
  expect(await kernel.wake([2])).toEqual(["take", "nap"]);
  expect(await kernel.wake([2], 2)).toEqual(["take", "nap", "nap"]);
});

test("a wake-up for nothing brings no nap", async () => {
  expect(await new Kernel().wake([0])).toEqual(["take"]);
});

test("naps in vain become rare, and one that is not brings them back", async () => {
  const kernel = new Kernel();
  let naps = 0;
  for (let i = 0; i < 8; i++) naps += (await kernel.wake([2])).filter((a) => a === "nap").length;
  expect(naps).toBe(8);
  let until = 0;
  while (!(await kernel.wake([2], 2)).includes("nap")) until++;
  expect(until).toBe(63);
  expect(await kernel.wake([2])).toEqual(["take", "nap"]);
});

test("a kernel that cannot nap so shortly is asked as before", async () => {
  expect(await new Kernel().wake([2], -errno.ENOSYS)).toEqual(["take", "nap", "take"]);
});

test("nobody who keeps the process alive: no nap", async () => {
  class Alone extends Kernel {
    override readonly awaited = false;
  }
  expect(await new Alone().wake([2])).not.toContain("nap");
});

test("promises are settled some at a time, and then their owners answer", async () => {
  const open: number[] = [];
  let settled = 0;
  class Promises extends Kernel {
    override serve(): Served {
      settled += 1;
      queueMicrotask(() => {
        open.push(settled);
        settled = 0;
      });
      return "promise";
    }
  }
  await new Promises().wake([40]);
  expect(open.filter((count) => count > 0)).toEqual([16, 16, 8]);
});

test("who asks for a turn of Bun's loop gets one before the next look, only one", async () => {
  const log: string[] = [];
  class Asking extends Kernel {
    override take(): number {
      log.push("take");
      return super.take();
    }
    override takeWithin(nanoseconds: number): number {
      log.push("nap");
      return super.takeWithin(nanoseconds);
    }
    override serve(): Served {
      turnFirst();
      setImmediate(() => {
        log.push("turn");
        turnFirst(); // it asks in every turn
      });
      return "callback";
    }
  }
  await new Asking().wake([1]);
  expect(log).toEqual(["take", "turn", "nap"]);
});
