// One process that a manager listens to: what it has said, and what it has stored.

import { errno } from "../../native/errno.ts";
import { poll as events } from "../../native/poll.ts";
import { integer } from "../base/checks.ts";
import type { Abortable } from "../base/deadline.ts";
import { UnixError } from "../base/errors.ts";
import { MAX_TIMER_MS } from "../base/limits.ts";
import { clearTimeout, setTimeout } from "../base/timers.ts";
import type { Fd } from "../fd/fd.ts";
import type { Message } from "../socket/message.ts";
import type { Credentials } from "../structs/credentials.ts";
import { isFdName } from "../structs/fd-name.ts";
import { pollNow } from "../syscalls/fd.ts";
import { descendsFrom } from "./descent.ts";

/** How a process is listened to. */
export interface ServiceOptions {
  /**
   * Ends it when it settles: what `spawn` gives as `exited`. What it has stored stays, for
   * `takeFds`, until it is closed.
   */
  readonly exited?: Promise<unknown> | undefined;
  /**
   * Whose notifications count. "main", the default: the process's own. "all": also its
   * descendants', such as `systemd-notify` in a script, as long as they live and their parents do.
   */
  readonly access?: "main" | "all" | undefined;
  /**
   * Milliseconds between signs of life (WATCHDOG=1), from when it is ready; the child is told by
   * `environment({ watchdogMs })`. Default: none is expected.
   */
  readonly watchdogMs?: number | undefined;
  /**
   * No sign of life came in time, or the process asks to be treated so (WATCHDOG=trigger). Called
   * once: kill it, and start it again.
   */
  readonly onWatchdog?: ((service: NotifiedService) => void) | undefined;
  /** How many descriptors it may store (FDSTORE=1); those beyond are closed. Default 0. */
  readonly maxStoredFds?: number | undefined;
  /** Each message as it came, after it was acted on. */
  readonly onNotice?: ((notice: ServiceNotice) => void) | undefined;
}

/** One message of a service. */
export interface ServiceNotice {
  /** Its assignments: `{ READY: "1", STATUS: "up" }`. Without a prototype. */
  readonly variables: Readonly<Record<string, string>>;
  /** Who sent it, as the kernel says. */
  readonly credentials: Credentials;
}

/** A descriptor that a service has stored. */
export interface StoredFd {
  /** Its FDNAME; "stored" if it gave none. */
  readonly name: string;
  /** The owner from now on. */
  readonly fd: Fd;
}

interface Stored extends StoredFd {
  /** Whether it is let go when it hangs up: not with FDPOLL=0. */
  readonly polled: boolean;
}

interface Waiting {
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

const MICROSECONDS = 1000;

/** What a manager knows of one process. Made by `NotifyServer.service`. */
export class NotifiedService implements Disposable {
  /** Whose notifications count. */
  readonly access: "main" | "all";
  readonly #options: ServiceOptions;
  readonly #forget: () => void;
  #pid: number;
  #state: "starting" | "ready" | "reloading" | "stopping" = "starting";
  #status: string | null = null;
  #watchdogMs: number;
  #timer: ReturnType<typeof setTimeout> | null = null;
  #missed = false;
  #closed = false;
  #ended = false;
  #stored: Stored[] = [];
  readonly #waiting = new Set<Waiting>();

  /** @internal */
  constructor(pid: number, options: ServiceOptions, forget: () => void) {
    const { access = "main", watchdogMs, maxStoredFds, onWatchdog, onNotice } = options;
    if (access !== "main" && access !== "all") throw new RangeError('access is "main" or "all"');
    for (const [name, value] of Object.entries({ onWatchdog, onNotice })) {
      if (value !== undefined && typeof value !== "function") {
        throw new TypeError(`${name} must be a function`);
      }
    }
    if (maxStoredFds !== undefined) integer("maxStoredFds", maxStoredFds);
    this.#watchdogMs = watchdogMs === undefined ? 0 : integer("watchdogMs", watchdogMs, { min: 1 });
    this.#pid = pid;
    this.access = access;
    this.#options = options;
    this.#forget = forget;
  }

  /** The main process: the one that was named, or the descendant that it named as MAINPID. */
  get pid(): number {
    return this.#pid;
  }

  /** How far it is, in its own words. */
  get state(): "starting" | "ready" | "reloading" | "stopping" {
    return this.#state;
  }

  /** The last STATUS, one line for people. It is the process's text: escape what you print. */
  get status(): string | null {
    return this.#status;
  }

  /** True once it is not listened to any more: it has `exited`, or was closed. */
  get ended(): boolean {
    return this.#ended;
  }

  /** True once it is closed. */
  get closed(): boolean {
    return this.#closed;
  }

  /** The names of the descriptors that are stored, in their order. */
  get storedNames(): readonly string[] {
    return this.#stored.map(({ name }) => name);
  }

