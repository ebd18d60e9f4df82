// Servers of Bun on a listener with rules. This side accepts and asks; for each that may come in it
// connects to the hidden socket where Bun listens, and puts the client's connection in the place of
// the one that Bun accepts there. From then on there is one connection, and it is Bun's.

import { errno } from "../../native/errno.ts";
import { poll as events } from "../../native/poll.ts";
import { socket as c } from "../../native/socket.ts";
import { Backoff } from "../base/backoff.ts";
import { UnixError } from "../base/errors.ts";
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
import { Guest } from "./guest.ts";
import { through } from "./hidden.ts";

export interface DoorwayOptions {
  /** What it accepts from, owned. */
  readonly listening: Fd;
  /** The way to the hidden socket, owned. */
  readonly way: Fd;
  /** Where Bun has that socket. */
  readonly entry: Registration;
  readonly rules: Rules;
  /** Options of the accepted sockets. */
  readonly settings: Settings;
  /** Where it listens, for people. */
  readonly where: string;
}

/** Clients on their way to Bun at a time. */
const MAX_GUESTS = 64;
/** Bun accepts in its next turn or two; where it has no descriptors it takes longer. */
const EAGER_TURNS = 16;
const PAUSE_MS = 5;
const ROOM = { first: 5, max: 100 } as const;
const PATIENCE_MS = 5_000;

/** Stands between a listener with rules and a server of Bun. */
export class Doorway {
  readonly #options: DoorwayOptions;
  readonly #watch = new LazyWatch();
  readonly #acceptor: Acceptor<number>;
  readonly #view: EpollView;
  /** What Bun has: the number → the client's socket, by its inode. */
  readonly #kept = new Map<number, number>();
  #guests: Guest[] = [];
  /** Made before a client is accepted, so that there is room for all that it takes. */
  #next: Guest | null = null;
  #stop: AbortController | null = null;
  #looking = false;
  #turns = 0;
  /** 0: nobody waits for a connection to end. */
  #awaitingRoom = false;
  #closed = false;
  #warned = false;

