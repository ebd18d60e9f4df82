// Room at a datagram's receiver. An unconnected socket cannot wait for it: it polls writable
// although the receiver's queue is full (facts: #datagram-room). A socket that is connected to the
// receiver can.

import { errno } from "../../native/errno.ts";
import { system } from "../../native/platform.ts";
import { poll as events } from "../../native/poll.ts";
import { socket as c } from "../../native/socket.ts";
import { formatAddress } from "../address/address.ts";
import { withShortAddress } from "../address/short-path.ts";
import { check } from "../base/errors.ts";
import { setImmediate, setTimeout } from "../base/timers.ts";
import { Fd } from "../fd/fd.ts";
import { LazyWatch } from "../loop/lazy-watch.ts";
import type { Waiter, Watch } from "../loop/poller.ts";
import type { Address } from "../structs/sockaddr-un.ts";
import { poll } from "../syscalls/fd.ts";
import { connect, socket } from "../syscalls/socket.ts";

/** After this many fruitless tries in a row, a pause follows. */
const TRIES = 16;
const PAUSE_MS = 1;

/**
 * macOS: a datagram for a full receiver is ENOBUFS, and a socket that is connected to it stays
 * writable (facts: #xnu-sends).
 */
export const ROOM_IS_UNTOLD = system === "darwin";

/** This many tries at the next turn of Bun's loop, then after growing pauses. */
const SOON = 8;
const MAX_PAUSE_MS = 16;

/** Try again, if the kernel does not report room; `vain` tries in a row found none. */
export function tryLater(vain: number, retry: () => void): void {
  if (vain < SOON) setImmediate(retry);
  else setTimeout(retry, Math.min(2 ** (vain - SOON), MAX_PAUSE_MS));
}

export class ReceiverRoom {
  readonly address: Address;
  readonly #probe: Fd;
  readonly #watch = new LazyWatch();
  #users = 0;
  /** Tries in a row that found no room. */
  #vain = 0;

  /**
   * @throws UnixError as connect(2) has it: no process is there, or it takes from one sender only
   */
  constructor(address: Address) {
    this.address = address;
    this.#probe = Fd.of(check(socket(c.SOCK_DGRAM), "socket"), "DatagramSocket.send", "socket");
    const result = withShortAddress(address, "connect", (short) => connect(this.#probe.fd, short));
    if (result >= 0) return;
    this.#probe.close();
    check(result, "connect", { address: formatAddress(address) });
  }

  /** The socket whose sends wait for room here. */
  get watch(): Watch {
    return this.#watch.of(this.#probe.fd);
  }

  /** One more send waits here. */
  ref(): void {
    this.#users += 1;
  }

  /** One fewer; true when it was the last and this is closed. */
  unref(): boolean {
    this.#users -= 1;
    if (this.#users > 0) return false;
    this.close();
    return true;
  }

  close(): void {
    this.#probe.close();
  }

  /**
   * Try until it works or there is no room. Two queues can be full: the sender's own buffer, which
   * its watch tells of, and the receiver's, which poll(2) here asks to be told of.
   */
  attempt(sender: Watch, once: () => number): number {
    for (let tries = 0; tries < TRIES; tries++) {
      const sent = once();
      if (sent !== -errno.EAGAIN) {
        this.#vain = 0;
        return sent;
      }
      if (ROOM_IS_UNTOLD) break;
      if (poll(sender.fd, events.POLLOUT, 0) === 0) {
        if (this.#kick.next === null) sender.wait("write", this.#kick);
        return sent;
      }
      if (poll(this.#probe.fd, events.POLLOUT, 0) === 0) return sent;
    }
    const retry = (): void => void (this.#probe.closed || this.watch.retry("write"));
    if (ROOM_IS_UNTOLD) tryLater(this.#vain++, retry);
    else setTimeout(retry, PAUSE_MS);
    return -errno.EAGAIN;
  }

  /** Block the thread until there may be room. */
  waitSync(sender: number, timeoutMs: number): void {
    if (ROOM_IS_UNTOLD) {
      Bun.sleepSync(PAUSE_MS);
      return;
    }
    const own = poll(sender, events.POLLOUT, 0) === 0;
    poll(own ? sender : this.#probe.fd, events.POLLOUT, timeoutMs);
  }

  readonly #kick: Waiter = {
    next: null,
    run: () => {
      if (!this.#probe.closed) this.watch.retry("write");
      return "finished";
    },
    stop: () => {},
  };
}
