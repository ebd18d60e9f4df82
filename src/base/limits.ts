// Bounds that several features share.

/** Bytes that may wait in this process to be sent, unless the caller says otherwise. */
export const MAX_QUEUED_BYTES = 64 * 1024 * 1024;

/** The bounds of C's int. */
export const INT_MAX = 2 ** 31 - 1;
export const INT_MIN = -(2 ** 31);

/** The longest that a timer can be set to, in milliseconds: some 25 days. */
export const MAX_TIMER_MS = INT_MAX;

/** What chmod(2) can set: the permissions, and the set-uid, set-gid and sticky bits. */
export const MODE_BITS = 0o7777;
