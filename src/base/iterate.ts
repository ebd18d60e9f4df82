// Async iterators over values that are requested one by one.

type Result<T> = IteratorResult<T, undefined>;

/** An iterator over what `stepOf` makes; each step may call `end` for its result. */
function iterator<T>(
  stepOf: (end: () => Result<T>) => () => Promise<Result<T>>,
): AsyncIterableIterator<T> {
  let ended = false;
  const last = { done: true, value: undefined } as const;
  const end = (): Result<T> => {
    ended = true;
    return last;
  };
  const step = stepOf(end);
  return {
    next: () => (ended ? Promise.resolve(last) : step()),
    async return(): Promise<Result<T>> {
      return end();
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

/** An iterator over what `next` promises, until that is null. */
export function iterate<T>(next: () => Promise<T | null>): AsyncIterableIterator<T> {
  return iterator<T>((end) => async () => {
    const value = await next();
    return value === null ? end() : { done: false, value };
  });
}

/** An iterator over what `next` promises, until `owner` is closed. */
export function iterateOpen<T>(
  owner: { readonly closed: boolean },
  next: () => Promise<T>,
): AsyncIterableIterator<T> {
  return iterator<T>((end) => {
    const given = (value: T): Result<T> => ({ done: false, value });
    const failed = (error: unknown): Result<T> => {
      if (!owner.closed) throw error;
      return end();
    };
    return () => next().then(given, failed);
  });
}
