// Checks of what callers give, before anything is done with it.

const INT_MAX = 2 ** 31 - 1;

/** An integer within bounds, or an error that names it. */
export function integer(
  name: string,
  value: unknown,
  { least = 0, most = INT_MAX }: { least?: number; most?: number } = {},
): number {
  if (typeof value !== "number") throw new TypeError(`${name} is a number, not ${typeof value}`);
  if (!Number.isInteger(value) || value < least || value > most) {
    throw new RangeError(`${name} is an integer from ${least} to ${most}, not ${value}`);
  }
  return value;
}
