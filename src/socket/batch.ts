// Many messages with one system call: sendmmsg and recvmmsg.

import { type AddressInput, absolute, parseAddress } from "../address/address.ts";
import type { Data, Payload } from "../base/data.ts";
import { ownList } from "../base/own-list.ts";
import { encodeControl } from "../structs/cmsg.ts";
import { type Address, encodeSockaddr, fitsSockaddr } from "../structs/sockaddr-un.ts";
import { descriptorFlags } from "../syscalls/fd.ts";
import { MessageHeader } from "../syscalls/header.ts";
import { isBuffer, isView, Memory } from "../syscalls/memory.ts";
import { recvmmsg, sendmmsg } from "../syscalls/message.ts";
import { Piece } from "../syscalls/piece.ts";
import { AGAIN } from "../syscalls/result.ts";
import { Message, ReceivedFds } from "./message.ts";
import { ancillaryOf, isEnd, type ReceivePolicy, roomFor } from "./receive.ts";
import {
  closeTransferred,
  duplicateAll,
  type Outgoing,
  prepare,
  type SendOptions,
} from "./send.ts";

/** One message of a batch: data alone, or data with what goes beside it. */
export type BatchMessage =
  | Data
  | (SendOptions & {
      readonly data: Payload;
      /** Datagram sockets: where it goes. */
      readonly to?: AddressInput | undefined;
    });

/** A checked message: text stays text. */
export type Item = string | Piece | (Outgoing & { readonly to: Address | undefined });

/** Data alone, as opposed to data with what goes beside it. */
export const isBare = (item: Item): item is string | Piece =>
  typeof item === "string" || item instanceof Piece;

const BATCH = {
  what: "a batch is an array of messages",
  max: Number.MAX_SAFE_INTEGER,
  rule: "a batch has a length",
};

/** Check all of a batch, before any system call. @throws TypeError, RangeError */
export function toBatch(messages: readonly BatchMessage[]): Item[] {
  return ownList(messages, BATCH).map(toItem);
}

function toItem(message: BatchMessage): Item {
  if (typeof message === "string") return message;
  if (isView(message) || isBuffer(message)) return Piece.of(message);
  if (typeof message !== "object" || message === null || !("data" in message)) {
    throw new TypeError("a message of a batch is data, or an object with data");
  }
  const { data, to, ...options } = message;
  // a batch may have to wait: what a path means now
  return {
    ...prepare(data, options),
    to: to === undefined ? undefined : absolute(parseAddress(to)),
  };
}

/** Headers that are filled and sent at a time, and the bytes that each copies of short data. */
const CHUNK = 64;
const SHORT = 2048;

interface Room {
  readonly headers: readonly MessageHeader[];
  readonly memory: Memory;
}

let outgoing: Room | null = null;
const encoder = new TextEncoder();
/**
 * An address keeps nothing alive (facts: #address-keeps-nothing-alive): long data is held here
 * while the kernel reads it.
 */
const held: { data: Piece[] } = { data: [] };

/**
 * How many of `items` were taken; a negative errno if not even the first one was.
 * @throws TypeError if bytes of the first one are gone
 */
export function sendBatchOnce(fd: number, items: readonly Item[]): number {
  outgoing ??= { headers: MessageHeader.array(CHUNK), memory: new Memory(CHUNK * SHORT) };
  let total = 0;
  while (total < items.length) {
    const count = fillChunk(outgoing, items, total);
    if (count === 0) break;
    const sent = sendmmsg(fd, outgoing.headers, count);
    held.data.length = 0;
    if (sent < 0) return total > 0 ? total : sent;
    for (let i = 0; i < sent; i++) transferred(items[total + i]!);
    total += sent;
    if (sent < count) break;
  }
  return total;
}

/**
 * How many are ready, from item `from` on. A message whose bytes are gone is left for the next
 * call, as its first.
 */
function fillChunk({ headers, memory }: Room, items: readonly Item[], from: number): number {
  const count = Math.min(items.length - from, CHUNK);
  let i = 0;
  try {
    for (; i < count; i++) fill(headers[i]!, memory, i, items[from + i]!);
  } catch (error) {
    if (from + i === 0) throw error;
  }
  return i;
}

