// From a payload to one sendmsg.

import { errno } from "../../native/errno.ts";
import { NO_ID } from "../../native/file.ts";
import { limits, SCM_MAX_FD } from "../../native/socket.ts";
import { formatAddress } from "../address/address.ts";
import type { Data, Payload } from "../base/data.ts";
import { check, type ErrorDetail, UnixError } from "../base/errors.ts";
import { type ListRule, ownList } from "../base/own-list.ts";
import { closeMany } from "../fd/closing.ts";
import { Fd, type FdLike, fdNumber } from "../fd/fd.ts";
import { whyUnreachable } from "../inspect/reach.ts";
import { encodeControl, encodeFds } from "../structs/cmsg.ts";
import { type Address, encodeSockaddr } from "../structs/sockaddr-un.ts";
import { closeAll, descriptorFlags, duplicate } from "../syscalls/fd.ts";
import { MessageHeader } from "../syscalls/header.ts";
import {
  asLent,
  bytesIn,
  hasByteElements,
  isView,
  lend,
  lentBytes,
  Memory,
} from "../syscalls/memory.ts";
import { send, sendmsg } from "../syscalls/message.ts";
import { Piece } from "../syscalls/piece.ts";
import { AGAIN } from "../syscalls/result.ts";
import { tooLong } from "./kernel-limits.ts";

/** What may go with the data. */
export interface SendOptions {
  /** Descriptors to pass, at most 253. They stay yours. */
  readonly fds?: readonly FdLike[] | undefined;
  /**
   * Give `fds` away: they are closed once the kernel has them; on failure they are still yours.
   * Takes numbers and Fd objects.
   */
  readonly transfer?: boolean | undefined;
  /**
   * Attach credentials (SCM_CREDENTIALS); what is left out is this process's own. Others than one's
   * own are root's privilege.
   */
  readonly credentials?: { pid?: number; uid?: number; gid?: number } | undefined;
}

/** The most descriptors that one message carries. @see unix(7), SCM_MAX_FD */
export const maxFdsPerMessage = SCM_MAX_FD;

/** A message that is ready to be sent, perhaps in several tries. */
export interface Outgoing {
  readonly parts: readonly Piece[];
  readonly total: number;
  readonly fds: readonly FdLike[];
  /** The numbers of `fds` as they were when it was checked. */
  readonly numbers: readonly number[];
  readonly transfer: boolean;
  readonly credentials: { pid: number; uid: number; gid: number } | undefined;
}

const encoder = new TextEncoder();
const NO_FDS: readonly FdLike[] = [];
const NO_NUMBERS: readonly number[] = [];

const DATA: ListRule = {
  what: "data is a list of pieces",
  max: Number.MAX_SAFE_INTEGER,
  rule: "a list has a length",
};
const FDS: ListRule = {
  what: "fds is an array of descriptors",
  max: SCM_MAX_FD,
  rule: `one message carries at most ${SCM_MAX_FD} descriptors`,
};

/** Check a message as a whole, before any system call. */
export function prepare(data: Payload, options: SendOptions = {}): Outgoing {
  // what runs code of the caller's comes first: getters of the list, of the options, of `fds`
  const list = Array.isArray(data) ? ownList<Data>(data, DATA) : null;
  const { fds: given = NO_FDS, transfer = false, credentials } = options;
  const fds = given === NO_FDS ? NO_FDS : ownFds(given);
  const numbers = checkFds(fds, transfer);
  const whose = credentials && complete(credentials);
  const parts = list === null ? [Piece.of(data)] : piecesOf(list);
  let total = 0;
  for (const part of parts) total += part.bytes;
  return { parts, total, fds, numbers, transfer, credentials: whose };
}

function piecesOf(list: readonly Data[]): Piece[] {
  const pieces = list.map(Piece.of);
  return pieces.length <= limits.IOV_MAX ? pieces : [Piece.join(pieces)];
}

/** `data` as one piece of bytes. */
export const onePiece = (data: Payload): Piece => Piece.join(prepare(data).parts);

/** The caller's list, read once. @throws TypeError, RangeError */
export const ownFds = (fds: readonly FdLike[]): FdLike[] => ownList(fds, FDS);

