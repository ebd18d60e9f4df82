// Servers of Bun on a listener with rules. This library accepts, and asks the rules. For each
// client that is admitted it connects to the private socket where Bun listens, and puts the
// client's connection in the place of the stand-in that Bun accepts there. From then on there is
// one connection, and Bun owns it.

import { errno } from "../../native/errno.ts";
import { poll as events } from "../../native/poll.ts";
import { socket as c } from "../../native/socket.ts";
import { Backoff } from "../base/backoff.ts";
import { UnixError } from "../base/errors.ts";
import { now, setImmediate, setTimeout } from "../base/timers.ts";
import type { Fd } from "../fd/fd.ts";
import { inodeOf } from "../fd/inode.ts";
import { holdsMore } from "../fd/unread.ts";
import { Acceptor } from "../listener/acceptor.ts";
import { Consumer } from "../loop/consume.ts";
import { LazyWatch } from "../loop/lazy-watch.ts";
import type { Rules } from "../peer/admission.ts";
import { nameAtOtherEnd } from "../peer/stand-ins.ts";
import { applySettings, type Settings } from "../socket/options.ts";
import { close, poll } from "../syscalls/fd.ts";
import { shutdown } from "../syscalls/socket.ts";
import { EpollView, exchange, isCurrent, isStill, type Registration } from "./epoll-entry.ts";
import { pathOf } from "./private-socket.ts";
import { StandIn } from "./stand-in.ts";

export interface RulesAcceptorOptions {
  /** The listening socket that clients connect to, owned. */
  readonly listening: Fd;
  /** The descriptor that leads to the private socket, owned. */
  readonly pathFd: Fd;
  /** Bun's registration of that socket. */
  readonly entry: Registration;
  readonly rules: Rules;
  /** Options of the accepted sockets. */
  readonly settings: Settings;
  /** The address, as text for warnings. */
  readonly where: string;
}

/** Admitted clients at a time that Bun does not have yet. */
const MAX_STAND_INS = 64;
/** Bun accepts in its next turn or two; if it is out of descriptors it takes longer. */
const MAX_EAGER_TURNS = 16;
const PAUSE_MS = 5;
const ROOM_PAUSES = { first: 5, max: 100 } as const;
const MAX_WAIT_MS = 5_000;

/** Accepts from a listener by its rules, for a server of Bun. */
export class RulesAcceptor {
  readonly #options: RulesAcceptorOptions;
  readonly #watch = new LazyWatch();
  readonly #acceptor: Acceptor<number>;
  readonly #view: EpollView;
  /** The clients that Bun has: descriptor number → inode of the client's socket. */
  readonly #given = new Map<number, number>();
  #standIns: StandIn[] = [];
  /** Made before a client is accepted, so that no descriptor is lacking afterwards. */
  #next: StandIn | null = null;
  #stop: AbortController | null = null;
  #checking = false;
  #turns = 0;
  /** A timer waits for a connection to end. */
  #awaitingRoom = false;
  #closed = false;
  #warned = false;

