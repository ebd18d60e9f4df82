// Descriptors that the service manager opened before this program began: sockets to listen on, and
// what an earlier run has stored with it.

import { errno } from "../../native/errno.ts";
import { system } from "../../native/platform.ts";
import { check, UnixError, UnsupportedError } from "../base/errors.ts";
import { type ListRule, ownList } from "../base/own-list.ts";
import { printable, toJson } from "../base/printable.ts";
import { describeFd, type FdDescription } from "../fd/description.ts";
import { Fd } from "../fd/fd.ts";
import { ownPidfdInode } from "../process/pidfd-inode.ts";
import { splitFdNames } from "../structs/fd-name.ts";
import { descriptorFlags, setCloseOnExec } from "../syscalls/fd.ts";
import type { InheritedFd } from "./inherited-fd.ts";
import { launchdSockets } from "./launchd.ts";

/** What {@link inheritedFds} looks for beside the variables. */
export interface InheritedFdsOptions {
  /**
   * macOS: the names under `Sockets` in the job's launchd.plist(5). launchd tells no process which
   * there are, so the program says it. Elsewhere, and if launchd did not start it, they mean
   * nothing.
   */
  readonly launchd?: readonly string[] | undefined;
}

/** Passed descriptors begin here: SD_LISTEN_FDS_START. */
const FIRST = 3;

const variables = ["LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDS", "LISTEN_FDNAMES"] as const;
type Variable = (typeof variables)[number];

let inherited: readonly InheritedFd[] | null = null;
let warned = false;

/**
 * The descriptors that a service manager passed to this process, in its order: systemd's protocol
 * (`LISTEN_FDS`), which `systemd-socket-activate` and others speak too. None if the variables name
 * another process, or are not there: they are then left alone. If they name another, this process
 * is warned once: a wrapper (`bun run start`) gets descriptors that it does not pass on.
 *
 * The first call takes the descriptors over: each is owned by its `fd` and close-on-exec, and the
 * variables go from `process.env`. (A child that Bun.spawn starts without `env` gets them all the
 * same; LISTEN_PID tells it that they are not for it.) Further calls give the same objects, taken
 * or not, so that each part of a program can look for its own by name. What is not taken stays
 * open.
 *
 * `adoptSocket(entry.fd)` makes a listener or socket of a Unix socket; its file stays when that is
 * closed, since it is the manager's. `serveOn(entry.fd, …)` starts `Bun.serve` on a listening
 * one, TCP or Unix, and `Bun.listen({ fd: entry.fd.release(), socket })` listens without HTTP.
 *
 * On macOS launchd is asked for the sockets that `launchd` names; they come last, each with that
 * name.
 *
 * @throws TypeError for names that are no texts
 * @throws UnixError ENOENT: launchd has no sockets of that name for this job
 * @throws UnixError EINVAL: the variables say what they must not (the message has it); EBADF: one
 *   of the descriptors was not passed. Nothing has changed then.
 * @throws UnsupportedError in a Worker, if there are any: they are the process's, not a thread's
 * @see sd_listen_fds(3), launch_activate_socket(3)
 */
export function inheritedFds(options: InheritedFdsOptions = {}): InheritedFd[] {
  const names = options.launchd === undefined ? [] : ownList(options.launchd, LAUNCHD_NAMES);
  for (const name of names) checkSocketName(name);
  const passed = passedFds();
  if (system !== "darwin" || names.length === 0) return passed;
  requireMainThread();
  return [...passed, ...[...new Set(names)].flatMap((name) => launchdSockets(name))];
}

const LAUNCHD_NAMES: ListRule = {
  what: "launchd is an array of names",
  max: 1024,
  rule: "a job has fewer than 1024 sockets",
};

function checkSocketName(name: string): void {
  if (typeof name === "string" && name !== "" && !name.includes("\0")) return;
  throw new TypeError(`the name of a socket of launchd is a text without NUL, not ${toJson(name)}`);
}

function passedFds(): InheritedFd[] {
  if (inherited === null) {
    if (!meantForUs()) {
      sayWhose();
      return [];
    }
    inherited = takeOver();
    for (const name of variables) delete process.env[name];
  }
  return [...inherited];
}

/**
 * {@link inheritedFds} by name: `inheritedFdsByName()["web"]?.[0]`. A list for each name, for a
 * manager may give several the same. The record has no prototype.
 *
 * @throws as inheritedFds
 */