  /**
   * Resolves when it is ready, at once if it is.
   *
   * @throws UnixError ERR_CLOSED: it has ended before, or was closed; the signal's reason
   */
  async ready({ signal }: Abortable = {}): Promise<void> {
    signal?.throwIfAborted();
    if (this.#state === "ready") return;
    if (this.#ended) throw hasEnded();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const waiting = { resolve, reject };
    const stop = (): void => reject(signal?.reason);
    this.#waiting.add(waiting);
    signal?.addEventListener("abort", stop, { once: true });
    try {
      await promise;
    } finally {
      this.#waiting.delete(waiting);
      signal?.removeEventListener("abort", stop);
    }
  }

  /**
   * The stored descriptors, which are the caller's from now on: for the next run of the service.
   * Those that have hung up are closed and left out, unless they came with FDPOLL=0.
   */
  takeFds(): StoredFd[] {
    const stored = this.#stored;
    this.#stored = [];
    return stored.flatMap(({ name, fd, polled }) => {
      if (!polled || !hasHungUp(fd)) return [{ name, fd }];
      fd.close();
      return [];
    });
  }

  /** @internal A message of it. What is not taken of it is closed by the caller. */
  received(message: Message): void {
    const variables = variablesOf(message.text());
    if (this.#ended || variables["BARRIER"] === "1") return; // all before a barrier is done by now
    this.#store(variables, message);
    this.#setMain(variables["MAINPID"]);
    if (variables["STATUS"] !== undefined) this.#status = variables["STATUS"];
    if (variables["RELOADING"] === "1") this.#state = "reloading";
    if (variables["STOPPING"] === "1") this.#state = "stopping";
    if (variables["READY"] === "1") this.#setReady();
    this.#watch(variables);
    const { credentials } = message;
    if (credentials !== undefined) this.#options.onNotice?.({ variables, credentials });
  }

  #setReady(): void {
    this.#state = "ready";
    if (this.#timer === null) this.#expect();
    for (const { resolve } of this.#waiting) resolve();
  }

  /** A pid that is not a descendant could be a process that the manager must not touch. */
  #setMain(text: string | undefined): void {
    if (text === undefined || !/^[1-9]\d{0,8}$/.test(text)) return;
    const pid = Number(text);
    if (descendsFrom(pid, this.#pid)) this.#pid = pid;
  }

  #store(variables: Readonly<Record<string, string>>, message: Message): void {
    const { FDNAME: given, FDPOLL: poll } = variables;
    const name = given !== undefined && isFdName(given) ? given : "stored";
    if (variables["FDSTOREREMOVE"] === "1") {
      for (const one of this.#stored.filter((one) => one.name === name)) one.fd.close();
      this.#stored = this.#stored.filter((one) => one.name !== name);
      return;
    }
    if (variables["FDSTORE"] !== "1") return;
    const room = (this.#options.maxStoredFds ?? 0) - this.#stored.length;
    const [taken, rest] = split(message.takeFds(), Math.max(room, 0));
    for (const fd of rest) fd.close();
    this.#stored.push(...taken.map((fd) => ({ name, fd, polled: poll !== "0" })));
  }

  #watch(variables: Readonly<Record<string, string>>): void {
    const { WATCHDOG: sign, WATCHDOG_USEC: limit } = variables;
    if (limit !== undefined && /^\d{1,15}$/.test(limit)) {
      this.#watchdogMs = Math.min(Math.ceil(Number(limit) / MICROSECONDS), MAX_TIMER_MS);
      if (this.#state !== "starting") this.#expect();
    }
    if (sign === "trigger") this.#miss();
    else if (sign === "1" && this.#state !== "starting") this.#expect();
  }

  /** The watchdog's interval from now on. */
  #expect(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#watchdogMs === 0 || this.#missed || this.#ended) return;
    this.#timer = setTimeout(() => this.#miss(), this.#watchdogMs);
    this.#timer.unref();
  }

  #miss(): void {
    if (this.#missed || this.#ended) return;
    this.#missed = true;
    this.#options.onWatchdog?.(this);
  }

  /** @internal Stop listening to it; what it has stored stays for the next run. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#forget();
    if (this.#timer !== null) clearTimeout(this.#timer);
    for (const { reject } of this.#waiting) reject(hasEnded());
  }

  /**
   * Stop listening to it, and close what it has stored and was not taken. Does nothing the second
   * time, never throws.
   */
  close(): void {
    this.#closed = true;
    this.end();
    for (const { fd } of this.takeFds()) fd.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** The first `count`, and the rest. */
const split = <T>(list: readonly T[], count: number): [T[], T[]] => [
  list.slice(0, count),
  list.slice(count),
];

function hasEnded(): UnixError {
  const hint = "the process ended, or was listened to no more, before it was ready";
  return new UnixError("serveNotify", -errno.EBADF, { code: "ERR_CLOSED", hint });
}

function hasHungUp({ fd }: Fd): boolean {
  const revents = pollNow(fd, 0);
  return revents > 0 && (revents & (events.POLLHUP | events.POLLERR)) !== 0;
}

/** A line that is no assignment is left out, as managers do. */
function variablesOf(text: string): Record<string, string> {
  const variables: Record<string, string> = Object.create(null);
  for (const line of text.split("\n")) {
    const at = line.indexOf("=");
    if (at > 0) variables[line.slice(0, at)] = line.slice(at + 1);
  }
  return variables;
}
