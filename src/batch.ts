// Many messages with one system call: sendmmsg and recvmmsg.

import { type AddressInput, absolute, parseAddress } from "./address.ts";
import { beside, isEnd, type Rules } from "./incoming.ts";
import { type Data, Message, type Payload } from "./message.ts";
import { closeTransferred, isData, type Outgoing, prepare, type SendOptions } from "./outgoing.ts";
import { encodeControl } from "./structs/cmsg.ts";
import { type Address, encodeSockaddr, fitsSockaddr } from "./structs/sockaddr-un.ts";
import { Envelope } from "./syscalls/envelope.ts";
import { addressOf, Memory } from "./syscalls/memory.ts";
import { recvmmsg, sendmmsg } from "./syscalls/message.ts";
import { AGAIN } from "./syscalls/result.ts";

/** One message of a batch: data alone, or data with what goes beside it. */
export type BatchMessage =
  | Data
  | (SendOptions & {
      readonly data: Payload;
      /** Datagram sockets: where it goes. */
      readonly to?: AddressInput | undefined;
    });

/** A checked message: data alone stays as it came. */
export type Item = Data | (Outgoing & { readonly to: Address | undefined });

/** Check all of a batch, before any system call. @throws TypeError, RangeError */
export function toBatch(messages: readonly BatchMessage[]): Item[] {
  if (!Array.isArray(messages)) throw new TypeError("a batch is an array of messages");
  return messages.map(toItem);
}

function toItem(message: BatchMessage): Item {
  if (isData(message)) return message;
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
  readonly envelopes: readonly Envelope[];
  readonly memory: Memory;
}

let outgoing: Room | null = null;
const encoder = new TextEncoder();
/** An address keeps nothing alive (F2): long data is held here while the kernel reads it. */
const held: { data: unknown[] } = { data: [] };

/** How many of `items` were taken; a negative errno where not even the first one was. */
export function sendBatchOnce(fd: number, items: readonly Item[]): number {
  outgoing ??= { envelopes: Envelope.array(CHUNK), memory: new Memory(CHUNK * SHORT) };
  const { envelopes, memory } = outgoing;
  let total = 0;
  while (total < items.length) {
    const count = Math.min(items.length - total, CHUNK);
    for (let i = 0; i < count; i++) fill(envelopes[i]!, memory, i, items[total + i]!);
    const sent = sendmmsg(fd, envelopes, count);
    held.data.length = 0;
    if (sent < 0) return total > 0 ? total : sent;
    for (let i = 0; i < sent; i++) transferred(items[total + i]!);
    total += sent;
    if (sent < count) break;
  }
  return total;
}

function fill(envelope: Envelope, memory: Memory, index: number, item: Item): void {
  const at = index * SHORT;
  envelope.nameBytes = 0;
  envelope.controlBytes = 0;
  if (isData(item)) {
    fillData(envelope, memory, at, item);
    return;
  }
  const { parts, credentials, to } = item;
  fillData(envelope, memory, at, parts.length === 1 ? parts[0]! : Buffer.concat(parts));
  const fds = item.numbers;
  if (fds.length > 0 || credentials !== undefined) {
    envelope.controlBytes = encodeControl(envelope.control, { fds, credentials });
  }
  if (to !== undefined) envelope.nameBytes = encodeSockaddr(to, envelope.name);
}

function fillData(envelope: Envelope, { bytes, address }: Memory, at: number, data: Data): void {
  if (typeof data === "string") {
    if (data.length * 3 > SHORT) fillLong(envelope, encoder.encode(data));
    else {
      const { written } = encoder.encodeInto(data, bytes.subarray(at, at + SHORT));
      envelope.part(0, address + at, written);
    }
  } else if (data instanceof Uint8Array && data.byteLength <= SHORT) {
    bytes.set(data, at);
    envelope.part(0, address + at, data.byteLength);
  } else {
    fillLong(envelope, ArrayBuffer.isView(data) ? data : new Uint8Array(data));
  }
}

function fillLong(envelope: Envelope, data: ArrayBufferView): void {
  held.data.push(data);
  envelope.part(0, addressOf(data), data.byteLength);
}

function transferred(item: Item): void {
  if (!isData(item)) closeTransferred(item);
}

/** True where every address of the batch fits into a sockaddr_un as it is. */
export function allFit(items: readonly Item[]): boolean {
  return items.every((item) => isData(item) || item.to === undefined || fitsSockaddr(item.to));
}

let incoming: (Room & { readonly maxBytes: number }) | null = null;
/** Memory that one batch may fill; where it is not enough, fewer messages come at a time. */
const MOST_BYTES = 64 * 1024 * 1024;

function roomFor(max: number, maxBytes: number): Room {
  if (incoming === null || incoming.maxBytes < maxBytes || incoming.envelopes.length < max) {
    const count = Math.max(1, Math.min(max, Math.floor(MOST_BYTES / maxBytes)));
    const envelopes = Envelope.array(count);
    incoming = { envelopes, memory: new Memory(count * maxBytes), maxBytes };
  }
  return incoming;
}

/** What is here, at most `max` messages; null: the end; undefined: nothing now. */
export function receiveBatchOnce(
  fd: number,
  rules: Rules,
  { max, maxBytes, fail }: { max: number; maxBytes: number; fail: (result: number) => never },
): Message[] | null | undefined {
  const { envelopes, memory } = roomFor(max, maxBytes);
  const count = Math.min(max, envelopes.length);
  for (let i = 0; i < count; i++) {
    envelopes[i]!.part(0, memory.address + i * maxBytes, maxBytes);
  }
  const received = recvmmsg(fd, envelopes, count, rules.named);
  if (received === AGAIN) return undefined;
  if (received < 0) return fail(received);
  const messages: Message[] = [];
  for (let i = 0; i < received; i++) {
    const envelope = envelopes[i]!;
    const bytes = envelope.transferred;
    // an end after messages: it is still there for the next call
    if (bytes === 0 && isEnd(envelope, rules)) break;
    const data = memory.bytes.slice(i * maxBytes, i * maxBytes + bytes);
    messages.push(new Message(data, beside(envelope, rules)));
  }
  return messages.length > 0 ? messages : null;
}
