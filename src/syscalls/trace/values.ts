// Arguments of libc's functions as text, the way strace writes them (src/syscalls/trace/trace.ts).

import { CString, toArrayBuffer } from "bun:ffi";
import { meanings } from "../../../native/errno.ts";
import { signals } from "../../../native/signal.ts";
import { socket as c, cmsghdr, iovec, message, mmsghdr, msghdr } from "../../../native/socket.ts";
import { errnoName } from "../../base/errors.ts";
import { toJson } from "../../base/printable.ts";
import { type ControlData, decodeControl } from "../../structs/cmsg.ts";
import { decodeSockaddr, toBytes } from "../../structs/sockaddr-un.ts";
import { addressOf, asPointer, bytesIn } from "../memory.ts";

/** What a function of libc is given: a number, an address, or a view for its address. */
export type Value = number | ArrayBufferView | null;

/** One call, after it has returned. */
export interface Made {
  readonly args: readonly Value[];
  readonly result: number;
}

/** An argument as text. */
export type Show = (value: Value, made: Made) => string;

/** Most bytes of data that are shown. */
const MAX_DATA = 32;
/** Most parts of a message, and most events, that are looked at. */
const MAX_PARTS = 16;

export const int = (value: Value | undefined): number => (typeof value === "number" ? value : 0);

/** Where the memory is. */
export function addressIn(value: Value): number {
  if (value === null || typeof value === "number") return value ?? 0;
  return bytesIn(value) === 0 ? 0 : addressOf(value);
}

export const hex: Show = (value) => {
  const address = addressIn(value);
  return address === 0 ? "NULL" : `0x${address.toString(16)}`;
};

export const decimal: Show = (value) => String(int(value));
export const octal: Show = (value) => int(value).toString(8).padStart(4, "0");

/** A view of memory that is there for the length of this look at it. */
export function viewAt(address: number, bytes: number): DataView {
  if (address === 0 || bytes <= 0) return new DataView(new ArrayBuffer(0));
  return new DataView(toArrayBuffer(asPointer(address), 0, bytes).slice(0));
}

const word = (view: DataView, at: number): number => Number(view.getBigUint64(at, true));

/** Constants by name; null: not on this system. */
type Table = Readonly<Record<string, number | null>>;

/** Those of `table` that begin with `prefix`: looked for when they are first needed. */
function withPrefix(table: Table, prefix: string): () => readonly [string, number][] {
  let found: [string, number][] | undefined;
  return () => {
    found ??= Object.entries(table).filter(
      (one): one is [string, number] => one[0].startsWith(prefix) && one[1] !== null,
    );
    return found;
  };
}

/** Which constants of `table` with `prefix`, of some bits each, a number is made of. */
export function flags(table: Table, prefix: string): Show {
  const known = withPrefix(table, prefix);
  return (value) => {
    let rest = int(value) >>> 0;
    const names: string[] = [];
    for (const [name, bits] of known()) {
      const all = bits >>> 0;
      if (all === 0 || (rest & all) >>> 0 !== all) continue;
      names.push(name);
      rest = (rest & ~all) >>> 0;
    }
    if (rest !== 0 || names.length === 0) names.push(rest === 0 ? "0" : `0x${rest.toString(16)}`);
    return names.join("|");
  };
}

/** The one constant of `table` with this value and prefix, or the number. */
export function named(table: Table, prefix: string): Show {
  const known = withPrefix(table, prefix);
  return (value) => known().find(([, number]) => number === value)?.[0] ?? String(int(value));
}

const families = named(c, "AF_");
export const messageFlags: Show = flags(message, "MSG_");
export const signalNumber: Show = named(signals, "SIG");

/** Bytes in quotes, at most the first `most`; what is not printable as a letter or `\xHH`. */
export function quoted(bytes: Uint8Array, max = MAX_DATA): string {
  const shown = Array.from(bytes.subarray(0, max), character).join("");
  return `"${shown}"${bytes.length > max ? "..." : ""}`;
}

const letters: Readonly<Record<number, string>> = {
  9: "\\t",
  10: "\\n",
  13: "\\r",
  34: '\\"',
  92: "\\\\",
};
const FIRST_PRINTABLE = 32;
const LAST_PRINTABLE = 126;

function character(byte: number): string {
  const letter = letters[byte];
  if (letter !== undefined) return letter;
  if (byte >= FIRST_PRINTABLE && byte <= LAST_PRINTABLE) return String.fromCharCode(byte);
  return `\\x${byte.toString(16).padStart(2, "0")}`;
}

const bytesAt = (address: number, length: number): Uint8Array =>
  new Uint8Array(viewAt(address, length).buffer);

function data(address: number, length: number): string {
  const shown = quoted(bytesAt(address, Math.min(length, MAX_DATA)));
  return length > MAX_DATA ? `${shown}...` : shown;
}

/** The caller's data, `args[2]` bytes of it. */
export const dataIn: Show = (value, { args }) => data(addressIn(value), int(args[2]));