/** Check descriptors; their numbers, each asked for once. @throws TypeError, RangeError */
export function checkFds(fds: readonly FdLike[], transfer: boolean): readonly number[] {
  if (!Array.isArray(fds)) throw new TypeError(FDS.what);
  const count = fds.length;
  if (!(count <= FDS.max)) throw new RangeError(`${FDS.rule}, not ${count}`);
  if (count === 0) return NO_NUMBERS;
  const numbers: number[] = [];
  for (let i = 0; i < count; i++) {
    const fd = fds[i]!;
    numbers.push(fdNumber(fd));
    if (transfer && typeof fd === "object" && !(fd instanceof Fd)) {
      throw new TypeError("transfer takes numbers and Fd objects: others close their own");
    }
  }
  return numbers;
}

/** Of descriptors that stay the caller's; of one its number, for a list is one object more. */
export const numbersOf = (fds: readonly FdLike[]): number | readonly number[] =>
  Array.isArray(fds) && fds.length === 1 ? fdNumber(fds[0]) : checkFds(fds, false);

function complete({ pid, uid, gid }: { pid?: number; uid?: number; gid?: number }) {
  const whole = {
    pid: pid ?? process.pid,
    uid: uid ?? process.getuid?.() ?? 0,
    gid: gid ?? process.getgid?.() ?? 0,
  };
  for (const [name, value] of Object.entries(whole)) {
    if (!Number.isInteger(value) || value < 0 || value > NO_ID) {
      throw new RangeError(`credentials.${name} is an integer from 0 to ${NO_ID}, not ${value}`);
    }
  }
  return whole;
}

const text = new Memory(64 * 1024);

/** One send of plain data. */
interface Sent {
  /** Bytes taken, or a negative errno. */
  readonly sent: number;
  /** How many there were to send. */
  readonly bytes: number;
}

/** The common case: one piece of data, nothing beside it. */
export function sendPlain(fd: number, data: Data): Sent {
  if (typeof data === "string") {
    if (data.length * 3 > text.bytes.length) return sendPiece(fd, Piece.of(data));
    const bytes = encoder.encodeInto(data, text.bytes).written;
    return { sent: send(fd, text.address, bytes), bytes };
  }
  if (!isView(data)) return sendPiece(fd, Piece.of(data));
  const ready = lentBytes(data);
  if (ready > 0) return { sent: send(fd, asLent(data), ready), bytes: ready };
  const bytes = bytesIn(data);
  return { sent: send(fd, lend(data, bytes), bytes), bytes };
}

function sendPiece(fd: number, piece: Piece): Sent {
  const { bytes } = piece;
  return { sent: send(fd, piece.address(), bytes), bytes };
}

/** Up to this many bytes copying is cheaper than asking for the address of the caller's. */
const SHORT = 1024;

/** Up to this many bytes a loop is faster than `set`. */
const FEW = 32;

const simple = MessageHeader.single(1);

/** One short piece of data with descriptors that were checked: bytes taken, or a negative errno. */
export function sendShort(fd: number, data: Uint8Array, fds: number | readonly number[]): number {
  const bytes = bytesIn(data); // again: what was asked for since may have run the caller's code
  if (bytes === 0 || bytes > SHORT) throw new TypeError("the data was changed meanwhile");
  if (bytes > FEW) text.bytes.set(data, 0);
  else for (let i = 0; i < bytes; i++) text.bytes[i] = data[i]!;
  return sendFrom(fd, text.address, bytes, fds);
}

/** Bytes in memory of ours, which stays where it is. */
export interface OwnBytes {
  readonly address: number;
  readonly bytes: number;
}

/** The same from where the bytes are. */
export function sendFrom(
  fd: number,
  address: number,
  bytes: number,
  fds: number | readonly number[],
): number {
  if (typeof fds !== "number" && fds.length === 0) return send(fd, address, bytes);
  simple.part(0, address, bytes);
  simple.controlBytes = encodeFds(simple.control, fds);
  return sendmsg(fd, simple);
}

/** Whether that is all there is to a message. */
export function isShort(data: Payload, { transfer, credentials }: SendOptions): data is Uint8Array {
  if (transfer === true || credentials !== undefined || !isView(data)) return false;
  const bytes = lentBytes(data);
  return bytes > 0 && bytes <= SHORT && hasByteElements(data, bytes);
}

const header = MessageHeader.single(limits.IOV_MAX);
/**
 * An address keeps nothing alive (facts: #address-keeps-nothing-alive): what the kernel is reading
 * is held here meanwhile.
 */
const held: { parts: readonly Piece[] | null } = { parts: null };

/**
 * Send what follows the first `skip` bytes of `message`, once. `fds` go along: the numbers that
 * were checked. Bytes taken, or a negative errno.
 * @throws TypeError if bytes of the message are gone; then nothing is sent
 */
