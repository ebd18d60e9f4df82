// Short messages that go out together, as whole frames one after the other.

import {
  CHANNEL_HEADER,
  type ChannelKind,
  encodeChannelHeader,
  PACKET_BYTES,
} from "../structs/channel-frame.ts";

/** What stands in a message's headers. */
export interface Label {
  readonly kind: ChannelKind;
  readonly number: number;
}

/** Whom to tell when the kernel has a message, or will not have it. Neither may throw. */
export interface Waiter {
  readonly resolve: () => void;
  readonly reject: (reason: unknown) => void;
}

/** Bytes that one UTF-16 unit becomes at most. */
const UTF8_FACTOR = 3;
/**
 * Where the first frame stands: so its bytes begin at a multiple of 64. Copied to 12 bytes behind
 * the beginning of a page, 4 KiB take twenty times as long (facts: #copies-that-alias).
 */
const BEGIN = 64 - CHANNEL_HEADER;
const ROOM = BEGIN + CHANNEL_HEADER + PACKET_BYTES;

/** Bytes that `data` may take in a frame, at most. */
const maxBytes = (data: string | Uint8Array): number =>
  typeof data === "string" ? data.length * UTF8_FACTOR : data.length;

/** Memory of a batch that was sent, for the next one. */
let spare: Buffer | null = null;

/** Messages in a row, no more than one packet takes. */
export class Batch {
  readonly #room: Buffer;
  #at = BEGIN;
  readonly #waiters: Waiter[] = [];
  /** Where each message ends. */
  readonly #ends: number[] = [];

  constructor() {
    this.#room = spare ?? Buffer.from(new ArrayBuffer(ROOM));
    spare = null;
  }

  /** Whether a batch takes such data at all, without descriptors. */
  static takes(data: string | Uint8Array): boolean {
    return maxBytes(data) <= PACKET_BYTES;
  }

  get messages(): number {
    return this.#ends.length;
  }

  /** All frames; good until `recycle`. */
  get bytes(): Uint8Array {
    return this.#room.subarray(BEGIN, this.#at);
  }

  hasRoom(data: string | Uint8Array): boolean {
    return this.#at + CHANNEL_HEADER + maxBytes(data) <= ROOM;
  }

  /** Add a message there is room for; its frame's bytes. */
  add(label: Label, data: string | Uint8Array, waiter: Waiter): number {
    const frame = putFrame(this.#room, this.#at, { label, data });
    this.#at += frame;
    this.#ends.push(this.#at - BEGIN);
    this.#waiters.push(waiter);
    return frame;
  }

  /** So many of the bytes are out: those whose messages are whole are told. */
  sent(bytes: number): void {
    let told = 0;
    while (told < this.#ends.length && this.#ends[told]! <= bytes) told++;
    this.#ends.splice(0, told);
    for (const { resolve } of this.#waiters.splice(0, told)) resolve();
  }

  /** The rest will not go. */
  failed(reason: unknown): void {
    this.#ends.length = 0;
    for (const { reject } of this.#waiters.splice(0)) reject(reason);
  }

  /** Nobody looks at the bytes any more. */
  recycle(): void {
    spare = this.#room;
  }
}

/** One message that goes at once is put together here. */
const scratch = Buffer.from(new ArrayBuffer(ROOM));

/** The frame of a message that {@link Batch.takes}; good until the next one. */
export function shortFrame(label: Label, data: string | Uint8Array, fds: number): Uint8Array {
  return scratch.subarray(BEGIN, BEGIN + putFrame(scratch, BEGIN, { label, data, fds }));
}

interface Content {
  readonly label: Label;
  readonly data: string | Uint8Array;
  readonly fds?: number;
}

/** Write a frame at byte `at`; how many bytes it is. */
function putFrame(into: Buffer, at: number, { label, data, fds = 0 }: Content): number {
  const begin = at + CHANNEL_HEADER;
  let bytes: number;
  if (typeof data === "string") bytes = into.write(data, begin);
  else {
    bytes = data.length;
    into.set(data, begin);
  }
  const { kind, number } = label;
  encodeChannelHeader(into, { kind, number, bytes, fds, more: false }, at);
  return CHANNEL_HEADER + bytes;
}
