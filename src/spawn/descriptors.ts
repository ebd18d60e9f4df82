// Which of a child's numbers stand for which descriptors of ours.

import { UnixError, UnsupportedError } from "../base/errors.ts";
import { type ListRule, ownList } from "../base/own-list.ts";
import { toJson } from "../base/printable.ts";
import { closeMany } from "../fd/closing.ts";
import { type FdLike, fdNumber } from "../fd/fd.ts";
import { BaseSocket } from "../socket/endpoint.ts";
import { FD_NAME_RULE, isFdName } from "../structs/fd-name.ts";
import { descriptorFlags, duplicate } from "../syscalls/fd.ts";

/**
 * What a child gets: an array becomes its 3, 4, …; a record's keys are numbers, or names as systemd
 * gives them (LISTEN_FDNAMES), which follow each other from 3.
 */
export type SpawnFds = readonly FdLike[] | Readonly<Record<number | string, FdLike>>;

/** What one of Bun's stdio slots holds. */
export type Slot = unknown;

/** The child's numbers with our descriptors, and the names of those that have one, from 3. */
export interface FdLayout {
  readonly slots: Map<number, number>;
  readonly names: readonly string[];
  /** Those of ours that are sockets of this library, whose flags are not their owner's concern. */
  readonly sockets: readonly number[];
}

/** Standard input, output and error come before it. */
export const FIRST = 3;
/** The usual limit of descriptors is 1,024: a number above this would not be had everywhere. */
const HIGHEST = 1023;

const LIST: ListRule = {
  what: "fds is an array of descriptors, or a plain object",
  max: HIGHEST + 1 - FIRST,
  rule: `a child's descriptors are numbered up to ${HIGHEST}, so that fds has no more before them`,
};

/** @throws TypeError, RangeError: which entry is wrong, and why */
export function layOut(fds: SpawnFds = []): FdLayout {
  const slots = new Map<number, number>();
  const sockets: number[] = [];
  const put = (number: number, fd: FdLike): void => {
    const ours = fdNumber(fd);
    slots.set(number, ours);
    if (fd instanceof BaseSocket) sockets.push(ours);
  };
  if (isList(fds)) {
    for (const [i, fd] of ownList(fds, LIST).entries()) put(target(FIRST + i), fd);
    return { slots, names: [], sockets };
  }
  if (!isRecord(fds)) throw new TypeError("fds is an array of descriptors, or a plain object");
  const names: string[] = [];
  const entries = Object.entries(fds);
  for (const [key, fd] of entries) if (isNumeral(key)) put(target(Number(key)), fd);
  for (const [key, fd] of entries) {
    if (isNumeral(key)) continue;
    const number = target(FIRST + names.length);
    if (slots.has(number)) {
      throw new RangeError(
        `${toJson(key)} would be descriptor ${number}, which fds gives a number too`,
      );
    }
    put(number, fd);
    names.push(checkName(key));
  }
  return { slots, names, sockets };
}

const isList = (fds: SpawnFds): fds is readonly FdLike[] => Array.isArray(fds);

function isRecord(fds: unknown): boolean {
  if (typeof fds !== "object" || fds === null) return false;
  const prototype: unknown = Object.getPrototypeOf(fds);
  return prototype === Object.prototype || prototype === null;
}

/** Whether a key is meant as a number, be it a possible one ("7") or not ("-1", "1.5", "07"). */
const isNumeral = (key: string): boolean => key.trim() !== "" && !Number.isNaN(Number(key));

function target(number: number): number {
  if (Number.isInteger(number) && number >= 0 && number <= HIGHEST) return number;
  throw new RangeError(`a child's descriptor is from 0 to ${HIGHEST}, not ${number}`);
}

function checkName(name: string): string {
  if (isFdName(name)) return name;
  throw new RangeError(`a descriptor's name is ${FD_NAME_RULE}, not ${toJson(name)}`);
}

/** Nothing is in this slot: Bun leaves it closed from 3 on, and has a default below. */
const isFree = (slot: Slot): boolean => slot === undefined || slot === null || slot === "ignore";

/** The first number above all that are given. */
export function nextFree({ slots }: FdLayout, given: readonly Slot[]): number {
  return Math.max(FIRST, given.length, 1 + Math.max(-1, ...slots.keys()));
}

/** Bun's stdio with the descriptors in it. @throws RangeError if one is given twice */
export function withSlots(given: readonly Slot[], slots: ReadonlyMap<number, number>): Slot[] {
  const stdio = [...given];
  for (const [number, fd] of slots) {
    if (!isFree(given[number])) {
      throw new RangeError(`the child's descriptor ${number} is given twice: in fds and in stdio`);
    }
    stdio[number] = fd;
  }
  for (let i = FIRST; i < stdio.length; i++) stdio[i] ??= null;
  return stdio;
}

const GAPS_SINCE = "1.4.0";

/** Why a child's numbers must follow each other from 3; null if they need not. */
export function whyNoGaps(): string | null {
  if (Bun.semver.order(Bun.version, GAPS_SINCE) >= 0) return null;
  return `Bun before ${GAPS_SINCE} opens /dev/null in gaps: give numbers that follow each other`;
}

/** @throws UnsupportedError */
export function checkGaps(stdio: readonly Slot[]): void {
  const why = stdio.some((slot, i) => i >= FIRST && isFree(slot)) ? whyNoGaps() : null;
  if (why !== null) throw new UnsupportedError("spawnGaps", why);
}

/**
 * The descriptors as Bun is to have them. One whose number is among the child's goes as a duplicate
 * above them: Bun before 1.4.5 overwrote such a one before it was its turn, and every Bun takes a 0
 * from 3 on for "leave it as it is" (facts: #spawn-takes-0-as-it-is).
 */
export class HiddenDescriptors implements Disposable {
  readonly slots = new Map<number, number>();
  readonly #duplicates: number[] = [];

  /** @throws UnixError EBADF, EMFILE; nothing stays open then */
  constructor(slots: ReadonlyMap<number, number>, above: number) {
    for (const [number, fd] of slots) this.slots.set(number, this.#lend(fd, above, number));
  }

  #lend(fd: number, above: number, number: number): number {
    const lent = fd < above ? duplicate(fd, above) : descriptorFlags(fd);
    if (lent < 0) {
      this.close();
      const hint = `${fd}, which the child was to have as ${number}`;
      throw new UnixError("fcntl", lent, { hint });
    }
    if (fd >= above) return fd;
    this.#duplicates.push(lent);
    return lent;
  }

  close(): void {
    closeMany(this.#duplicates.splice(0));
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