  constructor(options: RulesAcceptorOptions) {
    this.#options = options;
    const { entry, listening, rules, where } = options;
    const settings = { ...options.settings, refuseFds: true }; // Bun would not receive them
    this.#view = new EpollView(entry.epoll);
    this.#acceptor = new Acceptor<number>({
      handle: listening,
      watch: this.#watch,
      rules,
      where: () => where,
      before: () => this.#prepare(),
      take: (fd) => withSettings(fd, settings),
    });
    rules.recount.add(this.#recount);
  }

  /** Whether Bun still listens. */
  get current(): boolean {
    return !this.#closed && isCurrent(this.#options.entry);
  }

  /** Clients that were admitted and that Bun does not have yet. */
  get arriving(): number {
    return this.#standIns.length;
  }

  /** Whether this keeps the process alive. */
  set referenced(on: boolean) {
    this.#watch.referenced = on;
  }

  /** Admit no more clients; new ones wait in the backlog. */
  suspend(): number {
    this.#stop?.abort();
    this.#stop = null;
    return 0;
  }

  resume(): number {
    if (this.#stop !== null || this.#closed) return 0;
    this.#stop = new AbortController();
    this.#admit(this.#stop.signal);
    return 0;
  }

  #admit(signal: AbortSignal): void {
    const watch = this.#watch.of(this.#options.listening.fd);
    const feed = { tryOnce: () => this.#tryOnce() };
    const begin = (client: number): void => this.#begin(client);
    new Consumer(watch, feed, begin).start(signal).catch((error: unknown) => {
      if (signal.aborted || this.#closed) return;
      if (error instanceof UnixError) {
        this.#warn(`a connection could not be accepted: ${error.message}`);
        setTimeout(() => this.#again(signal), PAUSE_MS).unref();
        return;
      }
      this.#admit(signal);
      setImmediate(() => {
        throw error; // what `allow` threw: uncaught, as from a listener of an event
      });
    });
  }

  #again(signal: AbortSignal): void {
    if (!signal.aborted && !this.#closed) this.#admit(signal);
  }

  /** The next client; null: the server has closed. */
  #tryOnce(): number | undefined | null {
    if (this.#standIns.length === 0 && !this.current) {
      this.close();
      return null;
    }
    if (this.#standIns.length >= MAX_STAND_INS) return undefined; // #check goes on
    const client = this.#acceptor.tryOnce();
    if (client === undefined && this.#options.rules.full) this.#awaitRoom();
    return client;
  }

  #prepare(): void {
    this.#next ??= StandIn.prepare();
  }

  #begin(client: number): void {
    const standIn = this.#next!;
    this.#next = null;
    const result = standIn.connect(client, pathOf(this.#options.pathFd));
    if (result < 0) {
      this.#fail(standIn, new UnixError("connect", result).message);
      return;
    }
    this.#standIns.push(standIn);
    this.#turns = 0;
    if (this.#checking) return;
    this.#checking = true;
    setImmediate(this.#freeNumbers);
  }

  /** Close the spare descriptors, so that Bun gets their numbers. */
  readonly #freeNumbers = (): void => {
    for (const standIn of this.#standIns) standIn.freeNumber();
    setImmediate(this.#check);
  };

  readonly #check = (): void => {
    const before = this.#standIns.length;
    this.#view.look();
    this.#find();
    for (const standIn of this.#standIns) this.#advance(standIn);
    this.#standIns = this.#standIns.filter((standIn) => !standIn.done);
    this.#turns += 1;
    if (before >= MAX_STAND_INS) this.#watch.current?.retry("read");
    this.#checking = this.#standIns.length > 0;
    if (!this.#checking) this.#endIfClosed();
    else if (this.#turns < MAX_EAGER_TURNS) setImmediate(this.#freeNumbers);
    else setTimeout(this.#freeNumbers, PAUSE_MS);
  };

  /** Find Bun's ends of the stand-ins: first under the numbers that were freed, then under any. */
  #find(): void {
    const missing = new Map<string, StandIn>();
    let repeated = false;
    for (const standIn of this.#standIns) {
      const { entry } = standIn;
      standIn.entry = entry && standIn.isAt(entry.fd) ? this.#view.find(entry.fd) : undefined;
      if (standIn.entry !== undefined) continue;
      missing.set(standIn.name, standIn);
      if (standIn.lookups > 0) repeated = true;
      standIn.lookups += 1;
    }
    const look = (entry: Registration): void => {
      const standIn = missing.get(nameAtOtherEnd(entry.fd) ?? "");
      if (standIn === undefined) return;
      standIn.entry = entry;
      missing.delete(standIn.name);
    };
    for (const { expectedFd } of [...missing.values()]) {
      const entry = this.#view.find(expectedFd);
      if (entry !== undefined) look(entry);
    }
    if (missing.size === 0 || !repeated) return;
    for (const entry of this.#view.all()) {
      if (this.#given.get(entry.fd) !== entry.inode) look(entry);
    }
  }

  #advance(standIn: StandIn): void {
    const forwarded = standIn.forward();
    if (forwarded === "more than the client takes now") return;
    const ended = forwarded === "all sent, and ended";
    if (standIn.entry !== undefined) {
      this.#exchange(standIn, standIn.entry, ended);
      return;
    }
    if (ended && standIn.lookups > 1) {
      this.#discard(standIn); // the server has closed it already
    } else if (now() - standIn.since > MAX_WAIT_MS) {
      this.#fail(standIn, "the server has not accepted it");
    }
  }

  /** Put the client's connection in the place of its stand-in. */
  #exchange(standIn: StandIn, entry: Registration, ended: boolean): void {
    const { fd } = standIn.client;
    if (holdsMore(fd, true)) {
      this.#fail(standIn, "it has sent descriptors, or bytes out of band");
      return;
    }
    const inode = inodeOf(fd);
    const failed = inode < 0 ? { step: "fstat", result: -errno.EIO } : exchange(entry, fd);
    if (failed !== null) {
      this.#fail(standIn, new UnixError(failed.step, failed.result).message);
      return;
    }
    if (ended) shutdown(fd, c.SHUT_WR);
    if (this.#given.has(entry.fd)) this.#acceptor.ended(); // its number is used again
    this.#given.set(entry.fd, inode);
    standIn.replaced();
  }

  #fail(standIn: StandIn, why: string): void {
    shutdown(standIn.client.fd, c.SHUT_RDWR); // in case Bun has it already
    this.#warn(`a connection was closed that could not be given to the server: ${why}`);
    this.#discard(standIn);
  }

  #discard(standIn: StandIn): void {
    standIn.close();
    this.#acceptor.ended();
  }

  #warn(text: string): void {
    if (this.#warned) return;
    this.#warned = true;
    process.emitWarning(`${this.#options.where}: ${text}`, { type: "AcceptWarning" });
  }

  /** Bun does not report that it closes a connection: look which numbers are other files now. */
  readonly #recount = (): void => {
    for (const [fd, inode] of this.#given) {
      if (isStill(fd, inode)) continue;
      this.#given.delete(fd);
      this.#options.rules.open -= 1;
    }
    if (this.#closed && this.#given.size === 0) this.#options.rules.recount.delete(this.#recount);
  };

  /** At `maxConnections`, while a client waits in the backlog: look whether one has ended. */
  #awaitRoom(): void {
    if (this.#awaitingRoom) return;
    this.#awaitingRoom = true;
    const pauses = new Backoff(ROOM_PAUSES);
    const again = (): void => {
      const { listening, rules } = this.#options;
      const waiting = !this.#closed && poll(listening.fd, events.POLLIN, 0) !== 0;
      if (!waiting || !rules.full) {
        this.#awaitingRoom = false;
        this.#watch.current?.retry("read");
        return;
      }
      setTimeout(again, pauses.next()).unref();
    };
    setTimeout(again, pauses.next()).unref();
  }

  /** Accept no more clients; those that were admitted are still given to the server. */
  close(): void {
    if (this.#closed) return;
    this.suspend();
    this.#closed = true;
    this.#next?.close();
    this.#next = null;
    this.#options.listening.close();
    this.#options.pathFd.close();
    this.#recount();
    if (!this.#checking) this.#endIfClosed();
  }

  #endIfClosed(): void {
    if (this.#closed) this.#view.close();
  }
}

function withSettings(fd: number, settings: Settings): number {
  try {
    applySettings(fd, settings);
    return fd;
  } catch (error) {
    close(fd);
    throw error;
  }
}
