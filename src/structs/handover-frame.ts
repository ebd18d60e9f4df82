// The messages of a handover (docs/handover.md): bytes ↔ values. What is not exactly one of them is
// null: any process may be at the other end.

import { isFdName, MAX_FD_NAME } from "./fd-name.ts";

/** A descriptor's entry in the table; the descriptors come beside it, in the same order. */
export interface HandoverEntry {
  readonly name: string;
  /** The socket's file, which the successor removes when it closes. */
  readonly file: HandoverFile | null;
}

/** A file as lstat tells it, and the path by which the predecessor knew it. */
export interface HandoverFile {
  readonly path: Uint8Array;
  readonly dev: number;
  readonly ino: number;
}

/** One message; see docs/handover.md. */
export type HandoverFrame =
  | { readonly kind: "hello" | "ready" | "yours" | "taken" }
  | { readonly kind: "busy"; readonly pid: number }
  | { readonly kind: "refused" | "failed"; readonly reason: string }
  | { readonly kind: "table"; readonly last: boolean; readonly entries: readonly HandoverEntry[] };

/** Of the first table's first entry: the socket that successors connect to. */
export const CONTROL = "";

export const HANDOVER_VERSION = 1;
/** The longest message. */
export const FRAME_BYTES = 65_536;
/** Entries in one table message: this many of the longest fit. */
export const FRAME_ENTRIES = 14;
const NAME_BYTES = MAX_FD_NAME;
const PATH_BYTES = 4_096;
const REASON_BYTES = 1_024;

const MAGIC = 0x4f_48_58_42; // "BXHO"
const kinds = ["hello", "busy", "refused", "table", "ready", "yours", "taken", "failed"] as const;
/** These mean the same in every version, so that different versions can end a handover in order. */
const lasting: ReadonlySet<string> = new Set(["refused", "failed"]);

const HEADER = 8;
const at = { magic: 0, version: 4, kind: 5, count: 6 } as const;
const LAST = 1;
const HAS_FILE = 1;
const ENTRY_HEADER = 4; // flags u8, name's bytes u8, path's bytes u16
const FILE_BYTES = 16; // dev and ino, as the doubles that lstat gives

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Whether a descriptor may have that name. */
export const isHandoverName = isFdName;

/** @throws RangeError for what does not fit; the caller has checked names and paths */
export function encodeFrame(frame: HandoverFrame): Uint8Array {
  const body = bodyOf(frame);
  const bytes = new Uint8Array(HEADER + body.length);
  if (bytes.length > FRAME_BYTES) throw new RangeError(`a frame has ${bytes.length} bytes`);
  const view = new DataView(bytes.buffer);
  view.setUint32(at.magic, MAGIC, true);
  view.setUint8(at.version, HANDOVER_VERSION);
  view.setUint8(at.kind, kinds.indexOf(frame.kind));
  if (frame.kind === "table") {
    view.setUint16(at.count, (frame.entries.length << 1) | (frame.last ? LAST : 0), true);
  }
  bytes.set(body, HEADER);
  return bytes;
}

function bodyOf(frame: HandoverFrame): Uint8Array {
  if ("pid" in frame) return new Uint8Array(Uint32Array.of(frame.pid).buffer);
  if ("reason" in frame) return clipped(encoder.encode(frame.reason));
  if (!("entries" in frame)) return new Uint8Array(0);
  const parts = frame.entries.map(encodeEntry);
  const body = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let offset = 0;
  for (const part of parts) {
    body.set(part, offset);
    offset += part.length;
  }
  return body;
}

/** Not in the middle of a character. */
function clipped(bytes: Uint8Array): Uint8Array {
  let end = Math.min(bytes.length, REASON_BYTES);
  while (end < bytes.length && end > 0 && (bytes[end]! & 0xc0) === 0x80) end -= 1;
  return bytes.subarray(0, end);
}

