// What a service says to its manager, as the lines of sd_notify(3).

import { errno } from "../../native/errno.ts";
import { integer } from "../base/checks.ts";
import { closedError, UnixError } from "../base/errors.ts";
import { toJson } from "../base/printable.ts";
import { ProcessHandle } from "../process/handle.ts";
import { pidfdInode } from "../process/pidfd-inode.ts";
import { FD_NAME_RULE, isStorableFdName } from "../structs/fd-name.ts";
import { monotonicNanoseconds } from "../syscalls/clock.ts";

/** The state of a service. What is left out, or false, is not said. @see sd_notify(3) */
export interface NotifyState {
  /** Start-up, or the reload that `reloading` announced, is finished. */
  readonly ready?: boolean | undefined;
  /** A reload begins; `ready` ends it. The time that managers want with it is added. */
  readonly reloading?: boolean | undefined;
  /** The service is shutting down. */
  readonly stopping?: boolean | undefined;
  /** One line for people to read: "66 % of the files are checked". */
  readonly status?: string | undefined;
  /**
   * The service's main process, if it is not the one that was started. A handle also tells the
   * manager which process of that pid is meant (`MAINPIDFDID`, Linux 6.9).
   */
  readonly mainPid?: number | ProcessHandle | undefined;
  /** What made it fail: a positive errno. */
  readonly errno?: number | undefined;
  /** What made it fail: the name of a D-Bus error. */
  readonly busError?: string | undefined;
  /** What made it fail: the name of a Varlink error. */
  readonly varlinkError?: string | undefined;
  /** 0 to 255. */
  readonly exitStatus?: number | undefined;
  /** True: it is alive, which {@link watchdog} says for you. "trigger": act as if it were not. */
  readonly watchdog?: boolean | "trigger" | undefined;
  /** From now on expect a sign of life within this many milliseconds. */
  readonly watchdogTimeoutMs?: number | undefined;
  /**
   * Starting, running or stopping takes longer: expect the next message within this many
   * milliseconds.
   */
  readonly extendTimeoutMs?: number | undefined;
  /** Whose notifications the manager takes from now on. */
  readonly notifyAccess?: "none" | "main" | "exec" | "all" | undefined;
  /** Forget how often the service was restarted. */
  readonly restartReset?: boolean | undefined;
  /** Further assignments: names of capital letters, digits and "_"; yours begin with "X_". */
  readonly variables?: Readonly<Record<string, string | number>> | undefined;
}

/** The bytes of a message that managers read; they ignore longer ones (NOTIFY_BUFFER_MAX). */
const MAX_BYTES = 4096;
const MICROSECONDS = 1000;
const NANOSECONDS = 1000n;
const MAX_EXIT_STATUS = 255;
const MAX_MS = Number.MAX_SAFE_INTEGER / MICROSECONDS;
const accesses: readonly unknown[] = ["none", "main", "exec", "all"];

/** The assignments, one a line; "" if there are none. @throws TypeError, RangeError */
export function encodeState(state: NotifyState): string {
  const lines = [
    flag("READY", "ready", state.ready),
    ...reloading(state.reloading),
    flag("STOPPING", "stopping", state.stopping),
    text("STATUS", "status", state.status),
    ...mainProcess(state.mainPid),
    given("ERRNO", state.errno, (value) => integer("errno", value, { min: 1 })),
    text("BUSERROR", "busError", state.busError),
    text("VARLINKERROR", "varlinkError", state.varlinkError),
    given("EXIT_STATUS", state.exitStatus, (value) =>
      integer("exitStatus", value, { max: MAX_EXIT_STATUS }),
    ),
    state.watchdog === "trigger"
      ? "WATCHDOG=trigger"
      : flag("WATCHDOG", "watchdog", state.watchdog),
    microseconds("WATCHDOG_USEC", "watchdogTimeoutMs", state.watchdogTimeoutMs),
    microseconds("EXTEND_TIMEOUT_USEC", "extendTimeoutMs", state.extendTimeoutMs),
    given("NOTIFYACCESS", state.notifyAccess, access),
    flag("RESTART_RESET", "restartReset", state.restartReset),
    ...Object.entries(state.variables ?? {}).map(variable),
  ];
  const message = lines.filter((line) => line !== null).join("\n");
  if (Buffer.byteLength(message) <= MAX_BYTES) return message;
  throw new RangeError(`the manager ignores a state of more than ${MAX_BYTES} bytes`);
}

const given = <T>(
  name: string,
  value: T | undefined,
  convert: (value: T) => string | number,
): string | null => (value === undefined ? null : `${name}=${convert(value)}`);

function flag(name: string, field: string, value: unknown): string | null {
  if (value === undefined || value === false) return null;
  if (value === true) return `${name}=1`;
  throw new TypeError(`${field} is true or false, not ${toJson(value)}`);
}

const text = (name: string, field: string, value: unknown): string | null =>
  given(name, value, () => oneLine(field, value));

/** A line break in a value would begin another assignment. */
function oneLine(field: string, value: unknown): string {
  if (typeof value !== "string") throw new TypeError(`${field} is a string, not ${typeof value}`);
  if (!/[\n\r\0]/.test(value)) return value;
  throw new RangeError(`${field} is one line, without NUL: ${toJson(value)}`);
}

function access(value: unknown): string {
  if (accesses.includes(value)) return String(value);
  throw new RangeError(`notifyAccess is one of ${accesses.join(", ")}`);
}

function microseconds(name: string, field: string, value: number | undefined): string | null {
  return given(name, value, (ms) => {
    if (typeof ms !== "number") throw new TypeError(`${field} is a number, not ${typeof ms}`);
    if (!(ms > 0 && ms <= MAX_MS)) throw new RangeError(`${field} is above 0, not ${ms}`);
    return Math.ceil(ms * MICROSECONDS);
  });
}

function reloading(value: unknown): (string | null)[] {
  const line = flag("RELOADING", "reloading", value);
  return line === null ? [] : [line, `MONOTONIC_USEC=${monotonicNanoseconds() / NANOSECONDS}`];
}

function mainProcess(main: NotifyState["mainPid"]): (string | null)[] {
  if (!(main instanceof ProcessHandle)) {
    return [given("MAINPID", main, (pid) => integer("mainPid", pid, { min: 1 }))];
  }
  if (main.closed) throw closedError("notify");
  if (main.pid === null) {
    throw new UnixError("notify", -errno.ESRCH, { hint: "mainPid has no pid here" });
  }
  const id = pidfdInode(main.fd);
  return [`MAINPID=${main.pid}`, id === null ? null : `MAINPIDFDID=${id}`];
}

function variable([name, value]: [string, unknown]): string {
  if (!/^[A-Z_][A-Z0-9_]*$/.test(name)) {
    throw new RangeError(`a variable's name is like X_NAME, not ${toJson(name)}`);
  }
  return `${name}=${oneLine(name, typeof value === "number" ? String(value) : value)}`;
}

/**
 * The name of a stored descriptor. Managers ignore one that breaks the rule; a backslash they take,
 * and it does not come back.
 * @throws TypeError, RangeError
 */
export function checkFdName(name: unknown): string {
  if (typeof name !== "string") throw new TypeError(`an fdName is a string, not ${typeof name}`);
  if (isStorableFdName(name)) return name;
  const rule = `${FD_NAME_RULE} and "\\"`;
  throw new RangeError(`an fdName is ${rule}, not ${toJson(name)}`);
}
