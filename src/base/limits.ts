// Bounds that several features share.

/** Bytes that may wait in this process to be sent, unless the caller says otherwise. */
export const MAX_QUEUED_BYTES = 64 * 1024 * 1024;

/** What chmod(2) can set: the permissions, and the set-uid, set-gid and sticky bits. */
export const MODE_BITS = 0o7777;