export function inheritedFdsByName(
  options: InheritedFdsOptions = {},
): Readonly<Record<string, readonly InheritedFd[]>> {
  const named: Record<string, InheritedFd[]> = Object.create(null);
  for (const one of inheritedFds(options)) (named[one.name] ??= []).push(one);
  return named;
}

function meantForUs(): boolean {
  const [pid, fds] = [process.env["LISTEN_PID"], process.env["LISTEN_FDS"]];
  if (pid === undefined || number("LISTEN_PID", pid) !== BigInt(process.pid)) return false;
  return fds !== undefined && sameProcess();
}

/** A program under a wrapper would silently get no descriptors; the warning says why. */
function sayWhose(): void {
  const [pid, fds] = [process.env["LISTEN_PID"], process.env["LISTEN_FDS"]];
  if (warned || pid === undefined || fds === undefined || fds === "0") return;
  warned = true;
  const whose = Number(pid) === process.ppid ? `${pid}, its parent` : pid;
  const text =
    `LISTEN_FDS=${fds} is for process ${whose}, not for this one, ${process.pid}: descriptors ` +
    "that a service manager passed are not here. Have it start the program itself (ExecStart=bun " +
    "server.ts, not `bun run start` or a shell without exec), or take LISTEN_FDS out of the " +
    "environment of children.";
  const how = { type: "InheritedFdsWarning", code: "BUNIX_LISTEN_PID" };
  process.emitWarning(printable(text), how);
}

/** A pid can be used again; the inode of a pidfd is not. @see systemd.exec(5), LISTEN_PIDFDID */
function sameProcess(): boolean {
  const id = process.env["LISTEN_PIDFDID"];
  if (id === undefined) return true;
  const wanted = number("LISTEN_PIDFDID", id);
  return (ownPidfdInode() ?? wanted) === wanted;
}

function number(variable: Variable, value: string): bigint {
  if (!/^\d+$/.test(value)) throw wrong(`${variable} is ${toJson(value)}, not a number`);
  return BigInt(value);
}

function wrong(hint: string): UnixError {
  return new UnixError("inheritedFds", -errno.EINVAL, { hint });
}

/** Why this thread cannot take them over; null if it can. */
export function whyNotInherited(): string | null {
  if (Bun.isMainThread) return null;
  return "they are the process's: take them over in its main thread and pass them on";
}

function requireMainThread(): void {
  const why = whyNotInherited();
  if (why !== null) throw new UnsupportedError("inheritedFds", why);
}

function takeOver(): readonly InheritedFd[] {
  requireMainThread();
  const count = number("LISTEN_FDS", process.env["LISTEN_FDS"] ?? "");
  const names = namesFor(count);
  const descriptions = describeAll(count);
  for (const { fd } of descriptions) check(setCloseOnExec(fd, true), "fcntl");
  return descriptions.map((description, i) => ({
    name: names?.[i] ?? "unknown",
    fd: Fd.adopt(description.fd, "inheritedFds"),
    description,
  }));
}

function namesFor(count: bigint): readonly string[] | null {
  const given = process.env["LISTEN_FDNAMES"];
  if (given === undefined) return null;
  const names = splitFdNames(given);
  if (names === null) throw wrong("LISTEN_FDNAMES ends in a lone backslash");
  if (BigInt(names.length) === count) return names;
  throw wrong(`LISTEN_FDS is ${count}, but LISTEN_FDNAMES has ${names.length}: "${given}"`);
}

/**
 * 3, 4, …, all of them open. A number that the variables promise and that was not passed is free
 * when Bun starts, and the first thing that Bun opens is its epoll instance: no manager passes one
 * of those. Close-on-exec tells nothing: Bun 1.4.5 sets it on all numbers from 4 up when it starts
 * (facts: #close-on-exec-from-4-at-start).
 */
function describeAll(count: bigint): FdDescription[] {
  const found: FdDescription[] = [];
  for (let fd = FIRST; found.length < count; fd++) {
    if (descriptorFlags(fd) < 0) throw notPassed(count, fd);
    const description = describeFd(fd);
    if (description.kind === "epoll") throw notPassed(count, fd);
    found.push({ ...description, closeOnExec: true });
  }
  return found;
}

function notPassed(count: bigint, fd: number): UnixError {
  const hint = `LISTEN_FDS is ${count}, but descriptor ${fd} was not passed to this process`;
  return new UnixError("inheritedFds", -errno.EBADF, { hint });
}
