// From a payload to one sendmsg.

import { errno } from "../native/errno.ts";
import { limits, SCM_MAX_FD } from "../native/socket.ts";
import { formatAddress } from "./address.ts";
import { check, type ErrorDetail, UnixError, unreachable } from "./errors.ts";
import { Fd, type FdLike, fdNumber } from "./fd.ts";
import type { Data, Payload } from "./message.ts";
import { encodeControl } from "./structs/cmsg.ts";
import { type Address, encodeSockaddr } from "./structs/sockaddr-un.ts";
import { Envelope } from "./syscalls/envelope.ts";
import { close, closeAll, descriptorFlags, duplicate } from "./syscalls/fd.ts";
import { addressOf, Memory } from "./syscalls/memory.ts";
import { send, sendmsg } from "./syscalls/message.ts";
import { AGAIN } from "./syscalls/result.ts";

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
  readonly parts: readonly Uint8Array[];
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

/** `data` as bytes, without a copy. */
function toView(data: Data): Uint8Array {
  if (data instanceof Uint8Array) return data;
  if (typeof data === "string") return encoder.encode(data);
  if (ArrayBuffer.isView(data)) {
    return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  }
  if (isBuffer(data)) return new Uint8Array(data);
  throw new TypeError(`data is a string, an ArrayBuffer or a view of one, not ${typeof data}`);
}

/** One piece of data, as opposed to a list of them or a message around it. */
export function isData(value: unknown): value is Data {
  return typeof value === "string" || ArrayBuffer.isView(value) || isBuffer(value);
}

function isBuffer(data: unknown): data is ArrayBuffer {
  return data instanceof ArrayBuffer || data instanceof SharedArrayBuffer;
}

function toViews(data: Payload): Uint8Array[] {
  if (!Array.isArray(data)) return [toView(data as Data)];
  const views = (data as readonly Data[]).map(toView);
  return views.length <= limits.IOV_MAX ? views : [Buffer.concat(views)];
}

/** Check a message as a whole, before any system call. */
export function prepare(data: Payload, options: SendOptions = {}): Outgoing {
  const parts = toViews(data);
  let total = 0;
  for (const part of parts) total += part.byteLength;
  const { fds = NO_FDS, transfer = false, credentials } = options;
  const numbers = checkFds(fds, transfer);
  return {
    parts,
    total,
    fds,
    numbers,
    transfer,
    credentials: credentials && complete(credentials),
  };
}

/** Check descriptors; their numbers. @throws TypeError, RangeError */
export function checkFds(fds: readonly FdLike[], transfer: boolean): readonly number[] {
  if (!Array.isArray(fds)) throw new TypeError("fds is an array of descriptors");
  if (fds.length > SCM_MAX_FD) {
    throw new RangeError(
      `one message carries at most ${SCM_MAX_FD} descriptors, not ${fds.length}`,
    );
  }
  if (fds.length === 0) return NO_NUMBERS;
  const numbers: number[] = [];
  for (const fd of fds) {
    numbers.push(fdNumber(fd));
    if (transfer && typeof fd === "object" && !(fd instanceof Fd)) {
      throw new TypeError("transfer takes numbers and Fd objects: others close their own");
    }
  }
  return numbers;
}

const ID_LIMIT = 2 ** 32 - 1;

function complete({ pid, uid, gid }: { pid?: number; uid?: number; gid?: number }) {
  const whole = {
    pid: pid ?? process.pid,
    uid: uid ?? process.getuid?.() ?? 0,
    gid: gid ?? process.getgid?.() ?? 0,
  };
  for (const [name, value] of Object.entries(whole)) {
    if (!Number.isInteger(value) || value < 0 || value > ID_LIMIT) {
      throw new RangeError(`credentials.${name} is an integer from 0 to ${ID_LIMIT}, not ${value}`);
    }
  }
  return whole;
}

const text = new Memory(64 * 1024);

/** How many bytes the last `sendPlain` had to send. */
export let plainTotal = 0;

/** The common case: one piece of data, nothing beside it. Bytes taken, or a negative errno. */
export function sendPlain(fd: number, data: Data): number {
  if (typeof data !== "string") {
    const view = ArrayBuffer.isView(data) ? data : toView(data);
    plainTotal = view.byteLength;
    return send(fd, view, plainTotal);
  }
  if (data.length * 3 > text.bytes.length) return sendPlain(fd, encoder.encode(data));
  plainTotal = encoder.encodeInto(data, text.bytes).written;
  return send(fd, text.bytes, plainTotal);
}

/** Up to so many bytes copying is cheaper than asking where the caller's are. */
const SHORT = 1024;

const simple = Envelope.single(1);

