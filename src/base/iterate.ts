// Async iterators over what is asked for one by one.

/** An iterator over what `next` promises, until that is null. */
export function iterate<T>(next: () => Promise<T | null>): AsyncIterableIterator<T> {
  let ended = false;
  const end = { done: true, value: undefined } as const;
  return {
    async next(): Promise<IteratorResult<T>> {
      const value = ended ? null : await next();
      if (value !== null) return { done: false, value };
      ended = true;
      return end;
    },
    async return(): Promise<IteratorResult<T>> {
      ended = true;
      return end;
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}
