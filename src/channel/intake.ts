// Reads frames while they are wanted, and only then.

import { setImmediate } from "../base/timers.ts";
import { overdue, turnBegins } from "../loop/turn.ts";
import type { Received } from "../socket/message.ts";
import type { SeqpacketSocket } from "../socket/seqpacket.ts";
import type { StreamSocket } from "../socket/stream.ts";
import { type Frame, type FrameLimits, FrameReader } from "./frames.ts";
import { ReceiveRoom } from "./receive-room.ts";

/** Messages in a row before the clock is looked at. */
const SPREE = 64;

/** The receiver of what is read. */
export interface Taker {
  /** Whether something waits for what comes. */
  wanted(): boolean;
  /** @throws what ends the channel */
  take(frame: Frame): void;
  /** Nothing more will come: the peer's end or this one's (undefined), or an error. */
  finish(reason?: unknown): void;
}

/** The reading half of a channel. */
export class Intake {
  readonly #socket: StreamSocket | SeqpacketSocket;
  readonly #reader: FrameReader;
  readonly #taker: Taker;
  #started = false;
  /** Set while nothing is wanted: call it to go on. */
  #resume: ((later: Promise<unknown> | undefined) => void) | null = null;

  constructor(socket: StreamSocket | SeqpacketSocket, limits: FrameLimits, taker: Taker) {
    this.#socket = socket;
    this.#reader = new FrameReader(limits, socket.type !== "stream");
    this.#taker = taker;
  }

  /** Reading has begun, so its end will be told. */
  get started(): boolean {
    return this.#started;
  }

  /** Whether a message has begun whose end has not come. */
  get partial(): boolean {
    return this.#reader.partial;
  }

  /** More may be wanted than before. */
  wake(): void {
    if (!this.#started) {
      if (!this.#socket.closed && this.#taker.wanted()) this.#start();
      return;
    }
    const resume = this.#resume;
    if (resume === null) return;
    this.#resume = null;
    try {
      if (this.#giveOut()) resume(undefined);
      else this.#resume = resume;
    } catch (error) {
      resume(Promise.reject(error));
    }
  }

  #start(): void {
    this.#started = true;
    const room = new ReceiveRoom(this.#socket);
    const take = (received: Received): Promise<unknown> | undefined => this.#take(room, received);
    const finish = (reason?: unknown): void => this.#taker.finish(reason);
    this.#socket.consumeFrom(room, take).then(() => finish(), finish);
  }

  #take(room: ReceiveRoom, received: Received): Promise<unknown> | undefined {
    if (this.#socket.closed) return undefined;
    const before = room.begin();
    try {
      this.#reader.push(room.room, received.bytes, received);
      if (this.#giveOut()) return undefined;
    } finally {
      this.#reader.keep();
      room.end(before);
    }
    return new Promise((resolve) => {
      this.#resume = resolve;
    });
  }

  /** Give out what is here; false: no more is wanted, or not in this turn of Bun's loop. */
  #giveOut(): boolean {
    let left = SPREE;
    while (this.#taker.wanted()) {
      const frame = this.#reader.next();
      if (frame === undefined) return true;
      this.#taker.take(frame);
      if (--left > 0) continue;
      if (overdue()) {
        setImmediate(() => {
          turnBegins();
          this.wake();
        });
        return false;
      }
      left = SPREE;
    }
    return false;
  }

  /** Drop what will not be asked for any more; what waits here goes on. */
  close(): void {
    this.#reader.close();
    const resume = this.#resume;
    this.#resume = null;
    resume?.(undefined);
  }
}