export function sendOnce(
  fd: number,
  { parts, credentials }: Pick<Outgoing, "parts" | "credentials">,
  { skip = 0, fds, to }: { skip?: number; fds: readonly number[]; to?: Address | undefined },
): number {
  header.parts = fillIovecs(parts, skip);
  held.parts = parts;
  header.controlBytes =
    fds.length === 0 && credentials === undefined
      ? 0
      : encodeControl(header.control, { fds, credentials });
  header.nameBytes = to === undefined ? 0 : encodeSockaddr(to, header.name);
  const sent = sendmsg(fd, header);
  held.parts = null;
  return sent;
}

function fillIovecs(parts: readonly Piece[], skip: number): number {
  let index = 0;
  let left = skip;
  let copied = 0;
  for (const part of parts) {
    const bytes = part.bytes - left;
    if (bytes > SHORT || copied + bytes > text.bytes.length) {
      header.part(index++, part.address(left), bytes);
    } else if (bytes > 0) {
      part.copyTo(text.bytes, copied, left);
      header.part(index++, text.address + copied, bytes);
      copied += bytes;
    }
    left = Math.max(0, -bytes);
  }
  if (index === 0) header.part(index++, text.address, 0); // qemu-user sends nothing without one
  return index;
}

/**
 * Duplicates of descriptors, for a message that has to wait; all or none. All are looked at before
 * the first is made, which could else get the very number of one that is not open.
 */
export function duplicateAll(numbers: readonly number[]): number[] {
  for (const fd of numbers) check(descriptorFlags(fd), "fcntl", { hint: `descriptor ${fd}` });
  const copies: number[] = [];
  for (const fd of numbers) {
    const copy = duplicate(fd);
    if (copy < 0) {
      closeAll(copies);
      throw new UnixError("fcntl", copy, { hint: "a queued message keeps duplicates" });
    }
    copies.push(copy);
  }
  return copies;
}

/**
 * The kernel has them: with `transfer` the sender's own are closed now, each once. A number that is
 * listed twice is one descriptor, and one that an Fd in the list owns is closed with that.
 */
export function closeTransferred({
  fds,
  numbers,
  transfer,
}: Pick<Outgoing, "fds" | "numbers" | "transfer">): void {
  if (!transfer) return;
  const rest = new Set(numbers);
  fds.forEach((fd, i) => {
    if (!(fd instanceof Fd)) return;
    rest.delete(numbers[i]!);
    fd.close();
  });
  closeMany([...rest]);
}

const hints = new Map<number, string>([
  [errno.EPIPE, "the peer has closed its end or shut down reading"],
  [errno.ETOOMANYREFS, "too many descriptors are in flight: the receivers must take some first"],
  [errno.EBADF, "one of the descriptors is not open"],
  [errno.EINVAL, "io_uring descriptors cannot be passed; credentials need at least one byte"],
  [errno.ESRCH, "credentials.pid names no live process"],
]);

/** What a message brings beside its data. */
export type OutgoingAncillary = Pick<Outgoing, "fds" | "credentials">;

/**
 * The error of a send that failed with `result`: to an address, or on a socket that is, or was,
 * connected.
 */
export function sendError(
  result: number,
  message: OutgoingAncillary,
  { to, connected }: { to?: Address | undefined; connected?: Address | null } = {},
): UnixError {
  const place = to === undefined ? left.get(-result) : whyUnreachable(to, result);
  const where = to ?? (place === undefined ? null : connected);
  const detail: ErrorDetail = {
    hint: place ?? hintFor(result, message),
    address: where ? formatAddress(where) : undefined,
  };
  return new UnixError("sendmsg", result, detail);
}

function hintFor(result: number, message: OutgoingAncillary): string | undefined {
  if (result === -errno.EPERM) return whyForbidden(message);
  return result === -errno.EMSGSIZE ? tooLong() : hints.get(-result);
}

/** A datagram's receiver went away: once the first, and the second from then on (unix(7)). */
const left = new Map<number, string>([
  [errno.ECONNREFUSED, "the receiver has gone, and the connection with it: connect() again"],
  [errno.ENOTCONN, "not connected, or the receiver has gone: connect() again"],
]);

function whyForbidden({ fds, credentials }: OutgoingAncillary): string {
  if (credentials !== undefined) return "credentials other than one's own are root's privilege";
  if (fds.length > 0) return "the receiver refuses descriptors (SO_PASSRIGHTS is off)";
  return "the receiver is connected to another socket";
}

/** True if `result` only means "not now". */
export const wouldBlock = (result: number): boolean => result === AGAIN;
