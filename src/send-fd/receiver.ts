// The receiving side of `sendFd`.

import { readlinkSync } from "node:fs";
import { errno } from "../../native/errno.ts";
import { poll as events } from "../../native/poll.ts";
import { socket as c, option } from "../../native/socket.ts";
import type { Abortable, SyncOptions } from "../base/deadline.ts";
import { isShortage, UnixError } from "../base/errors.ts";
import { iterateOpen } from "../base/iterate.ts";
import { Referenced } from "../base/referenced.ts";
import { Fd } from "../fd/fd.ts";
import { receiveMessage, sendMessage } from "../listener/adopt.ts";
import { type Allow, admits, checkAllow, everybody } from "../peer/admission.ts";
import { peerCredentials } from "../peer/credentials.ts";
import { type SignalEvent, type SignalWatcher, watchSignals } from "../signals/watcher.ts";
import type { Message } from "../socket/message.ts";
import type { Credentials } from "../structs/credentials.ts";
import {
  decodeOffer,
  encodeAnswer,
  type Offered,
  type ProcessIdentity,
} from "../structs/fd-offer.ts";
import { remaining } from "../syscalls/clock.ts";
import { close, poll } from "../syscalls/fd.ts";
import { pidfdGetfd, pidfdOpen } from "../syscalls/process.ts";
import { Disposition } from "../syscalls/signal.ts";
import { getOption, socketName } from "../syscalls/socket.ts";
import {
  mustBeAble,
  ownIdentity,
  type RealtimeSignal,
  realtimeNumber,
  startOf,
} from "./receiver-process.ts";

/** How descriptors are received. */
export interface ReceiveFdsOptions {
  /** What senders announce with: "SIGRTMIN+3". */
  readonly realtimeSignal: RealtimeSignal | number;
  /**
   * Whether to take something from this sender: the kernel's word on who made the offer. `true` is
   * yes, anything else is no, and the sender gets EACCES; a promise is a TypeError for the caller
   * of receive, and a no. Default: from every process that may signal this one.
   */
  readonly allow?: ((sender: Credentials) => boolean) | undefined;
}

/** A descriptor that came, and who sent it, by the kernel's word. */
export interface ReceivedFd {
  /** Yours to close. */
  readonly fd: Fd;
  /** The process that sent it, in this pid namespace. */
  readonly pid: number;
  /** The sender's effective user and group; null: none that this user namespace can name. */
  readonly uid: number | null;
  /** The sender's effective group; null: none that this user namespace can name. */
  readonly gid: number | null;
}

/** A call's result; null if the sender has gone or has nothing of that number. */
function orShortage(result: number, syscall: string): number | null {
  if (result >= 0) return result;
  if (!isShortage(result)) return null;
  throw new UnixError(syscall, result, { hint: "the offer waits for the next receive" });
}

interface FoundOffer {
  readonly socket: Fd;
  readonly name: Uint8Array;
  readonly sender: Credentials & { readonly pid: number };
}

/**
 * What a signal announces; null if that is nothing for this process. Its pid and value are the
 * sender's claims. Only the kernel is believed: which process made the socket, and that it has a
 * name which only an offer to this very process has. Nothing else is read, or kept.
 */
function findOffer({ origin, pid, value }: SignalEvent, self: ProcessIdentity): FoundOffer | null {
  if (origin !== "queue" || pid === undefined || value === undefined || value < 0) return null;
  const pidfd = orShortage(pidfdOpen(pid), "pidfd_open");
  if (pidfd === null) return null;
  try {
    const start = startOf(pid);
    // first from outside: closing a duplicate of a file would drop this process's locks on it
    if (start === null || !isSocket(pid, value)) return null;
    const far = orShortage(pidfdGetfd(pidfd, value), "pidfd_getfd");
    if (far === null) return null;
    const socket = Fd.adopt(far, "receiveFds");
    const alive = poll(pidfd, events.POLLIN, 0) === 0; // so what was read before was of this one
    const offer = alive ? offerOf(far, { from: { pid, start }, to: self }) : null;
    if (offer !== null) return { socket, ...offer };
    socket.close();
    return null;
  } finally {
    close(pidfd);
  }
}

function isSocket(pid: number, fd: number): boolean {
  try {
    return readlinkSync(`/proc/${pid}/fd/${fd}`).startsWith("socket:");
  } catch {
    return false; // gone, withdrawn, or not ours to look at
  }
}

