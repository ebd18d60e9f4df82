// From one recvmsg to a message.

import { errno } from "../../native/errno.ts";
import { message as flag, option } from "../../native/socket.ts";
import { timespec } from "../../native/time.ts";
import { UnixError } from "../base/errors.ts";
import { closeMany } from "../fd/closing.ts";
import { Fd } from "../fd/fd.ts";
import { cmsgSpace, decodeControl, firstType, onlyFd } from "../structs/cmsg.ts";
import { securityLabel } from "../structs/credentials.ts";
import { type Address, decodeSockaddr } from "../structs/sockaddr-un.ts";
import { setCloseOnExec } from "../syscalls/fd.ts";
import { MessageHeader } from "../syscalls/header.ts";
import { addressOf, bufferOver, Memory } from "../syscalls/memory.ts";
import { recvmsg } from "../syscalls/message.ts";
import { AGAIN } from "../syscalls/result.ts";
import { knownIds } from "../users/known-ids.ts";
import { type Ancillary, Message, Received, ReceivedFds } from "./message.ts";

/** How a socket receives its messages. */
export interface ReceivePolicy {
  /** The place named in the warning about forgotten descriptors. */
  readonly place: string;
  /** Descriptors handed to the user per message; those beyond are closed. */
  readonly acceptFds: number;
  /** Ask who sent it: datagrams, and what may come from a bound peer. */
  readonly wantSender: boolean;
  /**
   * What no data means. "end": a stream has ended, even if there is ancillary data (with
   * SO_PASSCRED it does). "end-unless-ancillary": an empty packet if it has ancillary data, else
   * the end. "message": an empty datagram.
   */
  readonly zeroBytes: "end" | "end-unless-ancillary" | "message";
}

/**
 * Data of one receive call unless the user says otherwise; large: one copy out of a large buffer is
 * cheap (facts: #large-receive-buffer).
 */
export const receiveBytes = 256 * 1024;

const shared = new Memory(receiveBytes);
const header = MessageHeader.single(1);

/**
 * A buffer of up to this many bytes is kept; a larger one goes at a garbage collection, unless in
 * use.
 */
const KEPT_BYTES = 4 * 1024 * 1024;
let kept: Memory = shared;
let large: WeakRef<Memory> | undefined;

/** Room for `bytes` bytes, good until this thread's next call. Keep the object meanwhile. */
export function roomFor(bytes: number): Memory {
  if (bytes <= kept.bytes.length) return kept;
  if (bytes <= KEPT_BYTES) return (kept = new Memory(bytes));
  const last = large?.deref();
  if (last !== undefined && last.bytes.length >= bytes) return last;
  const memory = new Memory(bytes);
  large = new WeakRef(memory);
  return memory;
}

/** A copy of the first `bytes` bytes of `from`. */
export type CopyOut = (from: Memory, bytes: number) => Uint8Array;

/** One message of at most `maxBytes`; null: the end; undefined: nothing now. */
export function receiveOnce(
  fd: number,
  rules: ReceivePolicy,
  maxBytes: number,
  copyOut: CopyOut = copy,
): Message | null | undefined {
  const memory = maxBytes <= receiveBytes ? shared : roomFor(maxBytes);
  header.part(0, memory.address, maxBytes);
  const bytes = recvmsg(fd, header, rules.wantSender);
  if (bytes < 0) return blockedOrError(bytes);
  if (bytes === 0 && isEnd(header, rules)) return null;
  return new Message(copyOut(memory, bytes), ancillaryOf(header, rules));
}

/** Up to this many bytes a loop is faster than slice (facts: #slice-of-a-typed-array). */
const MAX_LOOP_BYTES = 128;
/** Bytes of one turn of it. */
const STEP = 8;

function copy({ bytes: from }: Memory, bytes: number): Uint8Array {
  if (bytes > MAX_LOOP_BYTES) return from.slice(0, bytes);
  const to = new Uint8Array(bytes);
  let i = 0;
  for (; i + STEP <= bytes; i += STEP) {
    to[i] = from[i]!;
    to[i + 1] = from[i + 1]!;
    to[i + 2] = from[i + 2]!;
    to[i + 3] = from[i + 3]!;
    to[i + 4] = from[i + 4]!;
    to[i + 5] = from[i + 5]!;
    to[i + 6] = from[i + 6]!;
    to[i + 7] = from[i + 7]!;
  }
  for (; i < bytes; i++) to[i] = from[i]!;
  return to;
}

let seen: { readonly memory: Memory; readonly bytes: Buffer } | null = null;

