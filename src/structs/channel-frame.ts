// Frames of a channel (docs/channel.md): bytes ↔ values. What is not exactly a header is null: any
// process may be at the other end.

/** What a message is for. */
export type ChannelKind = "message" | "request" | "answer" | "error" | "cancel";

/** What stands before a frame's bytes. */
export interface ChannelHeader {
  readonly kind: ChannelKind;
  /** The message goes on in the next frame. */
  readonly more: boolean;
  /** Descriptors that belong to this frame. */
  readonly fds: number;
  /** Bytes after the header. */
  readonly bytes: number;
  /** A request's number, the same in its answer, error and cancel; 0 for messages. */
  readonly number: number;
}

/** Bytes of a header. */
export const CHANNEL_HEADER = 12;

/** Descriptors of one frame; a message that has more is split. */
export const MAX_FRAME_FDS = 253;

/** Bytes of one frame after its header: a packet of this size fits into every socket's buffer. */
export const PACKET_BYTES = 64 * 1024;

/** Bytes of one frame after its header that its length can say. */
export const MAX_FRAME_BYTES = 0xffff_ffff;

const kinds = ["message", "request", "answer", "error", "cancel"] as const;
const AT = { bytes: 0, fds: 4, kind: 6, flags: 7, number: 8 } as const;
const MORE = 1;

/** Little-endian, byte by byte: a DataView would be an object for each chunk that comes. */
function read32(from: Uint8Array, at: number): number {
  return (from[at]! | (from[at + 1]! << 8) | (from[at + 2]! << 16) | (from[at + 3]! << 24)) >>> 0;
}

function write32(into: Uint8Array, at: number, value: number): void {
  into[at] = value;
  into[at + 1] = value >>> 8;
  into[at + 2] = value >>> 16;
  into[at + 3] = value >>> 24;
}

/** Write a header at byte `at` of `into`. The caller has checked the ranges. */
export function encodeChannelHeader(into: Uint8Array, header: ChannelHeader, at = 0): void {
  write32(into, at + AT.bytes, header.bytes);
  into[at + AT.fds] = header.fds;
  into[at + AT.fds + 1] = header.fds >>> 8;
  into[at + AT.kind] = header.kind === "message" ? 0 : kinds.indexOf(header.kind);
  into[at + AT.flags] = header.more ? MORE : 0;
  write32(into, at + AT.number, header.number);
}

/** The header at byte `at`; null if there is none. The caller has checked the length. */
export function decodeChannelHeader(from: Uint8Array, at: number): ChannelHeader | null {
  const kind = kinds[from[at + AT.kind]!];
  const flags = from[at + AT.flags]!;
  const fds = from[at + AT.fds]! | (from[at + AT.fds + 1]! << 8);
  const number = read32(from, at + AT.number);
  if (kind === undefined || flags > MORE || fds > MAX_FRAME_FDS) return null;
  if ((kind === "message") !== (number === 0)) return null;
  const bytes = read32(from, at + AT.bytes);
  if ((kind === "error" || kind === "cancel") && fds > 0) return null;
  if (kind === "cancel" && (bytes > 0 || flags !== 0)) return null;
  return { kind, more: flags === MORE, fds, bytes, number };
}
