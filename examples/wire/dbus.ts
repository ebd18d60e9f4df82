// D-Bus messages ↔ bytes, little-endian, as far as examples/dbus.ts needs them: bodies of strings
// (s, o, g), numbers (u) and descriptors (h: which one of those that came with the message).
// https://dbus.freedesktop.org/doc/dbus-specification.html

export const types = { call: 1, answer: 2, error: 3, signal: 4 } as const;

/** The fields of a header; the code on the wire is the place in this list, from 1. */
const fields = [
  ["path", "o"],
  ["interface", "s"],
  ["member", "s"],
  ["errorName", "s"],
  ["replySerial", "u"],
  ["destination", "s"],
  ["sender", "s"],
  ["signature", "g"],
  ["fds", "u"], // how many descriptors come with it
] as const;

export type Fields = {
  [F in (typeof fields)[number] as F[0]]?: F[1] extends "u" ? number : string;
};
type Value = string | number;

export interface BusMessage extends Fields {
  type: number;
  serial: number;
  body?: Value[];
}

const PREFIX = 16; // before the first field; the last four of them are the length of all fields
const aligned = (at: number, to: number): number => Math.ceil(at / to) * to;
const sizeOf = (kind: string): number => (kind === "g" ? 1 : 4); // of a number, or of a length

function pad(out: number[], to: number): void {
  while (out.length % to !== 0) out.push(0);
}

function put(out: number[], kind: string, value: Value): void {
  const text = typeof value === "string" ? Buffer.from(value) : null;
  const number = Buffer.alloc(sizeOf(kind));
  number.writeUIntLE(text === null ? Number(value) : text.length, 0, number.length);
  pad(out, number.length);
  out.push(...number);
  if (text !== null) out.push(...text, 0);
}

export function encode({ type, serial, body = [], ...header }: BusMessage): Buffer {
  const content: number[] = [];
  for (const [i, value] of body.entries()) put(content, header.signature?.charAt(i) ?? "", value);
  const out = ["l".charCodeAt(0), type, 0, 1];
  for (const number of [content.length, serial, 0]) put(out, "u", number);
  for (const [i, [name, kind]] of fields.entries()) {
    const value = header[name];
    if (value === undefined) continue;
    pad(out, 8);
    out.push(i + 1, 1, kind.charCodeAt(0), 0);
    put(out, kind, value);
  }
  const length = out.length - PREFIX;
  pad(out, 8);
  const bytes = Buffer.from([...out, ...content]);
  bytes.writeUInt32LE(length, PREFIX - 4);
  return bytes;
}

/** The length of the message that `bytes` begins with, once the first 16 of them are here. */
export function lengthOf(bytes: Buffer): number {
  if (bytes.length < PREFIX) return PREFIX;
  return aligned(PREFIX + bytes.readUInt32LE(PREFIX - 4), 8) + bytes.readUInt32LE(4);
}

export function decode(bytes: Buffer): BusMessage {
  let at = PREFIX;
  const take = (kind: string): Value => {
    const size = sizeOf(kind);
    const start = aligned(at, size) + size;
    const number = bytes.readUIntLE(start - size, size);
    at = start;
    if (kind === "u" || kind === "h") return number;
    at += number + 1; // a NUL ends it
    return bytes.toString("utf8", start, start + number);
  };
  const header: Fields = {};
  const end = PREFIX + bytes.readUInt32LE(PREFIX - 4);
  while (at < end) {
    at = aligned(at, 8) + 4; // the field's code, and its type as a signature
    const [name = "", kind = ""] = fields[bytes.readUInt8(at - 4) - 1] ?? [];
    Object.assign(header, { [name]: take(kind) });
  }
  at = aligned(end, 8);
  const { signature = "" } = header;
  const body = /^[soguh]*$/.test(signature) ? Array.from(signature, take) : [];
  return { ...header, type: bytes.readUInt8(1), serial: bytes.readUInt32LE(8), body };
}
