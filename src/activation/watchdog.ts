// Signs of life for a service manager that restarts what shows none: sd_watchdog_enabled(3).

import { errno } from "../../native/errno.ts";
import { callAlone, textOf } from "../base/callbacks.ts";
import { closedError, UnixError } from "../base/errors.ts";
import { MAX_TIMER_MS } from "../base/limits.ts";
import { printable, toJson } from "../base/printable.ts";
import { clearInterval, setInterval } from "../base/timers.ts";
import { deliver } from "./manager.ts";

/** How a watchdog decides, and if it reports errors. */
export interface WatchdogOptions {
  /**
   * Asked before each sign of life. If it says false, throws, or has not answered yet, none is
   * sent, and the manager will act.
   */
  readonly healthy?: (() => boolean | Promise<boolean>) | undefined;
  /**
   * Told when `healthy` throws or the manager cannot be reached. Default: a warning of the process,
   * once until it works again. What it throws is an uncaught exception.
   */
  readonly onError?: ((error: unknown) => void) | undefined;
}

const MICROSECONDS = 1000;
/** What managers write for "never": UINT64_MAX. */
const NEVER = 2n ** 64n - 1n;

/**
 * Tells the manager that the service is alive, from `start()` to `close()`. Made by
 * {@link watchdog}. It does not keep the process alive.
 */
export class Watchdog implements Disposable {
  /** The manager acts when no sign of life came for this long. */
  readonly timeoutMs: number;
  /** How often a sign of life is sent: half of that, in whole milliseconds. */
  readonly intervalMs: number;
  readonly #healthy: () => boolean | Promise<boolean>;
  readonly #onError: (error: unknown) => void;
  readonly #stop = new AbortController();
  #timer: ReturnType<typeof setInterval> | null = null;
  #beating = false;
  #warned = false;

  /** @internal */
  constructor(timeoutMs: number, { healthy = () => true, onError }: WatchdogOptions) {
    this.timeoutMs = timeoutMs;
    this.intervalMs = Math.min(Math.max(1, Math.floor(timeoutMs / 2)), MAX_TIMER_MS);
    this.#healthy = healthy;
    this.#onError = onError ?? ((error) => this.#warn(error));
  }

  /** True after `close`: no sign of life is sent any more. */
  get closed(): boolean {
    return this.#stop.signal.aborted;
  }

  /** Begin: a first sign of life now, then one every `intervalMs`. @throws UnixError ERR_CLOSED */
  start(): this {
    if (this.closed) throw closedError("watchdog");
    if (this.#timer !== null) return this;
    this.#timer = setInterval(() => void this.#beat(), this.intervalMs);
    this.#timer.unref();
    void this.#beat();
    return this;
  }

  async #beat(): Promise<void> {
    if (this.#beating) return; // `healthy` has not answered, or the manager's queue is full
    this.#beating = true;
    try {
      if (await this.#healthy()) {
        await this.#say("1");
        this.#warned = false;
      }
    } catch (error) {
      if (!this.closed) callAlone(() => this.#onError(error));
    } finally {
      this.#beating = false;
    }
  }

  #say(word: "1" | "trigger"): Promise<boolean> {
    const { signal } = this.#stop;
    return deliver({ notices: [{ text: `WATCHDOG=${word}` }], signal, referenced: false });
  }

  #warn(error: unknown): void {
    if (this.#warned) return;
    this.#warned = true;
    const text = printable(`no sign of life was sent: ${textOf(error)}`);
    process.emitWarning(text, { type: "WatchdogWarning" });
  }

  /**
   * A sign of life now, without asking `healthy`; false if no manager wants to know.
   * @throws UnixError ERR_CLOSED, and as {@link notify}
   */
  ping(): Promise<boolean> {
    return this.closed ? Promise.reject(closedError("watchdog")) : this.#say("1");
  }

  /** Have the manager act at once, as if no sign of life had come. @throws as `ping` */
  trigger(): Promise<boolean> {
    return this.closed ? Promise.reject(closedError("watchdog")) : this.#say("trigger");
  }

  /** Stop. A manager that hears nothing more will act. Never throws, once is enough. */
  close(): void {
    if (this.closed) return;
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#stop.abort(closedError("watchdog"));
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/**
 * The watchdog that the manager of this process keeps (`WATCHDOG_USEC`, systemd: `WatchdogSec=`),
 * or null if it keeps none, or keeps it for another process: `watchdog()?.start()`. The variables
 * stay as they are.
 *
 * Start it in the thread whose life counts: if that is stuck, no timer runs, no sign is sent.
 *
 * @throws TypeError; UnixError EINVAL: the variables are no numbers
 * @see sd_watchdog_enabled(3)
 */
export function watchdog(options: WatchdogOptions = {}): Watchdog | null {
  for (const callback of [options.healthy, options.onError]) {
    if (callback !== undefined && typeof callback !== "function") {
      throw new TypeError(`healthy and onError are functions, not ${typeof callback}`);
    }
  }
  const timeout = number("WATCHDOG_USEC");
  if (timeout === null) return null;
  if (timeout === 0n || timeout >= NEVER) throw wrong("WATCHDOG_USEC", "a time");
  const pid = number("WATCHDOG_PID");
  if (pid !== null && pid !== BigInt(process.pid)) return null;
  return new Watchdog(Number(timeout) / MICROSECONDS, options);
}

function number(variable: string): bigint | null {
  const value = process.env[variable];
  if (value === undefined) return null;
  if (!/^\d+$/.test(value)) throw wrong(variable, "a number");
  return BigInt(value);
}

function wrong(variable: string, what: string): UnixError {
  const hint = `${variable} is ${toJson(process.env[variable])}, not ${what}`;
  return new UnixError("watchdog", -errno.EINVAL, { hint });
}
