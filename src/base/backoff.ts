// Pauses between tries, each twice as long as the one before.

/** Pauses of `first`, 2 × `first`, … up to `max` milliseconds. */
export class Backoff {
  readonly #first: number;
  readonly #max: number;
  #next: number;

  constructor({ first, max }: { readonly first: number; readonly max: number }) {
    this.#first = first;
    this.#max = max;
    this.#next = first;
  }

  /** How long to wait now, in milliseconds; not longer than `left`, if that is not negative. */
  next(left = -1): number {
    const pause = this.#next;
    this.#next = Math.min(2 * pause, this.#max);
    return left < 0 ? pause : Math.min(pause, left);
  }

  /** Something worked: begin with the shortest again. */
  reset(): void {
    this.#next = this.#first;
  }
}
