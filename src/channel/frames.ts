// From what comes through a socket to whole messages, each with its own descriptors.

import { errno } from "../../native/errno.ts";
import { UnixError } from "../base/errors.ts";
import type { Fd } from "../fd/fd.ts";
import type { ReceivedMessage } from "../socket/message.ts";
import {
  CHANNEL_HEADER,
  type ChannelHeader,
  type ChannelKind,
  decodeChannelHeader,
  MAX_FRAME_FDS,
} from "../structs/channel-frame.ts";
import type { Credentials } from "../structs/credentials.ts";
import { Room } from "./room.ts";

/** One message as it came, before its bytes are a value. Its holder owns the descriptors. */
export interface Frame {
  readonly kind: ChannelKind;
  readonly number: number;
  /** Its bytes stand here, until the next frame is asked for or `keep` is called. */
  readonly from: Room;
  readonly at: number;
  readonly bytes: number;
  readonly fds: readonly Fd[];
  /** Of the sender, if the kernel said the same of every part. */
  readonly credentials: Credentials | undefined;
}

/** What a message may need at most. */
export interface FrameLimits {
  readonly maxMessageBytes: number;
  readonly maxFds: number;
}

/** Descriptors that came with one receive call. */
interface Group {
  readonly fds: Fd[];
  /** They belong to a byte before this one, counted from the beginning of the connection. */
  readonly before: number;
}

/** The parts of a message whose end has not come. */
interface Parts {
  readonly first: ChannelHeader;
  /** One piece of memory, however many frames there are: their number is the peer's choice. */
  room: Room;
  bytes: number;
  readonly fds: Fd[];
  /** Who sent it, if all of it came from the same. */
  sender: Sender;
}

const MIXED_CREDENTIALS = Symbol("credentials that differ");
type Sender = Credentials | undefined | typeof MIXED_CREDENTIALS;

/** A view of a frame's bytes. */
export const dataOf = ({ from, at, bytes }: Frame): Uint8Array =>
  from.bytes.subarray(at, at + bytes);

const EMPTY = new Room(0);
const NO_FDS: readonly Fd[] = Object.freeze([]);
const MIN_ROOM = 4096;

/** The peer broke the rules of docs/channel.md: the connection cannot go on. */
export const notAFrame = (hint: string, cause?: unknown): UnixError =>
  new UnixError("channel", -errno.EPROTO, { hint, cause });

/** A message is larger than this side or the other takes. */
export const tooLarge = (hint: string): UnixError =>
  new UnixError("channel", -errno.EMSGSIZE, { hint });

/** Takes in chunks of a stream, or packets, and gives out messages. */
export class FrameReader {
  readonly #limits: FrameLimits;
  readonly #packets: boolean;
  /** Unread bytes are those from `#at` to `#end`. */
  #data: Room = EMPTY;
  /** `#data` is memory of this reader, with room behind what came. */
  #own = false;
  #at = 0;
  #end = 0;
  /** Bytes that came before the first unread one. */
  #passed = 0;
  #groups: Group[] = [];
  #queuedFds = 0;
  #header: ChannelHeader | null = null;
  #parts: Parts | null = null;
  /** Of the unread bytes: what the kernel said of all of them, and of those that came last. */
  #sender: Sender;
  #latest: Credentials | undefined;
  #known = false;

  constructor(limits: FrameLimits, packets: boolean) {
    this.#limits = limits;
    this.#packets = packets;
  }

  /** Whether a message has begun whose end has not come. */
  get partial(): boolean {
    return this.#parts !== null || this.#header !== null || this.#at < this.#end;
  }

