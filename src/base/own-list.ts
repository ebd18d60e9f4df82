// Lists that callers give: read once, into an array of our own, for theirs may answer differently
// each time (a Proxy, getters, an iterator of a subclass).

/** What a list is, and how long. */
export interface ListRule {
  /** "fds is an array of descriptors" */
  readonly what: string;
  readonly max: number;
  /** "at most 253" */
  readonly rule: string;
}

/**
 * The elements of `list`, each read once.
 * @throws TypeError for what is no array, RangeError for one of more than `most` elements
 */
export function ownList<T>(list: readonly T[], { what, max, rule }: ListRule): T[] {
  if (!Array.isArray(list)) throw new TypeError(what);
  const count: unknown = list.length;
  if (typeof count !== "number" || !(count <= max)) {
    throw new RangeError(`${rule}, not ${String(count)}`);
  }
  const own: T[] = [];
  for (let i = 0; i < count; i++) own.push(list[i]!);
  return own;
}
