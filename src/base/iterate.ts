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

/** An iterator over what `next` promises, until `owner` is closed. */
export function iterateOpen<T>(
  owner: { readonly closed: boolean },
  next: () => Promise<T>,
): AsyncIterableIterator<T> {
  let ended = false;
  const end = { done: true, value: undefined } as const;
  const given = (value: T): IteratorResult<T> => ({ done: false, value });
  const failed = (error: unknown): IteratorResult<T> => {
    if (!owner.closed) throw error;
    ended = true;
    return end;
  };
  return {
    next: () => (ended ? Promise.resolve(end) : next().then(given, failed)),
    async return(): Promise<IteratorResult<T>> {
      ended = true;
      return end;
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}
