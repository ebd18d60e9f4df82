// Checks of arguments, before anything is done with them.

import { INT_MAX } from "./limits.ts";

/** @throws TypeError, RangeError with the argument's name, unless it is an integer within bounds */
export function integer(
  name: string,
  value: unknown,
  { min = 0, max = INT_MAX }: { min?: number; max?: number } = {},
): number {
  if (typeof value !== "number") throw new TypeError(`${name} is a number, not ${typeof value}`);
  if (!Number.isInteger(value) || value < min || value > max) {
    throw new RangeError(`${name} is an integer from ${min} to ${max}, not ${value}`);
  }
  return value;
}