function fill(header: MessageHeader, memory: Memory, index: number, item: Item): void {
  const at = index * SHORT;
  header.nameBytes = 0;
  header.controlBytes = 0;
  if (typeof item === "string") fillText(header, memory, at, item);
  else if (item instanceof Piece) fillPiece(header, memory, at, item);
  else fillWhole(header, memory, at, item);
}

function fillWhole(
  header: MessageHeader,
  memory: Memory,
  at: number,
  { parts, credentials, to, numbers: fds }: Exclude<Item, string | Piece>,
): void {
  fillPiece(header, memory, at, Piece.join(parts));
  if (fds.length > 0 || credentials !== undefined) {
    header.controlBytes = encodeControl(header.control, { fds, credentials });
  }
  if (to !== undefined) header.nameBytes = encodeSockaddr(to, header.name);
}

function fillText(header: MessageHeader, memory: Memory, at: number, data: string): void {
  if (data.length * 3 > SHORT) {
    fillPiece(header, memory, at, Piece.of(data));
    return;
  }
  const { written } = encoder.encodeInto(data, memory.bytes.subarray(at, at + SHORT));
  header.part(0, memory.address + at, written);
}

function fillPiece(header: MessageHeader, memory: Memory, at: number, piece: Piece): void {
  if (piece.bytes > SHORT) {
    header.part(0, piece.address(), piece.bytes);
    held.data.push(piece);
    return;
  }
  piece.copyTo(memory.bytes, at);
  header.part(0, memory.address + at, piece.bytes);
}

function transferred(item: Item): void {
  if (!isBare(item)) closeTransferred(item);
}

/** Messages that have to wait, with duplicates of descriptors: the caller may close its own. */
export class WaitingItems implements Disposable {
  readonly items: readonly Item[];
  readonly #copies: ReceivedFds[] = [];

  /** @throws UnixError EMFILE: nothing is held then */
  constructor(items: readonly Item[]) {
    try {
      this.items = items.map((item) => this.#hold(item));
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  #hold(item: Item): Item {
    if (isBare(item) || item.transfer || item.numbers.length === 0) return item;
    const closed = item.numbers.some((fd) => descriptorFlags(fd) < 0);
    if (closed) return item; // its own send reports that, after those before it
    const copies = new ReceivedFds(duplicateAll(item.numbers), "sendBatch");
    this.#copies.push(copies);
    const { numbers } = copies;
    return { ...item, fds: numbers, numbers };
  }

  [Symbol.dispose](): void {
    for (const copies of this.#copies) copies.close();
  }
}

/** True if every address of the batch fits into a sockaddr_un as it is. */
export function allFit(items: readonly Item[]): boolean {
  return items.every((item) => isBare(item) || item.to === undefined || fitsSockaddr(item.to));
}

/** Memory that one batch may fill; if it is not enough, fewer messages come at a time. */
const MAX_BYTES = 64 * 1024 * 1024;
/** Enough for the largest batch so far: one array, because the kernel takes one. */
let incoming: MessageHeader[] = [];

function headersFor(count: number): MessageHeader[] {
  if (incoming.length < count) incoming = MessageHeader.array(count);
  return incoming;
}

/** What is here, at most `max` messages; null: the end; undefined: nothing now. */
export function receiveBatchOnce(
  fd: number,
  rules: ReceivePolicy,
  { max, maxBytes, fail }: { max: number; maxBytes: number; fail: (result: number) => never },
): Message[] | null | undefined {
  const count = Math.max(1, Math.min(max, Math.floor(MAX_BYTES / maxBytes)));
  const headers = headersFor(count);
  const memory = roomFor(count * maxBytes);
  for (let i = 0; i < count; i++) {
    headers[i]!.part(0, memory.address + i * maxBytes, maxBytes);
  }
  const received = recvmmsg(fd, headers, count, rules.wantSender);
  if (received === AGAIN) return undefined;
  if (received < 0) return fail(received);
  const messages: Message[] = [];
  for (let i = 0; i < received; i++) {
    const header = headers[i]!;
    const bytes = header.transferred;
    // an end after messages: it is still there for the next call
    if (bytes === 0 && isEnd(header, rules)) break;
    const data = memory.bytes.slice(i * maxBytes, i * maxBytes + bytes);
    messages.push(new Message(data, ancillaryOf(header, rules)));
  }
  return messages.length > 0 ? messages : null;
}
