// libproc(3), macOS's way to ask of processes. Of other users' processes only root is told which
// descriptors they have (bsd/kern/proc_info.c, proc_security_policy).

import { procInfo } from "../../native/libproc.ts";
import {
  decodeShortInfo,
  decodeSocketFds,
  decodeSocketInfo,
  fdInfoBytes,
  type ShortInfo,
  shortInfoBytes,
  socketInfoBytes,
  type UnixSocketFd,
} from "../structs/libproc.ts";
import { libc } from "./libc.ts";
import { Memory } from "./memory.ts";

/** True if this system has it. */
export const hasLibproc = procInfo.PROC_ALL_PIDS !== null;

const info = new Memory(Math.max(shortInfoBytes, socketInfoBytes, 1));
const PID_BYTES = 4;
/** Room for processes that start between two calls. */
const SPARE = 64;

/** A list whose length is asked for first; empty if the kernel gives none. */
function list(
  ask: (address: number | null, bytes: number) => number,
  entry: number,
): Memory | null {
  const bytes = ask(null, 0);
  if (bytes <= 0) return null;
  const room = new Memory(bytes + SPARE * entry);
  const got = ask(room.address, room.bytes.length);
  if (got <= 0) return null;
  room.bytes.fill(0, Math.min(got, room.bytes.length));
  return room;
}

/** Every process of this machine. */
export function allPids(): number[] {
  const { PROC_ALL_PIDS: all } = procInfo;
  if (all === null) return [];
  const found = list((to, bytes) => libc.proc_listpids(all, 0, to, bytes), PID_BYTES);
  return found === null ? [] : Array.from(found.words).filter((pid) => pid > 0);
}

/** Null if there is no such process, or it is a zombie. */
export function shortInfo(pid: number): ShortInfo | null {
  const { PROC_PIDT_SHORTBSDINFO: what } = procInfo;
  if (what === null) return null;
  const got = libc.proc_pidinfo(pid, what, 0, info.address, shortInfoBytes);
  return got < shortInfoBytes ? null : decodeShortInfo(info.view);
}

/** The sockets among its descriptors; none if this process may not look. */
export function socketsOf(pid: number): number[] {
  const { PROC_PIDLISTFDS: what } = procInfo;
  if (what === null) return [];
  const found = list((to, bytes) => libc.proc_pidinfo(pid, what, 0, to, bytes), fdInfoBytes);
  return found === null ? [] : decodeSocketFds(found.view, found.bytes.length);
}

/** Null for anything but a Unix socket, and if this process may not look. */
export function unixSocketOf(pid: number, fd: number): UnixSocketFd | null {
  const { PROC_PIDFDSOCKETINFO: what } = procInfo;
  if (what === null) return null;
  const got = libc.proc_pidfdinfo(pid, fd, what, info.address, socketInfoBytes);
  return got < socketInfoBytes ? null : decodeSocketInfo(info.view);
}

let path: Memory | undefined;

/** The file that it runs; null: ended, or gone from its place. */
export function executableOf(pid: number): string | null {
  const { PROC_PIDPATHINFO_MAXSIZE: most } = procInfo;
  if (most === null) return null;
  path ??= new Memory(most);
  const bytes = libc.proc_pidpath(pid, path.address, most);
  return bytes <= 0 ? null : new TextDecoder().decode(path.bytes.subarray(0, bytes));
}
