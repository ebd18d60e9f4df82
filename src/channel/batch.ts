// Short messages that go out together, as whole frames one after the other.

import type { OwnBytes } from "../socket/send.ts";
import {
  CHANNEL_HEADER,
  type ChannelKind,
  encodeChannelHeader,
  PACKET_BYTES,
} from "../structs/channel-frame.ts";
import { bytesIn } from "../syscalls/memory.ts";
import type { Content } from "./codec.ts";
import { Room } from "./room.ts";

/** What stands in a message's headers. */
export interface Label {
  readonly kind: ChannelKind;
  readonly number: number;
}

/** Called for a message without a promise that will not go out. Does not throw. */
export interface Unsent {
  unsent(number: number, reason: unknown): void;
}

/**
 * Where the first frame stands: so its bytes begin at a multiple of 64. Copied to 12 bytes behind
 * the beginning of a page, 4 KiB take twenty times as long (facts: #copies-that-alias).
 */
const BEGIN = 64 - CHANNEL_HEADER;
const ROOM = BEGIN + CHANNEL_HEADER + PACKET_BYTES;
/** Of a batch at first: many channels may have one each. */
const SMALL_ROOM = 4096;

/** Memory of a batch that was sent, for the next one. */
let spare: Room | null = null;

/** A message without a promise. */
interface Posted {
  readonly end: number;
  readonly number: number;
  readonly whom: Unsent;
}

/** Messages in a row, no more than one packet takes. */
export class Batch {
  #room: Room;
  #at = BEGIN;
  #messages = 0;
  readonly #posted: Posted[] = [];
  /** Of those that are awaited, all together, and where the last of them ends. */
  #awaited: PromiseWithResolvers<void> | null = null;
  #awaitedEnd = 0;

  constructor() {
    this.#room = spare ?? new Room(SMALL_ROOM);
    spare = null;
  }

  get messages(): number {
    return this.#messages;
  }

  /** Where all frames are; good until `recycle`. */
  get place(): OwnBytes {
    return { address: this.#room.address + BEGIN, bytes: this.#at - BEGIN };
  }

  /** A copy of the frames from byte `from` on. */
  rest(from: number): Uint8Array {
    return this.#room.bytes.slice(BEGIN + from, this.#at);
  }

  /** In `frameBytes`, the header of the first one not counted. */
  hasRoom({ maxBytes }: Content, frameBytes: number): boolean {
    return this.#at - BEGIN + maxBytes <= frameBytes;
  }

  /** Add a message that fits and has a promise, one for all of these. */
  addAwaited(label: Label, content: Content): Promise<void> {
    this.#add(label, content);
    this.#awaited ??= Promise.withResolvers<void>();
    this.#awaitedEnd = this.#at - BEGIN;
    return this.#awaited.promise;
  }

  /** The same, without a promise. */
  addPosted(label: Label, content: Content, whom: Unsent): void {
    this.#add(label, content);
    this.#posted.push({ end: this.#at - BEGIN, number: label.number, whom });
  }

  #add(label: Label, content: Content): void {
    if (this.#at + CHANNEL_HEADER + content.maxBytes > this.#room.bytes.length) this.#grow();
    this.#at += putFrame(this.#room, this.#at, { label, content });
    this.#messages++;
  }

  #grow(): void {
    const room = new Room(ROOM);
    room.bytes.set(this.#room.bytes.subarray(0, this.#at));
    this.#room = room;
  }

  /** The first `bytes` bytes are out: the messages that they complete are settled. */
  sent(bytes: number): void {
    if (this.#awaitedEnd <= bytes) {
      this.#awaited?.resolve();
      this.#awaited = null;
    }
    const posted = this.#posted;
    let out = 0;
    while (out < posted.length && posted[out]!.end <= bytes) out++;
    if (out === posted.length) posted.length = 0;
    else posted.splice(0, out);
  }

  /** The rest will not be sent. */
  failed(reason: unknown): void {
    this.#awaited?.reject(reason);
    this.#awaited = null;
    for (const { whom, number } of this.#posted.splice(0)) whom.unsent(number, reason);
  }

  /** The bytes are not used any more. */
  recycle(): void {
    if (spare === null || spare.bytes.length <= this.#room.bytes.length) spare = this.#room;
  }
}

/** One message that goes at once is put together here. */
const scratch = new Room(ROOM);

/** Where the frame of a message of at most PACKET_BYTES is; good until the next one. */
export function shortFrame(label: Label, content: Content): OwnBytes {
  const bytes = putFrame(scratch, BEGIN, { label, content });
  return { address: scratch.address + BEGIN, bytes };
}

/** A copy of what follows the first `sent` bytes of that frame. */
export const restOfShort = ({ bytes }: OwnBytes, sent: number): Uint8Array =>
  scratch.bytes.slice(BEGIN + sent, BEGIN + bytes);

interface Whole {
  readonly label: Label;
  readonly content: Content;
}

/** Write a frame at byte `at`; how many bytes it is. Runs no code of the caller's. */
function putFrame(into: Room, at: number, { label, content }: Whole): number {
  const { data, fds } = content;
  const begin = at + CHANNEL_HEADER;
  let bytes: number;
  if (typeof data === "string") bytes = into.text.write(data, begin);
  else {
    bytes = bytesIn(data);
    into.bytes.set(data, begin);
  }
  const { kind, number } = label;
  encodeChannelHeader(into.bytes, { kind, number, bytes, fds: fds.length, more: false }, at);
  return CHANNEL_HEADER + bytes;
}