/** One short piece of data with descriptors that were checked: bytes taken, or a negative errno. */
export function sendShort(fd: number, data: Uint8Array, numbers: readonly number[]): number {
  text.bytes.set(data, 0);
  simple.part(0, text.address, data.byteLength);
  simple.controlBytes = encodeControl(simple.control, { fds: numbers });
  return sendmsg(fd, simple);
}

/** Whether that is all there is to a message. */
export function isShort(data: Payload, { transfer, credentials }: SendOptions): data is Uint8Array {
  if (transfer === true || credentials !== undefined) return false;
  return data instanceof Uint8Array && data.byteLength > 0 && data.byteLength <= SHORT;
}

const envelope = Envelope.single(limits.IOV_MAX);
/** An address keeps nothing alive (F2): what the kernel is reading is held here meanwhile. */
const held: { parts: readonly Uint8Array[] | null } = { parts: null };

/**
 * Send what follows the first `skip` bytes of `message`, once. `fds` go along: the numbers that
 * were checked. Bytes taken, or a negative errno.
 */
export function sendOnce(
  fd: number,
  { parts, credentials }: Pick<Outgoing, "parts" | "credentials">,
  { skip = 0, fds, to }: { skip?: number; fds: readonly number[]; to?: Address | undefined },
): number {
  held.parts = parts;
  envelope.parts = pointAt(parts, skip);
  envelope.controlBytes =
    fds.length === 0 && credentials === undefined
      ? 0
      : encodeControl(envelope.control, { fds, credentials });
  envelope.nameBytes = to === undefined ? 0 : encodeSockaddr(to, envelope.name);
  const sent = sendmsg(fd, envelope);
  held.parts = null;
  return sent;
}

function pointAt(parts: readonly Uint8Array[], skip: number): number {
  let index = 0;
  let left = skip;
  let copied = 0;
  for (const part of parts) {
    const bytes = part.byteLength - left;
    if (bytes > SHORT || copied + bytes > text.bytes.length) {
      envelope.part(index++, addressOf(part) + left, bytes);
    } else if (bytes > 0) {
      text.bytes.set(left === 0 ? part : part.subarray(left), copied);
      envelope.part(index++, text.address + copied, bytes);
      copied += bytes;
    }
    left = Math.max(0, -bytes);
  }
  if (index === 0) envelope.part(index++, text.address, 0); // qemu-user sends nothing without one
  return index;
}

/**
 * Duplicates of descriptors, for a message that has to wait; all or none. All are looked at before
 * the first is made, which could else get the very number of one that is not open.
 */
export function duplicateAll(fds: readonly FdLike[]): number[] {
  const numbers = fds.map(fdNumber);
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

/** The kernel has them: with `transfer` the sender's own are closed now. */
export function closeTransferred({ fds, transfer }: Pick<Outgoing, "fds" | "transfer">): void {
  if (!transfer) return;
  for (const fd of fds) {
    if (fd instanceof Fd) fd.close();
    else close(fdNumber(fd));
  }
}

const hints = new Map<number, string>([
  [errno.EPIPE, "the peer has closed its end or shut down reading"],
  [errno.ETOOMANYREFS, "too many descriptors are in flight: the receivers must take some first"],
  [errno.EBADF, "one of the descriptors is not open"],
  [errno.EMSGSIZE, "a message must fit into the send buffer: raise sendBufferBytes"],
  [errno.EINVAL, "io_uring descriptors cannot be passed; credentials need at least one byte"],
  [errno.ESRCH, "credentials.pid names no live process"],
]);

/** What a message brings beside its data. */
export type Beside = Pick<Outgoing, "fds" | "credentials">;

/**
 * The error of a send that failed with `result`: to an address, or where the socket is, or was,
 * connected.
 */
export function sendError(
  result: number,
  message: Beside,
  { to, connected }: { to?: Address | undefined; connected?: Address | null } = {},
): UnixError {
  const place = (to === undefined ? left : unreachable).get(-result);
  const where = to ?? (place === undefined ? null : connected);
  const detail: ErrorDetail = {
    hint: result === -errno.EPERM ? whyForbidden(message) : (place ?? hints.get(-result)),
    address: where ? formatAddress(where) : undefined,
  };
  return new UnixError("sendmsg", result, detail);
}

/** A datagram's receiver went away: once the first, and the second from then on (unix(7)). */
const left = new Map<number, string>([
  [errno.ECONNREFUSED, "the receiver has gone, and the connection with it: connect() again"],
  [errno.ENOTCONN, "connected to nobody, or to one who has gone: connect() again"],
]);

function whyForbidden({ fds, credentials }: Beside): string {
  if (credentials !== undefined) return "credentials other than one's own are root's privilege";
  if (fds.length > 0) return "the receiver refuses descriptors (SO_PASSRIGHTS is off)";
  return "the receiver is connected to another socket";
}

/** True where `result` only means "not now". */
export const wouldBlock = (result: number): boolean => result === AGAIN;