  /**
   * Take in the first `bytes` of `from`, which stay there until `keep`, and what came with them;
   * descriptors are owned here from now on. @throws UnixError
   */
  push(from: Room, bytes: number, message: ReceivedMessage): void {
    if (!message.alone) {
      const fds = message.takeFds();
      const before = this.#passed + this.#end - this.#at + bytes;
      if (fds.length > 0) this.#groups.push({ fds, before });
      this.#queuedFds += fds.length;
    }
    if (this.#at === this.#end) this.#point(from, 0, bytes);
    else this.#append(from.bytes.subarray(0, bytes));
    this.#noteSender(message.credentials);
    if (this.#packets && bytes === 0) throw notAFrame("a packet is empty");
    if (message.truncated) throw tooLarge("a packet is longer than the channel takes");
    if (message.fdsTruncated) {
      const hint =
        "descriptors were lost: raise the limit of open files, or the socket's acceptFds";
      throw new UnixError("channel", -errno.EMFILE, { hint });
    }
    if (this.#queuedFds > this.#limits.maxFds + MAX_FRAME_FDS) {
      throw notAFrame("more descriptors came than any message may have");
    }
  }

  /** Others may have the memory that was pushed: what is unread moves into this reader's. */
  keep(): void {
    if (this.#own) return;
    if (this.#at === this.#end) {
      this.#point(EMPTY, 0, 0);
      return;
    }
    const rest = this.#data.bytes.subarray(this.#at, this.#end);
    this.#point(EMPTY, 0, 0);
    this.#append(rest);
  }

  /** The next whole message; undefined: more must come first. @throws UnixError EPROTO, EMSGSIZE */
  next(): Frame | undefined {
    if (this.#header === null && this.#parts === null) {
      if (this.#at === this.#end && this.#queuedFds === 0) return undefined;
      const short = this.#nextShort();
      if (short !== undefined) return short;
    }
    for (;;) {
      const header = (this.#header ??= this.#nextHeader());
      if (header === null) return undefined;
      if (this.#end - this.#at < header.bytes) return this.#incomplete();
      const frame = this.#finish(header);
      if (frame !== undefined) return frame;
    }
  }

  /** The common case: all of one frame is here, and its descriptors are all there are. */
  #nextShort(): Frame | undefined {
    const begin = this.#at + CHANNEL_HEADER;
    if (begin > this.#end) return undefined;
    const header = decodeChannelHeader(this.#data.bytes, this.#at);
    if (header === null || header.more || header.fds !== this.#queuedFds) return undefined;
    const { kind, number, bytes } = header;
    if (begin + bytes > this.#end || bytes > this.#limits.maxMessageBytes) return undefined;
    if (header.fds > this.#limits.maxFds || this.#groups.length > 1) return undefined;
    const from = this.#data;
    this.#at = begin + bytes;
    this.#passed += CHANNEL_HEADER + bytes;
    const fds = header.fds === 0 ? NO_FDS : this.#takeAll();
    const credentials = credentialsOf(this.#takeSender());
    return { kind, number, from, at: begin, bytes, fds, credentials };
  }

  /** The descriptors of the one call that has brought any. */
  #takeAll(): readonly Fd[] {
    const group = this.#groups.pop();
    this.#queuedFds = 0;
    return group?.fds ?? NO_FDS;
  }

  /** Close what will not be asked for any more. */
  close(): void {
    for (const { fds } of this.#groups) for (const fd of fds) fd.close();
    for (const fd of this.#parts?.fds ?? []) fd.close();
    this.#groups = [];
    this.#queuedFds = 0;
    this.#parts = null;
    this.#header = null;
    this.#data = EMPTY;
    this.#at = this.#end = 0;
  }

  #incomplete(): undefined {
    if (this.#packets) throw notAFrame("a packet is shorter than its header says");
    return undefined;
  }

  #append(chunk: Uint8Array): void {
    const rest = this.#end - this.#at;
    const need = rest + chunk.length;
    if (!this.#own || this.#data.bytes.length - this.#end < chunk.length) {
      const room = new Room(Math.max(2 * need, MIN_ROOM));
      room.bytes.set(this.#data.bytes.subarray(this.#at, this.#end));
      this.#point(room, 0, rest);
      this.#own = true;
    }
    this.#data.bytes.set(chunk, this.#end);
    this.#end += chunk.length;
  }

  #point(data: Room, at: number, end: number): void {
    this.#data = data;
    this.#own = false;
    this.#at = at;
    this.#end = end;
  }

  #noteSender(credentials: Credentials | undefined): void {
    if (!this.#known) this.#sender = credentials;
    else if (!sameSender(this.#sender, credentials)) this.#sender = MIXED_CREDENTIALS;
    this.#latest = credentials;
    this.#known = true;
  }

  #nextHeader(): ChannelHeader | null {
    const rest = this.#end - this.#at;
    if (rest < CHANNEL_HEADER) {
      if (rest > 0) this.#incomplete();
      return null;
    }
    const header = decodeChannelHeader(this.#data.bytes, this.#at);
    if (header === null) throw notAFrame("what came is no frame of a channel");
    this.#check(header);
    this.#at += CHANNEL_HEADER;
    this.#passed += CHANNEL_HEADER;
    return header;
  }

  /** Limits, before any memory is taken for what a header announces. */
  #check(header: ChannelHeader): void {
    const parts = this.#parts;
    const { maxMessageBytes, maxFds } = this.#limits;
    if ((parts?.bytes ?? 0) + header.bytes > maxMessageBytes) {
      throw tooLarge(`a message is longer than maxMessageBytes, ${maxMessageBytes}`);
    }
    if ((parts?.fds.length ?? 0) + header.fds > maxFds) {
      throw tooLarge(`a message has more descriptors than maxFds, ${maxFds}`);
    }
    if (header.more && header.bytes === 0 && header.fds === 0) {
      throw notAFrame("a frame that goes on has neither bytes nor descriptors");
    }
    if (parts === null) return;
    const { kind, number } = parts.first;
    if (kind !== header.kind || number !== header.number) {
      throw notAFrame("another message begins in the middle of one");
    }
  }

  #finish(header: ChannelHeader): Frame | undefined {
    const at = this.#at;
    const fds = this.#claim(header.fds);
    this.#header = null;
    this.#at += header.bytes;
    this.#passed += header.bytes;
    const sender = this.#takeSender();
    const { kind, number, bytes } = header;
    if (this.#parts === null && !header.more) {
      this.#noneLeft(fds);
      const credentials = credentialsOf(sender);
      return { kind, number, from: this.#data, at, bytes, fds, credentials };
    }
    this.#parts ??= { first: header, room: EMPTY, bytes: 0, fds: [], sender };
    const parts = this.#parts;
    parts.fds.push(...fds);
    if (!sameSender(parts.sender, sender)) parts.sender = MIXED_CREDENTIALS;
    this.#noneLeft([]);
    addPart(parts, this.#data.bytes.subarray(at, at + bytes), header.more);
    if (header.more) return undefined;
    this.#parts = null;
    const credentials = credentialsOf(parts.sender);
    return {
      kind,
      number,
      from: parts.room,
      at: 0,
      bytes: parts.bytes,
      fds: parts.fds,
      credentials,
    };
  }

  /** The next `count` descriptors; they came with this frame's bytes, or it is none. */
  #claim(count: number): readonly Fd[] {
    if (count === 0) return NO_FDS;
    if (count > this.#queuedFds) throw notAFrame("a frame claims descriptors that did not come");
    const claimed: Fd[] = [];
    while (claimed.length < count) {
      const group = this.#groups[0]!;
      claimed.push(...group.fds.splice(0, count - claimed.length));
      if (group.fds.length === 0) this.#groups.shift();
    }
    this.#queuedFds -= count;
    return claimed;
  }

  /** Descriptors whose byte has been read must belong to a frame by now. */
  #noneLeft(held: readonly Fd[]): void {
    const oldest = this.#groups[0];
    if (oldest === undefined || oldest.before > this.#passed) return;
    for (const fd of held) fd.close();
    throw notAFrame("descriptors came that no frame claims");
  }

  /** Who sent what ends here; bytes that are left came with the last part. */
  #takeSender(): Sender {
    const sender = this.#sender;
    this.#known = this.#at < this.#end;
    this.#sender = this.#latest;
    return sender;
  }
}

function sameSender(a: Sender, b: Sender): boolean {
  if (a === b) return true;
  if (typeof a !== "object" || typeof b !== "object") return false;
  return a.pid === b.pid && a.uid === b.uid && a.gid === b.gid;
}

const credentialsOf = (sender: Sender): Credentials | undefined =>
  sender === MIXED_CREDENTIALS ? undefined : sender;

/** Add a frame's bytes; if more follow, with room for some of them. */
function addPart(parts: Parts, data: Uint8Array, more: boolean): void {
  const need = parts.bytes + data.length;
  if (need > parts.room.bytes.length) {
    const room = new Room(more ? Math.max(2 * need, MIN_ROOM) : need);
    room.bytes.set(parts.room.bytes.subarray(0, parts.bytes));
    parts.room = room;
  }
  parts.room.bytes.set(data, parts.bytes);
  parts.bytes = need;
}

/** Close the descriptors of a message that is dropped. */
export function closeFrame({ fds }: Frame): void {
  for (const fd of fds) fd.close();
}
