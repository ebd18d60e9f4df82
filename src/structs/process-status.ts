// /proc/PID/status and /proc/PID/stat: text ↔ values (proc(5)).

/** What a process may do, and what it does with signals. */
export interface ProcessStatus {
  /** Its pids, from the pid namespace of this /proc to its own. */
  readonly pids: readonly number[];
  /** Real, effective, saved. */
  readonly uids: readonly number[];
  readonly gids: readonly number[];
  readonly permitted: bigint;
  readonly effective: bigint;
  /** Sets of signals: bit n − 1 for signal n. */
  readonly ignored: bigint;
  readonly caught: bigint;
  /** Whether a filter stands before its system calls (seccomp); false if it is not said. */
  readonly filtered: boolean;
}

/**
 * Of the ids (real, effective, saved, file system) the first three decide who may trace a process.
 */
const IDS = 3;

const NUMBERS = /^\d{1,10}(?:\s+\d{1,10})*$/;
const SET = /^[\da-f]+$/;

/** SECCOMP_MODE_FILTER. */
const FILTERED = "2";

/** null if it is not what Linux writes. */
export function decodeStatus(text: string): ProcessStatus | null {
  const fields = new Map<string, string>();
  for (const line of text.split("\n")) {
    const end = line.indexOf(":");
    if (end > 0) fields.set(line.slice(0, end), line.slice(end + 1).trim());
  }
  const numbers = (name: string): number[] => (fields.get(name) ?? "").split(/\s+/).map(Number);
  const set = (name: string): bigint => BigInt(`0x${fields.get(name)}`);
  const are = (names: readonly string[], pattern: RegExp): boolean =>
    names.every((name) => pattern.test(fields.get(name) ?? "?"));
  if (!are(["Uid", "Gid", "NSpid"], NUMBERS)) return null;
  if (!are(["CapPrm", "CapEff", "SigIgn", "SigCgt"], SET)) return null;
  return {
    pids: numbers("NSpid"),
    uids: numbers("Uid").slice(0, IDS),
    gids: numbers("Gid").slice(0, IDS),
    permitted: set("CapPrm"),
    effective: set("CapEff"),
    ignored: set("SigIgn"),
    caught: set("SigCgt"),
    filtered: fields.get("Seccomp") === FILTERED,
  };
}

/** The start time's field, counted after the command's name, which may have blanks and brackets. */
const START_FIELD = 19;

/** When the process started, in ticks since the machine did; null if it is no such line. */
export function decodeStart(stat: string): string | null {
  const field = stat
    .slice(stat.lastIndexOf(")") + 1)
    .trim()
    .split(" ")[START_FIELD];
  return field !== undefined && /^\d+$/.test(field) ? field : null;
}