function encodeEntry({ name, file }: HandoverEntry): Uint8Array {
  const text = encoder.encode(name);
  const path = file?.path ?? new Uint8Array(0);
  if (text.length > NAME_BYTES) throw new RangeError(`the name ${name} is too long`);
  if (path.length > PATH_BYTES) throw new RangeError(`the path of ${name} is too long`);
  const rest = file === null ? 0 : FILE_BYTES;
  const bytes = new Uint8Array(ENTRY_HEADER + text.length + path.length + rest);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, file === null ? 0 : HAS_FILE);
  view.setUint8(1, text.length);
  view.setUint16(2, path.length, true);
  bytes.set(text, ENTRY_HEADER);
  bytes.set(path, ENTRY_HEADER + text.length);
  if (file === null) return bytes;
  view.setFloat64(bytes.length - FILE_BYTES, file.dev, true);
  view.setFloat64(bytes.length - FILE_BYTES / 2, file.ino, true);
  return bytes;
}

/** null: no message of this protocol, or not of this version. */
export function decodeFrame(bytes: Uint8Array): HandoverFrame | null {
  if (bytes.length < HEADER || bytes.length > FRAME_BYTES) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(at.magic, true) !== MAGIC) return null;
  const kind = kinds[view.getUint8(at.kind)];
  if (kind === undefined) return null;
  if (view.getUint8(at.version) !== HANDOVER_VERSION && !lasting.has(kind)) return null;
  const count = view.getUint16(at.count, true);
  const body = bytes.subarray(HEADER);
  if (kind === "table") return decodeTable(body, count);
  if (count !== 0) return null;
  if (kind === "refused" || kind === "failed") return decodeReason(kind, body);
  if (kind === "busy") {
    return body.length === 4 ? { kind, pid: view.getUint32(HEADER, true) } : null;
  }
  return body.length === 0 ? { kind } : null;
}

function decodeReason(kind: "refused" | "failed", body: Uint8Array): HandoverFrame | null {
  if (body.length > REASON_BYTES) return null;
  const reason = textOf(body);
  return reason === null ? null : { kind, reason };
}

function textOf(bytes: Uint8Array): string | null {
  try {
    return decoder.decode(bytes);
  } catch {
    return null;
  }
}

function decodeTable(body: Uint8Array, count: number): HandoverFrame | null {
  const wanted = count >> 1;
  if (wanted > FRAME_ENTRIES) return null;
  const entries: HandoverEntry[] = [];
  let offset = 0;
  for (let i = 0; i < wanted; i++) {
    const found = decodeEntry(body.subarray(offset));
    if (found === null) return null;
    entries.push(found.entry);
    offset += found.bytes;
  }
  if (offset !== body.length) return null;
  return { kind: "table", last: (count & LAST) !== 0, entries };
}

function decodeEntry(from: Uint8Array): { entry: HandoverEntry; bytes: number } | null {
  if (from.length < ENTRY_HEADER) return null;
  const view = new DataView(from.buffer, from.byteOffset, from.byteLength);
  const flags = view.getUint8(0);
  const nameEnd = ENTRY_HEADER + view.getUint8(1);
  const pathBytes = view.getUint16(2, true);
  const hasFile = flags === HAS_FILE;
  const bytes = nameEnd + pathBytes + (hasFile ? FILE_BYTES : 0);
  if (flags > HAS_FILE || bytes > from.length) return null;
  const name = textOf(from.subarray(ENTRY_HEADER, nameEnd));
  if (name === null || (name !== CONTROL && !isHandoverName(name))) return null;
  if (!hasFile) return pathBytes === 0 ? { entry: { name, file: null }, bytes } : null;
  const path = from.slice(nameEnd, nameEnd + pathBytes);
  if (pathBytes === 0 || pathBytes > PATH_BYTES || path[0] !== SLASH || path.includes(0))
    return null;
  const dev = view.getFloat64(bytes - FILE_BYTES, true);
  const ino = view.getFloat64(bytes - FILE_BYTES / 2, true);
  if (!isCount(dev) || !isCount(ino)) return null;
  return { entry: { name, file: { path, dev, ino } }, bytes };
}

const SLASH = 0x2f;

const isCount = (value: number): boolean => Number.isInteger(value) && value >= 0;
