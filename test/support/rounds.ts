// How much of something a test does: as much as this machine gets done in some time.

import { emulated, work } from "./child.ts";

export interface Amount {
  /** So many rounds in any case: what the test says holds only from there on. */
  readonly atLeast: number;
  /** No more than this. Default: no end but the time's. */
  readonly max?: number;
  /** Wall time after which no further round begins; times BUNIX_WORK. */
  readonly seconds: number;
  /** What chance has to bring: until then it goes on, up to `most`, whatever the time. */
  readonly enough?: () => boolean;
}

/**
 * Run `round` until the time is spent, or until it returns false; how many rounds there were. A
 * busy machine does fewer of them and takes as long. Where everything is emulated, a tenth of the
 * least will do.
 */
export async function rounds(amount: Amount, round: (index: number) => unknown): Promise<number> {
  const pace = pacer(amount);
  let done = 0;
  while (pace(done)) if ((await round(done++)) === false) break;
  return done;
}

/** The same for a loop that may not wait. */
export function roundsSync(amount: Amount, round: (index: number) => unknown): number {
  const pace = pacer(amount);
  let done = 0;
  while (pace(done)) if (round(done++) === false) break;
  return done;
}

/** Whether one more is to be done, after so many. */
function pacer({ atLeast, max = Number.POSITIVE_INFINITY, seconds, enough = () => true }: Amount) {
  const min = emulated ? Math.ceil(atLeast / 10) : atLeast;
  const end = performance.now() + seconds * work * 1_000;
  return (done: number): boolean =>
    done < max && (done < min || performance.now() < end || !enough());
}
