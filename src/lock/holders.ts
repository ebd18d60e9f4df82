// Who has a lock, as the kernel's list and the file itself tell.

import { readFileSync, readSync, type Stats } from "node:fs";
import { processInfo } from "../process/proc-info.ts";

/** A process that has a lock, as far as this one may see. */
export interface LockHolder {
  /** The process that took it, in this pid namespace. A child may have it from there since. */
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
 * Who has the lock of an open file, which somebody has. The kernel's list leaves out processes of
 * other pid namespaces: then the file's own word stands.
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

/** `1: FLOCK  ADVISORY  WRITE 4711 08:01:123456 0 EOF`; a waiter's line has "->" after "1:". */
const LINE = /^\d+: FLOCK +ADVISORY +(READ|WRITE) +(\d+) ([0-9a-f]+:[0-9a-f]+):(\d+) /;

/** Those that the kernel lists; null where it has no list. @see proc_locks(5) */
export function listedHolders(fd: number, { ino, mtime }: Stats): LockHolder[] | null {
  const lines = linesOf("/proc/locks");
  if (lines === null) return null;
  const [device, written] = [deviceOf(fd), writtenPid(fd)];
  const found = new Map<string, LockHolder>();
  for (const line of lines) {
    const [, kind, number, where, inode] = LINE.exec(line) ?? [];
    const pid = Number(number);
    if (Number(inode) !== ino || (device !== null && where !== device) || pid <= 0) continue;
    const shared = kind === "READ";
    const since = pid === written && !shared ? mtime : null;
    found.set(`${pid} ${kind}`, { pid, command: commandOf(pid), shared, since });
  }
  return [...found.values()];
}

/**
 * The device of a file's mount as the kernel's list has it, "08:01" in hexadecimal: fstat's is
 * another one on some file systems (btrfs, overlayfs).
 */
function deviceOf(fd: number): string | null {
  const own = linesOf(`/proc/self/fdinfo/${fd}`)?.find((line) => line.startsWith("mnt_id:"));
  const mount = own?.split(/\s+/)[1];
  if (mount === undefined) return null;
  for (const line of linesOf("/proc/self/mountinfo") ?? []) {
    const [id, , device] = line.split(" ");
    const [major, minor] = device?.split(":") ?? [];
    if (id === mount) return `${hex(major)}:${hex(minor)}`;
  }
  return null;
}

const hex = (number: string | undefined): string => Number(number).toString(16).padStart(2, "0");

function linesOf(path: string): string[] | null {
  try {
    return readFileSync(path, "utf8").split("\n");
  } catch {
    return null; // no /proc
  }
}

/** In words, for an error. */
export function nameHolders(holders: readonly LockHolder[]): string {
  if (holders.length === 0) return "another process";
  const names = holders.map(({ pid, command }) => `${pid} (${command || "unknown"})`);
  const since = holders.length === 1 ? holders[0]!.since : null;
  return `process ${names.join(", ")}${since === null ? "" : ` since ${since.toISOString()}`}`;
}
