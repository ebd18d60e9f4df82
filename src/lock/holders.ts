// The holders of a lock, as the kernel's list and the file itself tell them.

import { readSync, type Stats } from "node:fs";
import { fileLocks } from "../fd/locks.ts";
import { mountDevice } from "../fd/mount.ts";
import { processInfo } from "../process/proc-info.ts";

/** A process that has a lock, as far as this one may see. */
export interface LockHolder {
  /** The process that took it, in this pid namespace. A child of it may have inherited it since. */
  readonly pid: number;
  /** The process's name (comm, at most 15 bytes); "" if it ended meanwhile. */
  readonly command: string;
  /** Whether it lets others have a shared lock, too. */
  readonly shared: boolean;
  /** Since when, if it wrote its pid into the file as this library does; else null. */
  readonly since: Date | null;
}

/** Bytes of a lock file that are read: a pid is shorter. */
export const PID_ROOM = 32;
/** What a lock file says: nothing yet, or its holder's pid. */
export const PID = /^[1-9]\d{0,9}\n$/;

/** The beginning of an open file. @throws what node:fs throws */
export function textOf(fd: number): string {
  const room = new Uint8Array(PID_ROOM);
  return new TextDecoder().decode(room.subarray(0, readSync(fd, room, 0, PID_ROOM, 0)));
}

function textIfReadable(fd: number): string {
  try {
    return textOf(fd);
  } catch {
    return "";
  }
}

/**
 * The holders of the lock of an open file that is locked. The kernel's list leaves out processes of
 * other pid namespaces: then the pid in the file counts.
 */
export function holdersOfFile(fd: number, stats: Stats): LockHolder[] {
  const listed = listedHolders(fd, stats) ?? [];
  const pid = writtenPid(fd);
  if (listed.length > 0 || pid === null) return listed;
  return [{ pid, command: commandOf(pid), shared: false, since: stats.mtime }];
}

function writtenPid(fd: number): number | null {
  const text = textIfReadable(fd);
  return PID.test(text) ? Number.parseInt(text, 10) : null;
}

const commandOf = (pid: number): string => processInfo(pid)?.command ?? "";

/** Those that the kernel lists; null if it has no list. @see proc_locks(5) */
export function listedHolders(fd: number, { ino, mtime }: Stats): LockHolder[] | null {
  const locks = fileLocks();
  if (locks === null) return null;
  const [mount, written] = [mountDevice(fd), writtenPid(fd)];
  const found = new Map<string, LockHolder>();
  for (const { kind, shared, pid, device, inode } of locks) {
    if (kind !== "FLOCK" || pid <= 0 || inode !== String(ino)) continue;
    if (mount !== null && (device.major !== mount.major || device.minor !== mount.minor)) continue;
    const since = pid === written && !shared ? mtime : null;
    found.set(`${pid} ${shared}`, { pid, command: commandOf(pid), shared, since });
  }
  return [...found.values()];
}

/** In words, for an error. */
export function nameHolders(holders: readonly LockHolder[]): string {
  if (holders.length === 0) return "another process";
  const names = holders.map(({ pid, command }) => `${pid} (${command || "unknown"})`);
  const since = holders.length === 1 ? holders[0]!.since : null;
  return `process ${names.join(", ")}${since === null ? "" : ` since ${since.toISOString()}`}`;
}
