// Control messages: encode ours, decode whatever comes. The decoder never reads past `length`,
// never trusts a cmsg_len, and reports every descriptor number that lies inside the bytes.

import { cmsgAlign, cmsghdr, option, scm } from "../../native/socket.ts";
import { decodeUcred, encodeUcred, type RawCredentials, ucredBytes } from "./credentials.ts";

const header = cmsghdr.size;
const INT = 4;

const align = (bytes: number): number => (bytes + cmsgAlign - 1) & ~(cmsgAlign - 1);

/** Where the data begins, and the fields after cmsg_len; by name, for this is the hot path. */
const DATA = align(header);
const LEVEL = cmsghdr.at.cmsg_level;
const TYPE = cmsghdr.at.cmsg_type;
const WIDE = cmsghdr.bytes.cmsg_len === 8;
const { SOL_SOCKET } = option;

/** CMSG_LEN and CMSG_SPACE for a payload of `bytes` bytes. */
export const cmsgLength = (bytes: number): number => DATA + bytes;
export const cmsgSpace = (bytes: number): number => DATA + align(bytes);

/** The cmsg_type of the first message in control data; its cmsg_level is not looked at. */
export const firstType = (control: DataView): number => control.getInt32(TYPE, true);

/** Decoded control data. The receiver owns the descriptors from here on. */
export interface ControlData {
  /** Every descriptor of every SCM_RIGHTS, in order. */
  fds: number[];
  /** SCM_CREDENTIALS: what the sender said, checked by the kernel unless the sender is root. */
  credentials: RawCredentials | null;
  /** SCM_PIDFD; negative is an errno, not a descriptor (facts: #pidfd-may-be-an-errno). */
  pidfd: number | null;
  /** SCM_SECURITY: the sender's security label, as bytes. */
  security: Uint8Array | null;
}

export interface ControlOut {
  readonly fds: readonly number[];
  readonly credentials?: { pid: number; uid: number; gid: number } | undefined;
}

/** Bytes of control data that `out` needs. */
export function controlBytes({ fds, credentials }: ControlOut): number {
  const rights = fds.length > 0 ? cmsgSpace(INT * fds.length) : 0;
  return rights + (credentials === undefined ? 0 : cmsgSpace(ucredBytes));
}

/** Write `out` at the start of `view`, credentials before descriptors; the result is its length. */
export function encodeControl(view: DataView, { fds, credentials }: ControlOut): number {
  let at = 0;
  if (credentials !== undefined && scm.SCM_CREDENTIALS !== null) {
    encodeUcred(view, writeHeader(view, at, scm.SCM_CREDENTIALS, ucredBytes), credentials);
    at += cmsgSpace(ucredBytes);
  }
  return fds.length > 0 ? encodeFds(view, fds, at) : at;
}

/** Write a descriptor, or several, at byte `at`; the result is where that ends. */
export function encodeFds(view: DataView, fds: number | readonly number[], at = 0): number {
  const bytes = INT * (typeof fds === "number" ? 1 : fds.length);
  const data = writeHeader(view, at, scm.SCM_RIGHTS, bytes);
  if (typeof fds === "number") view.setInt32(data, fds, true);
  else for (let i = 0; i < fds.length; i++) view.setInt32(data + INT * i, fds[i]!, true);
  return at + cmsgSpace(bytes);
}

function writeHeader(view: DataView, at: number, type: number, bytes: number): number {
  view.setUint32(at, cmsgLength(bytes), true);
  if (WIDE) view.setUint32(at + 4, 0, true);
  view.setInt32(at + LEVEL, SOL_SOCKET, true);
  view.setInt32(at + TYPE, type, true);
  return at + DATA;
}

const ONE_FD = cmsgLength(INT);
const ONE_FD_SPACE = cmsgSpace(INT);

/** The descriptor, if control data is one descriptor and nothing else, as most is; or else −1. */
export function onlyFd(view: DataView, length: number): number {
  const is =
    length === ONE_FD_SPACE &&
    view.getUint32(0, true) === ONE_FD &&
    (!WIDE || view.getUint32(INT, true) === 0) &&
    view.getInt32(LEVEL, true) === SOL_SOCKET &&
    view.getInt32(TYPE, true) === scm.SCM_RIGHTS;
  return is ? view.getInt32(DATA, true) : -1;
}

/** Walk the first `length` bytes of `view`; lengths beyond them are clamped to them. */
export function decodeControl(view: DataView, length: number): ControlData {
  const control: ControlData = { fds: [], credentials: null, pidfd: null, security: null };
  const end = Math.min(length, view.byteLength);
  let at = 0;
  while (at + header <= end) {
    const stated = statedLength(view, at);
    if (stated < header) break;
    const stop = Math.min(at + stated, end);
    if (view.getInt32(at + LEVEL, true) === SOL_SOCKET) {
      const type = view.getInt32(at + TYPE, true);
      decodeOne(control, type, view, at + DATA, stop);
    }
    if (stated > end - at) break; // clamped: nothing can follow, and align would wrap at 2³²
    at += align(stated);
  }
  return control;
}

function statedLength(view: DataView, at: number): number {
  const low = view.getUint32(at, true);
  if (!WIDE) return low;
  return low + view.getUint32(at + INT, true) * 2 ** 32;
}

function decodeOne(
  control: ControlData,
  type: number,
  view: DataView,
  from: number,
  stop: number,
): void {
  if (type === scm.SCM_RIGHTS) {
    for (let i = from; i + INT <= stop; i += INT) control.fds.push(view.getInt32(i, true));
  } else if (type === scm.SCM_CREDENTIALS) {
    if (from + ucredBytes <= stop) control.credentials = decodeUcred(view, from);
  } else if (type === scm.SCM_PIDFD) {
    if (from + INT <= stop) control.pidfd = view.getInt32(from, true); // the kernel sends one
  } else if (type === scm.SCM_SECURITY && from < stop) {
    control.security = new Uint8Array(view.buffer, view.byteOffset + from, stop - from).slice();
  }
}