/** What came. */
export const dataOut: Show = (value, { result }) =>
  result < 0 ? hex(value, { args: [], result }) : data(addressIn(value), result);

/** A string that ends with a NUL. */
export const text: Show = (value) => {
  const address = addressIn(value);
  if (address === 0) return "NULL";
  return toJson(String(new CString(asPointer(address))));
};

/** A sockaddr of that many bytes. */
export function sockaddr(address: number, length: number): string {
  if (address === 0) return "NULL";
  const bytes = bytesAt(address, length);
  const family = length < 2 ? c.AF_UNSPEC : new DataView(bytes.buffer).getUint16(0, true);
  if (family !== c.AF_UNIX) return `{${families(family, NO_CALL)}, ${length} bytes}`;
  const name = decodeSockaddr(bytes, length);
  if (name.kind === "unnamed") return "{AF_UNIX}";
  if (name.kind === "abstract") return `{AF_UNIX, @${quoted(name.name, length)}}`;
  return `{AF_UNIX, ${quoted(toBytes(name.path), length)}}`;
}

const NO_CALL: Made = { args: [], result: 0 };

/** A length in memory: in for how much room there is, out for how much came. */
export const length: Show = (value, made) =>
  addressIn(value) === 0 ? hex(value, made) : `[${viewAt(addressIn(value), 4).getInt32(0, true)}]`;

/** Two descriptors that a call has made. */
export const two: Show = (value, made) => {
  if (made.result < 0) return hex(value, made);
  const view = viewAt(addressIn(value), 8);
  return `[${view.getInt32(0, true)}, ${view.getInt32(4, true)}]`;
};

const rights = (fds: readonly number[]): string => `SCM_RIGHTS [${fds.join(", ")}]`;

function control(address: number, bytes: number): string {
  if (address === 0 || bytes === 0) return "";
  const found: ControlData = decodeControl(viewAt(address, bytes), bytes);
  const parts: string[] = [];
  if (found.fds.length > 0) parts.push(rights(found.fds));
  const who = found.credentials;
  if (who !== null) {
    parts.push(`SCM_CREDENTIALS {pid=${who.pid}, uid=${who.uid}, gid=${who.gid}}`);
  }
  if (found.pidfd !== null) parts.push(`SCM_PIDFD [${found.pidfd}]`);
  if (found.security !== null) parts.push("SCM_SECURITY");
  if (bytes < cmsghdr.size) return "";
  return `, control ${bytes} bytes${parts.length > 0 ? `: ${parts.join(", ")}` : ""}`;
}

function parts(address: number, count: number): string {
  const looked = Math.min(count, MAX_PARTS);
  const view = viewAt(address, looked * iovec.size);
  const sizes = Array.from({ length: looked }, (_, i) =>
    word(view, i * iovec.size + iovec.at.iov_len),
  );
  if (count === 1) return `iov 1×${sizes[0]} bytes`;
  return `iov ${count}: ${sizes.join("+")}${count > looked ? "+…" : ""} bytes`;
}

/** The msghdr at an address: its name, its parts, its control data, the flags that came. */
function header(address: number, received: boolean): string {
  const view = viewAt(address, msghdr.size);
  const at = msghdr.at;
  const nameBytes = view.getInt32(at.msg_namelen, true);
  const count = view.getInt32(at.msg_iovlen, true);
  const name = nameBytes === 0 ? "" : `${sockaddr(word(view, at.msg_name), nameBytes)}, `;
  const ancillary = control(word(view, at.msg_control), view.getInt32(at.msg_controllen, true));
  const came = received ? view.getInt32(at.msg_flags, true) : 0;
  const flagged = came === 0 ? "" : `, flags ${messageFlags(came, NO_CALL)}`;
  return `{${name}${parts(word(view, at.msg_iov), count)}${ancillary}${flagged}}`;
}

export const headerIn: Show = (value) => header(addressIn(value), false);
export const headerOut: Show = (value, made) =>
  made.result < 0 ? hex(value, made) : header(addressIn(value), true);

/** As many headers as there are, or as came. */
export function headers(received: boolean): Show {
  return (value, made) => {
    if (received && made.result < 0) return hex(value, made);
    const count = received ? made.result : int(made.args[2]);
    const shown = Array.from({ length: Math.min(count, MAX_PARTS) }, (_, i) =>
      header(addressIn(value) + i * mmsghdr.size, received),
    );
    return `[${shown.join(", ")}${count > MAX_PARTS ? ", …" : ""}]`;
  };
}

/** What a call came back with: a number, or −1 with the errno's name and meaning. */
export function resultText(result: number, errno: number): string {
  if (result >= 0) return String(result);
  const name = errnoName(errno);
  const meaning = (meanings as Readonly<Record<string, string>>)[name];
  return `${result} ${name}${meaning === undefined ? "" : ` (${meaning})`}`;
}