/** What `far` is; null if it is not what `from` offers to `to`. */
function offerOf(far: number, { from, to }: Offered): Omit<FoundOffer, "socket"> | null {
  const address = socketName(far, "getsockname");
  if (typeof address === "number" || address.kind !== "abstract") return null;
  const offered = decodeOffer(address.name);
  if (offered === null || !same(offered.from, from) || !same(offered.to, to)) return null;
  if (getOption(far, option.SO_TYPE) !== c.SOCK_SEQPACKET) return null;
  const maker = makerOf(far);
  if (maker?.pid !== from.pid) return null;
  return { name: address.name, sender: { ...maker, pid: from.pid } };
}

const same = (a: ProcessIdentity, b: ProcessIdentity): boolean =>
  a.pid === b.pid && a.start === b.start;

/** Who made the pair. */
function makerOf(far: number): Credentials | null {
  try {
    return peerCredentials(far);
  } catch {
    return null; // no pair
  }
}

/**
 * Descriptors as they come, for as long as it is open. Made by {@link receiveFds}.
 */
export class FdReceiver extends Referenced implements AsyncDisposable {
  readonly #watcher: SignalWatcher;
  readonly #allow: Allow;
  readonly #self: ProcessIdentity;
  /** Announced, but there was no room to take it. */
  #postponed: SignalEvent[] = [];
  #refused = 0;

  /** @internal */
  constructor({
    watcher,
    allow,
    self,
  }: { watcher: SignalWatcher; allow: Allow; self: ProcessIdentity }) {
    super();
    this.#watcher = watcher;
    this.#allow = allow;
    this.#self = self;
  }

  /** The signal that it listens to. */
  get realtimeSignal(): string {
    return this.#watcher.signals[0]!;
  }

  /** Announcements that came faster than they were received, and were lost: those senders wait. */
  get lost(): number {
    return this.#watcher.lost;
  }

  /**
   * Announcements that brought nothing: withdrawn by then, not allowed by `allow`, by a process
   * that this one may not trace, or no offers at all.
   */
  get refused(): number {
    return this.#refused;
  }

  /** True once it is closed: what waits then fails with ERR_CLOSED. */
  get closed(): boolean {
    return this.#watcher.closed;
  }

