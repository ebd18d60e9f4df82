// The names of signals, their numbers here, and which of them the kernel, libc or the runtime
// handle.

import { lastSignal, signals } from "../../native/signal.ts";
import { toJson } from "../base/printable.ts";
import { realTimeRange } from "../syscalls/signal.ts";

/** The signals that have a name of their own on some system. */
export type StandardSignal = keyof typeof signals;

/**
 * A signal: its name ("SIGUSR1"), a real-time one counted from either end ("SIGRTMIN+3",
 * "SIGRTMAX-1"), or its number here. Programs under different libcs agree on a real-time signal's
 * number only if they agree on SIGRTMIN, which is 34 in glibc and 35 in musl.
 */
export type SignalName =
  | StandardSignal
  | "SIGRTMIN"
  | "SIGRTMAX"
  | `SIGRTMIN+${number}`
  | `SIGRTMAX-${number}`;

const numbers = new Map<string, number>();
const names = new Map<number, StandardSignal>();
for (const [name, number] of Object.entries(signals)) {
  if (number === null) continue;
  numbers.set(name, number);
  names.set(number, name as StandardSignal);
}

const realTime = /^SIGRT(?:MIN(?:\+(\d{1,2}))?|MAX(?:-(\d{1,2}))?)$/;

/**
 * The number of `signal` here.
 * @throws TypeError not a name or a number; RangeError no such signal on this system
 */
export function signalNumber(signal: SignalName | number): number {
  if (typeof signal === "number") {
    if (Number.isInteger(signal) && signal >= 1 && signal <= lastSignal) return signal;
    throw new RangeError(`a signal is an integer from 1 to ${lastSignal}, not ${signal}`);
  }
  if (typeof signal !== "string") {
    throw new TypeError(`a signal is a name or a number, not ${typeof signal}`);
  }
  const known = numbers.get(signal);
  if (known !== undefined) return known;
  const match = realTime.exec(signal);
  if (match === null) {
    const how = signal in signals ? "this system has no" : "there is no signal";
    throw new RangeError(`${how} ${toJson(signal)}; names are "SIGUSR1", "SIGRTMIN+3", …`);
  }
  return realTimeNumber(signal, match);
}

function realTimeNumber(signal: string, [, up, down]: RegExpExecArray): number {
  const range = realTimeRange();
  if (range === null) throw new RangeError(`this system has no real-time signals: ${signal}`);
  const { first, last } = range;
  const number = signal.startsWith("SIGRTMIN") ? first + Number(up ?? 0) : last - Number(down ?? 0);
  if (number >= first && number <= last) return number;
  throw new RangeError(`${signal}: real-time signals go from SIGRTMIN to SIGRTMIN+${last - first}`);
}

/** The name of a signal's number here: "SIGUSR1", "SIGRTMIN+3"; "SIG32" if it has none. */
export function signalName(number: number): string {
  const known = names.get(number);
  if (known !== undefined) return known;
  const range = realTimeRange();
  if (range === null || number < range.first || number > range.last) return `SIG${number}`;
  return number === range.first ? "SIGRTMIN" : `SIGRTMIN+${number - range.first}`;
}

const unstoppable = "the kernel lets no process handle it";
const fault = "it reports a fault of the running program, to which the handler would return";
const abort = "abort() ends the process whatever a handler does";

const reserved: Readonly<Partial<Record<StandardSignal, string>>> = {
  SIGKILL: unstoppable,
  SIGSTOP: unstoppable,
  SIGPWR: "JavaScriptCore stops its threads with it",
  SIGSEGV: fault,
  SIGBUS: fault,
  SIGILL: fault,
  SIGFPE: fault,
  SIGTRAP: fault,
  SIGSYS: fault,
  SIGABRT: abort,
};

/** Why the program may not handle signal `number`; null if it may. */
export function reservedSignal(number: number): string | null {
  const name = names.get(number);
  if (name !== undefined) return reserved[name] ?? null;
  const range = realTimeRange();
  if (range !== null && number >= range.first && number <= range.last) return null;
  return "libc keeps it for itself";
}

/**
 * The number of a signal that this process may handle.
 * @throws TypeError, RangeError as {@link signalNumber}; RangeError for one that belongs to the
 *   kernel, the runtime or libc, with the reason
 */
export function handledSignalNumber(signal: SignalName | number): number {
  const number = signalNumber(signal);
  const reason = reservedSignal(number);
  if (reason === null) return number;
  throw new RangeError(`${signalName(number)} cannot be watched: ${reason}`);
}
