// One connection of a handover: whole frames, within a time limit, from an admitted process.

import { errno } from "../../native/errno.ts";
import type { AddressInput } from "../address/address.ts";
import { sleep } from "../base/deadline.ts";
import { isShortage, UnixError, UnsupportedError } from "../base/errors.ts";
import { type Fd, type FdLike, fdNumber } from "../fd/fd.ts";
import { ProcessHandle } from "../process/handle.ts";
import { connect } from "../socket/connect.ts";
import type { Message } from "../socket/message.ts";
import type { SeqpacketSocket } from "../socket/seqpacket.ts";
import type { Credentials } from "../structs/credentials.ts";
import {
  decodeFrame,
  encodeFrame,
  FRAME_BYTES,
  type HandoverFrame,
} from "../structs/handover-frame.ts";

/** Options of both ends of the control socket. */
export const channelOptions = { type: "seqpacket", maxMessageBytes: FRAME_BYTES } as const;

/** An error of the protocol: what went wrong between two processes. */
export const handoverError = (number: number, hint: string, cause?: unknown): UnixError =>
  new UnixError("handover", -number, { hint, cause });

/** A frame, and the descriptors that came with it. */
export interface Arrived {
  readonly frame: HandoverFrame;
  readonly fds: readonly Fd[];
}

/** The control socket's connection. It owns the socket. */
export class HandoverChannel implements Disposable {
  readonly #socket: SeqpacketSocket;
  #peer: Credentials | null;
  #process: ProcessHandle | null = null;

  private constructor(socket: SeqpacketSocket, peer: Credentials | null) {
    this.#socket = socket;
    this.#peer = peer;
  }

  /**
   * To the process that has connected. @throws UnixError if the kernel does not know; it is closed
   */
  static to(socket: SeqpacketSocket): HandoverChannel {
    try {
      return new HandoverChannel(socket, socket.peerCredentials());
    } catch (error) {
      socket.close();
      throw error;
    }
  }

  /**
   * To the process that answers at an address. A listener's credentials are those of the process
   * that called listen, which may be long gone; so each message says who has sent it.
   */
  static async at(address: AddressInput, signal: AbortSignal): Promise<HandoverChannel> {
    const options = { ...channelOptions, passCredentials: true, signal };
    const socket = await connect(address, { ...options, passPidfd: true }).catch((error) => {
      if (error instanceof UnsupportedError) return connect(address, options);
      throw error;
    });
    return new HandoverChannel(socket, null);
  }

  /** The process at the other end; null before its first message. */
  get peer(): Credentials | null {
    return this.#peer;
  }

  get pid(): number {
    return this.#peer?.pid ?? 0;
  }

  /** The process that has answered. */
  get process(): ProcessHandle | null {
    return this.#process;
  }

  /**
   * Send one; the descriptors stay ours. It is no error if the peer does not get it: the next
   * `receive` has the peer's last message. @throws the signal's reason; UnixError ETOOMANYREFS, …
   */
  async send(
    frame: HandoverFrame,
    { fds = [], signal }: { fds?: readonly FdLike[]; signal?: AbortSignal | undefined } = {},
  ): Promise<void> {
    const numbers = fds.map(fdNumber);
    for (;;) {
      try {
        return await this.#socket.send(encodeFrame(frame), { fds: numbers, signal });
      } catch (error) {
        if (isGone(error)) return;
        if (!isShortage(error)) throw error; // a lost message: two processes serve, or none
      }
      await sleep(PAUSE_MS, signal);
    }
  }

  /** A last message, if it can be sent at once. */
  say(frame: HandoverFrame): void {
    try {
      this.#socket.trySend(encodeFrame(frame));
    } catch {
      // the peer does not get it
    }
  }

  /**
   * The next frame; null if the other side has closed the connection, or died.
   * @throws UnixError EPROTO for what is no frame, EMFILE if descriptors were lost
   */
  async receive(signal?: AbortSignal): Promise<Arrived | null> {
    const message = await this.#next(signal);
    if (message === null) return null;
    this.#note(message);
    const frame = message.truncated ? null : decodeFrame(message.data);
    const expected = frame?.kind === "table" ? frame.entries.length : 0;
    const whole = expected === 0 || !message.fdsTruncated; // else a pidfd may be what is missing
    if (frame !== null && whole && message.fds.length === expected) {
      const fds = message.takeFds();
      message.close();
      return { frame, fds };
    }
    message.close();
    if (message.fdsTruncated) throw handoverError(errno.EMFILE, "not all descriptors have come");
    throw handoverError(errno.EPROTO, "what came is no message of this version of the protocol");
  }

  /** Check the sender, and that it stays the same. */
  #note(message: Message): void {
    const { credentials, pidfd } = message;
    if (credentials === undefined) return; // from the process that the kernel named at connect
    try {
      if (this.#process !== null) {
        if (credentials.pid === this.#peer?.pid) return;
        throw handoverError(errno.EPROTO, "another process answers than before");
      }
      this.#peer = credentials;
      if (pidfd !== undefined) this.#process = ProcessHandle.of(pidfd);
      else if (credentials.pid !== null) this.#process = ProcessHandle.open(credentials.pid);
    } catch (error) {
      message.close();
      throw error;
    }
  }

  async #next(signal: AbortSignal | undefined) {
    for (;;) {
      try {
        return await this.#socket.receive({ signal });
      } catch (error) {
        // it ended without reading our last message (facts: #seqpacket-reset-first)
        if (isGone(error)) return null;
        if (!isShortage(error)) throw error;
      }
      await sleep(PAUSE_MS, signal);
    }
  }

  close(): void {
    this.#socket.close();
    this.#process?.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

const PAUSE_MS = 10;

const gone = new Set([-errno.EPIPE, -errno.ECONNRESET]);
const isGone = (error: unknown): boolean => error instanceof UnixError && gone.has(error.errno);
