// An offered descriptor: it waits in a socket of the sender's until the receiver reads it there. So
// one of two things is true of it, and never both: it was taken, or it was withdrawn.

import { errno } from "../../native/errno.ts";
import { socket as c, option } from "../../native/socket.ts";
import { check, UnixError } from "../base/errors.ts";
import { Fd } from "../fd/fd.ts";
import { receiveMessage, sendMessage } from "../listener/adopt.ts";
import { attempt } from "../loop/attempt.ts";
import { Watch } from "../loop/poller.ts";
import { decodeAnswer, encodeOffer, type ProcessIdentity } from "../structs/fd-offer.ts";
import { bind, setOption, socketpair } from "../syscalls/socket.ts";
import type { ReceiverProcess } from "./receiver-process.ts";

const NONCE_BYTES = 8;

/** The sender, the receiver, and the descriptor. */
export interface Terms {
  readonly from: ProcessIdentity;
  readonly to: ProcessIdentity;
  readonly fd: number;
}

/** The sender's side. */
export class Offer implements Disposable {
  readonly #near: Fd;
  readonly #far: Fd;
  readonly #to: ProcessIdentity;
  /** What has been read once is not there again: later calls get the same answer. */
  #answer: UnixError | null | undefined;
  #withdrawn = false;

  /** @throws UnixError EBADF, EMFILE, ETOOMANYREFS, EINVAL (what cannot be passed) */
  constructor({ from, to, fd }: Terms) {
    const made = socketpair(c.SOCK_SEQPACKET);
    if (typeof made === "number") throw new UnixError("socketpair", made);
    const [near, far] = made;
    this.#near = Fd.of(near, "sendFd", "socket");
    this.#far = Fd.of(far, "sendFd", "socket");
    this.#to = to;
    try {
      const nonce = Buffer.from(crypto.getRandomValues(new Uint8Array(NONCE_BYTES)));
      const name = encodeOffer({ from, to }, nonce.toString("hex"));
      check(bind(far, { kind: "abstract", name }), "bind");
      const sent = sendMessage(near, name, { fds: [fd] });
      // else `withdraw` would find nothing, and take it for taken
      if (sent === null) throw new UnixError("sendmsg", -errno.EAGAIN);
      // only for the answer: a socket with SO_PASSCRED gets a name when it sends
      check(setOption(near, option.SO_PASSCRED ?? -1, 1), "setsockopt");
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  /** The number that the receiver is told. */
  get number(): number {
    return this.#far.fd;
  }

  /** Withdraw it. False: it was read before. */
  withdraw(): boolean {
    using message = receiveMessage(this.#far, { acceptFds: 0 });
    this.#withdrawn ||= message !== undefined;
    return this.#withdrawn;
  }

  /**
   * What the receiver has said: null, it has it; an error, why not; undefined, nothing so far. Of a
   * process that may have ended, look whether it has before you ask.
   */
  answer(): UnixError | null | undefined {
    if (this.#answer === undefined) this.#answer = this.#readAnswer();
    return this.#answer;
  }

  #readAnswer(): UnixError | null | undefined {
    using message = receiveMessage(this.#near, { acceptFds: 0 });
    if (message === undefined) return undefined;
    const pid = message?.credentials?.pid;
    if (pid !== this.#to.pid) return refusal(errno.EPERM, `process ${pid ?? "?"} answered for it`);
    const said = message === null ? null : decodeAnswer(message.data);
    if (said === 0 && !this.withdraw()) return null;
    if (said === 0) return refusal(errno.EPROTO, "it says that it took it, and did not");
    return refusal(said ?? errno.EPROTO, said === null ? "that was no answer" : "it refused");
  }

  /** The answer, when there is one. @throws UnixError ESRCH; the signal's reason */
  answered(target: ReceiverProcess, signal: AbortSignal): Promise<UnixError | null> {
    const tryOnce = (): UnixError | null | undefined => this.answer();
    const onceGone = (): UnixError | null | undefined => {
      if (target.handle.alive()) return undefined;
      const last = this.answer();
      if (last === undefined) throw target.gone;
      return last;
    };
    const rest = { direction: "read", signal } as const;
    const waits = [
      attempt({ watch: Watch.of(this.#near.fd, true), ...rest }, { tryOnce }),
      attempt({ watch: Watch.of(target.handle.fd, true), ...rest }, { tryOnce: onceGone }),
    ];
    for (const wait of waits) wait.catch(() => {}); // one of them ends when all is closed
    return Promise.race(waits);
  }

  [Symbol.dispose](): void {
    this.#near.close();
    this.#far.close();
  }
}

const refusal = (number: number, hint: string): UnixError =>
  new UnixError("pidfd_getfd", -number, { hint: `the receiver: ${hint}` });
