// search.h: trees of tsearch(3).

/**
 * A node as glibc and musl lay it out and tdestroy walks it (facts: #nodes-of-tsearch): three
 * pointers, in no header. Shown by test/facts/memory; `bytes` is what malloc(3) is asked for.
 */
export const treeNode = { bytes: 32, key: 0, left: 8, right: 16 } as const;