/** As a Buffer from the start: made of bytes it takes long (facts: #buffer-of-small-bytes). */
export function copyToBuffer(memory: Memory, bytes: number): Buffer {
  if (seen?.memory !== memory) seen = { memory, bytes: bufferOver(memory.bytes) };
  const to = Buffer.allocUnsafe(bytes);
  seen.bytes.copy(to, 0, 0, bytes);
  return to;
}

/** The caller's bytes, or memory of ours. */
export type Room = ArrayBufferView | Memory;

/**
 * The same into the first `room` bytes of the caller's own.
 * @throws TypeError if they are gone; the message stays where it is
 */
export function receiveIntoOnce(
  fd: number,
  rules: ReceivePolicy,
  into: Room,
  room: number,
): Received | null | undefined {
  header.part(0, into instanceof Memory ? into.address : addressOf(into, room), room);
  const bytes = recvmsg(fd, header, rules.wantSender);
  if (bytes < 0) return blockedOrError(bytes);
  if (bytes === 0 && isEnd(header, rules)) return null;
  return new Received(bytes, ancillaryOf(header, rules));
}

/** Whether no data is the end; descriptors that came with an end are closed. */
export function isEnd(from: MessageHeader, rules: ReceivePolicy): boolean {
  if (rules.zeroBytes === "end-unless-ancillary") return from.controlBytes === 0;
  if (rules.zeroBytes === "end") new Received(0, ancillaryOf(from, rules)).close();
  return rules.zeroBytes === "end";
}

function blockedOrError(result: number): undefined {
  return result === AGAIN ? undefined : receiveFailed(result);
}

/** The error of a receive that failed. */
export function receiveFailed(result: number): never {
  const reset = result === -errno.ECONNRESET;
  const hint = reset ? "the peer closed with data of ours unread" : undefined;
  throw new UnixError("recvmsg", result, { hint });
}

function sender(from: MessageHeader): Address | undefined {
  if (from.nameBytes === 0) return undefined;
  const address = decodeSockaddr(from.name, from.nameBytes);
  return address.kind === "unnamed" ? undefined : address;
}

const STAMP_ONLY = cmsgSpace(timespec.size); // a timeval is as long

/** The time stamp that tells an empty packet from the end (seqpacket.ts) is not for the user. */
function isStampOnly({ controlBytes, control }: MessageHeader): boolean {
  return controlBytes === STAMP_ONLY && firstType(control) === option.SO_TIMESTAMP;
}

const CUT = flag.MSG_TRUNC | flag.MSG_CTRUNC;

/** What came beside the data of a filled header; null for data alone, all of it. */
export function ancillaryOf(from: MessageHeader, rules: ReceivePolicy): Ancillary | null {
  const address = rules.wantSender ? sender(from) : undefined;
  const alone = from.controlBytes === 0 || isStampOnly(from);
  if (address !== undefined || (from.flags & CUT) !== 0) return decoded(from, rules, address);
  if (alone) return null;
  const fd = onlyFd(from.control, from.controlBytes);
  return fd >= 0 && rules.acceptFds > 0 ? ownFd(fd, rules.place) : decoded(from, rules, address);
}

/** All that can come. */
function decoded(
  from: MessageHeader,
  rules: ReceivePolicy,
  address: Address | undefined,
): Ancillary {
  const control = decodeControl(from.control, from.controlBytes);
  const lost = (from.flags & flag.MSG_CTRUNC) !== 0 || control.fds.length > rules.acceptFds;
  return {
    received: control.fds.length > 0 ? ownFds(control.fds, rules) : null,
    credentials: control.credentials === null ? undefined : knownIds(control.credentials),
    // negative is an errno in a descriptor's place: this process is at its limit
    // (facts: #pidfd-may-be-an-errno)
    pidfd: (control.pidfd ?? -1) >= 0 ? Fd.of(control.pidfd ?? -1, rules.place, "ours") : undefined,
    security: control.security === null ? undefined : securityLabel(control.security),
    from: address,
    truncated: (from.flags & flag.MSG_TRUNC) !== 0,
    fdsTruncated: lost,
  };
}

function ownFd(fd: number, place: string): ReceivedFds {
  if (flag.MSG_CMSG_CLOEXEC === null) setCloseOnExec(fd, true);
  return new ReceivedFds(fd, place);
}

/** Give descriptors an owner, and close those beyond what the socket accepts. */
function ownFds(fds: number[], { acceptFds, place }: ReceivePolicy): ReceivedFds | null {
  if (fds.length > acceptFds) closeMany(fds.splice(acceptFds));
  if (flag.MSG_CMSG_CLOEXEC === null) for (const fd of fds) setCloseOnExec(fd, true);
  return fds.length > 0 ? new ReceivedFds(fds, place) : null;
}
