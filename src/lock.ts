// Locks on files: one instance only, one writer only.

export { FileLock } from "./lock/file-lock.ts";
export type { LockHolder } from "./lock/holders.ts";
export {
  type LockOptions,
  type LockWaitOptions,
  lockFile,
  lockFileSync,
  lockHolders,
  tryLockFile,
} from "./lock/lock-file.ts";