  #take(event: SignalEvent): ReceivedFd | null {
    try {
      const taken = this.#takeFrom(findOffer(event, this.#self));
      if (taken === null) this.#refused += 1;
      return taken;
    } catch (error) {
      if (isShortage(error)) this.#postponed.push(event);
      throw error;
    }
  }

  #takeFrom(found: FoundOffer | null): ReceivedFd | null {
    if (found === null) return null;
    const { sender } = found;
    using socket = found.socket;
    if (!this.#allowed(found)) return null;
    using message = offeredMessage(socket);
    if (message === null) return null;
    const wrong = problem(message, found.name);
    answer(socket, wrong);
    return wrong === 0 ? { ...sender, fd: message.takeFds()[0]! } : null;
  }

  #allowed({ socket, sender }: FoundOffer): boolean {
    let allowed = false;
    try {
      allowed = admits(this.#allow, sender);
    } finally {
      if (!allowed) answer(socket, errno.EACCES);
    }
    return allowed;
  }

  /**
   * The next descriptor, when one comes. Receives are served in the order they were asked for.
   * While one waits, the process stays alive (`unref()` changes that).
   *
   * @throws UnixError EMFILE, ENFILE (no room: the next receive can still have it), ERR_CLOSED; the
   *   signal's reason; what `allow` throws
   */
  async receive(options?: Abortable): Promise<ReceivedFd> {
    options?.signal?.throwIfAborted();
    for (;;) {
      const event = this.#postponed.shift() ?? (await this.#watcher.receive(options));
      const taken = this.#take(event);
      if (taken !== null) return taken;
    }
  }

  /** The next descriptor if one is here; undefined: none now. @throws UnixError as `receive` */
  tryReceive(): ReceivedFd | undefined {
    for (;;) {
      const event = this.#postponed.shift() ?? this.#watcher.tryReceive();
      const taken = event === undefined ? undefined : this.#take(event);
      if (taken !== null) return taken;
    }
  }

  /** The next descriptor; blocks the thread. @throws UnixError ETIMEDOUT, and as `receive` */
  receiveSync(options?: SyncOptions): ReceivedFd {
    const left = remaining(options?.timeoutMs);
    for (;;) {
      const wait = left();
      const limit = wait < 0 ? {} : { timeoutMs: wait };
      const taken = this.#take(this.#postponed.shift() ?? this.#watcher.receiveSync(limit));
      if (taken !== null) return taken;
    }
  }

  /** Descriptors as they come, until it is closed. Leaving the loop does not close it. */
  [Symbol.asyncIterator](): AsyncIterableIterator<ReceivedFd> {
    return iterateOpen(this, () => this.receive());
  }

  /** @internal */
  protected reference(on: boolean): void {
    if (on) this.#watcher.ref();
    else this.#watcher.unref();
  }

  /**
   * Stop listening. Senders whose announcement was not received get ECONNREFUSED, receives that
   * wait get ERR_CLOSED. Never throws, once is enough.
   */
  close(): void {
    if (this.closed) return;
    const rest = this.#postponed;
    for (let event = this.#watcher.tryReceive(); event; event = this.#watcher.tryReceive()) {
      rest.push(event);
    }
    this.#postponed = [];
    this.#watcher.close();
    for (const event of rest) refuse(event, this.#self);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }
}

/** null: it was withdrawn, or there never was one. */
function offeredMessage(socket: Fd): Message | null {
  try {
    return receiveMessage(socket, { acceptFds: 1 }) ?? null;
  } catch {
    return null; // its maker can make any socket fail, but not those who listen
  }
}

/** 0, or why the message cannot be taken: it is not what an offer is, or there is no room. */
function problem({ data, fds, fdsTruncated }: Message, name: Uint8Array): number {
  // in a pair that its maker shares with others this was not written unless the maker meant it
  if (Buffer.compare(data, name) !== 0) return errno.EPROTO;
  if (fdsTruncated && fds.length === 0) return errno.EMFILE;
  return fdsTruncated || fds.length !== 1 ? errno.EPROTO : 0;
}

/** The sender may have ended. */
function answer(socket: Fd, number: number): void {
  try {
    sendMessage(socket, encodeAnswer(number));
  } catch {
    // it gave up
  }
}

function refuse(event: SignalEvent, self: ProcessIdentity): void {
  try {
    using socket = findOffer(event, self)?.socket;
    if (socket !== undefined) answer(socket, errno.ECONNREFUSED);
  } catch {
    // no room to say so: its deadline will
  }
}

/**
 * A sender looks, and then sends: if this process had stopped listening in between, the signal
 * would end it. So it is ignored before and after it is listened to, unless it already means
 * something else.
 */
function watchIgnored(number: number): SignalWatcher {
  const before = Disposition.of(number);
  const byDefault = Disposition.byDefault();
  const unused = typeof before !== "number" && before.calls(byDefault);
  if (unused) Disposition.ignored().install(number);
  try {
    return watchSignals(number);
  } catch (error) {
    if (unused) byDefault.install(number);
    throw error;
  }
}

/**
 * Receive the descriptors that other processes send to this one with {@link sendFd} under this
 * signal. Each is announced by the signal, taken from its sender when it is received, not before,
 * and confirmed.
 *
 * Anybody who may send this process a signal can offer it something: processes of the same user,
 * and root. `allow` chooses among them. What the signal claims is not relied on: a descriptor is
 * only taken if the kernel says that the process named as the sender offered it to this one.
 *
 * The signal is this receiver's: do not listen to it twice. After `close` it stays ignored, here
 * and in children that are started then, since a late one would end the process otherwise.
 *
 * @throws TypeError, RangeError; UnixError EMFILE
 * @throws UnsupportedError in a Worker, without the signal handler (`capabilities().signalSenders`)
 *   or /proc, and without pidfd_getfd (before Linux 5.6, or refused by a seccomp filter); not on
 *   macOS
 * @see pidfd_getfd(2), sigqueue(3)
 */
export function receiveFds(options: ReceiveFdsOptions): FdReceiver {
  const number = realtimeNumber(options.realtimeSignal);
  const allow = checkAllow(options.allow) ?? everybody;
  mustBeAble("receiver");
  const self = ownIdentity();
  return new FdReceiver({ watcher: watchIgnored(number), allow, self });
}