  constructor(options: DoorwayOptions) {
    this.#options = options;
    const { entry, listening, rules, where } = options;
    const settings = { ...options.settings, refuseFds: true }; // Bun would not look at them
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

  /** Clients that were admitted and are not Bun's yet. */
  get arriving(): number {
    return this.#guests.length;
  }

  /** Whether this keeps the process alive. */
  set referenced(on: boolean) {
    this.#watch.referenced = on;
  }

  /** Admit nobody more; who comes waits in the socket. */
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
    const feed = { tryOnce: () => this.#once() };
    const welcome = (client: number): void => this.#welcome(client);
    new Consumer(watch, feed, welcome).start(signal).catch((error: unknown) => {
      if (signal.aborted || this.#closed) return;
      if (error instanceof UnixError) {
        this.#warn(`a connection could not be accepted: ${error.message}`);
        setTimeout(() => this.#again(signal), PAUSE_MS).unref();
        return;
      }
      this.#admit(signal);
      setImmediate(() => {
        throw error; // what `allow` threw, as if it were a listener of an event
      });
    });
  }

  #again(signal: AbortSignal): void {
    if (!signal.aborted && !this.#closed) this.#admit(signal);
  }

  /** The next client; null: the server has gone. */
  #once(): number | undefined | null {
    if (this.#guests.length === 0 && !this.current) {
      this.close();
      return null;
    }
    if (this.#guests.length >= MAX_GUESTS) return undefined; // #look goes on
    const client = this.#acceptor.tryOnce();
    if (client === undefined && this.#options.rules.full) this.#awaitRoom();
    return client;
  }

  #prepare(): void {
    this.#next ??= Guest.prepare();
  }

  #welcome(client: number): void {
    const guest = this.#next!;
    this.#next = null;
    const result = guest.come(client, through(this.#options.way));
    if (result < 0) {
      this.#turnAway(guest, new UnixError("connect", result).message);
      return;
    }
    this.#guests.push(guest);
    this.#turns = 0;
    if (this.#looking) return;
    this.#looking = true;
    setImmediate(this.#makeRoom);
  }

  /** The descriptors that were kept free are Bun's to take. */
  readonly #makeRoom = (): void => {
    for (const guest of this.#guests) guest.makeRoom();
    setImmediate(this.#look);
  };

  readonly #look = (): void => {
    const before = this.#guests.length;
    this.#view.look();
    this.#find();
    for (const guest of this.#guests) this.#settle(guest);
    this.#guests = this.#guests.filter((guest) => !guest.done);
    this.#turns += 1;
    if (before >= MAX_GUESTS) this.#watch.current?.retry("read");
    this.#looking = this.#guests.length > 0;
    if (!this.#looking) this.#endIfClosed();
    else if (this.#turns < EAGER_TURNS) setImmediate(this.#makeRoom);
    else setTimeout(this.#makeRoom, PAUSE_MS);
  };

  /** Where Bun has the stand-ins: first under the numbers that were free, then under any. */
  #find(): void {
    const missing = new Map<string, Guest>();
    let often = 0;
    for (const guest of this.#guests) {
      const { seat } = guest;
      guest.seat = seat && guest.isAt(seat.fd) ? this.#view.find(seat.fd) : undefined;
      if (guest.seat !== undefined) continue;
      missing.set(guest.name, guest);
      often = Math.max(often, guest.turns++);
    }
    const look = (entry: Registration): void => {
      const guest = missing.get(nameAtOtherEnd(entry.fd) ?? "");
      if (guest === undefined) return;
      guest.seat = entry;
      missing.delete(guest.name);
    };
    for (const { room } of [...missing.values()]) {
      const entry = this.#view.find(room);
      if (entry !== undefined) look(entry);
    }
    if (missing.size === 0 || often === 0) return;
    for (const entry of this.#view.all()) {
      if (this.#kept.get(entry.fd) !== entry.inode) look(entry);
    }
  }

  #settle(guest: Guest): void {
    const said = guest.forward();
    if (said === "more than the client takes now") return;
    const ended = said === "all sent, and ended";
    if (guest.seat !== undefined) {
      this.#seat(guest, guest.seat, ended);
      return;
    }
    if (ended && guest.turns > 1) {
      this.#leave(guest); // the server has closed it already
    } else if (performance.now() - guest.since > PATIENCE_MS) {
      this.#turnAway(guest, "the server has not accepted it");
    }
  }

  /** Put the client in the place of its stand-in. */
  #seat(guest: Guest, entry: Registration, ended: boolean): void {
    const { fd } = guest.client;
    if (holdsMore(fd, true)) {
      this.#turnAway(guest, "it has sent descriptors, or bytes out of band");
      return;
    }
    const inode = inodeOf(fd);
    const failed = inode < 0 ? { step: "fstat", result: -errno.EIO } : exchange(entry, fd);
    if (failed !== null) {
      this.#turnAway(guest, new UnixError(failed.step, failed.result).message);
      return;
    }
    if (ended) shutdown(fd, c.SHUT_WR);
    if (this.#kept.has(entry.fd)) this.#acceptor.ended(); // whose number is used again
    this.#kept.set(entry.fd, inode);
    guest.seated();
  }

  #turnAway(guest: Guest, why: string): void {
    shutdown(guest.client.fd, c.SHUT_RDWR); // should Bun have it already
    this.#warn(`a connection was closed that could not be handed to the server: ${why}`);
    this.#leave(guest);
  }

  #leave(guest: Guest): void {
    guest.close();
    this.#acceptor.ended();
  }

  #warn(text: string): void {
    if (this.#warned) return;
    this.#warned = true;
    process.emitWarning(`${this.#options.where}: ${text}`, { type: "AcceptWarning" });
  }

  /** Bun closes connections without a word: see which numbers mean something else by now. */
  readonly #recount = (): void => {
    for (const [fd, inode] of this.#kept) {
      if (isStill(fd, inode)) continue;
      this.#kept.delete(fd);
      this.#options.rules.open -= 1;
    }
    if (this.#closed && this.#kept.size === 0) this.#options.rules.recount.delete(this.#recount);
  };

  /** At `maxConnections`, while somebody may be waiting: look whether one has ended. */
  #awaitRoom(): void {
    if (this.#awaitingRoom) return;
    this.#awaitingRoom = true;
    const pauses = new Backoff(ROOM);
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

  /** Who was admitted is still handed over; nobody else is accepted. */
  close(): void {
    if (this.#closed) return;
    this.suspend();
    this.#closed = true;
    this.#next?.close();
    this.#next = null;
    this.#options.listening.close();
    this.#options.way.close();
    this.#recount();
    if (!this.#looking) this.#endIfClosed();
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
