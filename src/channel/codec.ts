// Values ↔ bytes, with descriptors anywhere in a value.

import { Fd, type FdLike } from "../fd/fd.ts";
import { bytesIn, hasByteElements, isView } from "../syscalls/memory.ts";
import { dataOf, type Frame, notAFrame } from "./frames.ts";

/** What a value becomes on its way. */
export interface Encoded {
  /** Text is sent as UTF-8. */
  readonly data: string | Uint8Array;
  /** In the order in which the data names them. */
  readonly fds: readonly FdLike[];
}

/** The same, ready to be sent. */
export interface Content extends Encoded {
  /** Bytes that the data takes at most. */
  readonly maxBytes: number;
}

/** Bytes that one UTF-16 unit becomes at most. */
const UTF8_FACTOR = 3;

/** @throws TypeError for what is neither text nor bytes */
export function content(data: string | Uint8Array, fds: readonly FdLike[]): Content {
  if (typeof data === "string") return { data, fds, maxBytes: UTF8_FACTOR * data.length };
  if (!isView(data)) throw new TypeError(NO_BYTES);
  const maxBytes = bytesIn(data);
  if (!hasByteElements(data, maxBytes)) throw new TypeError(NO_BYTES);
  return { data, fds, maxBytes };
}

const NO_BYTES = "what is sent is a Uint8Array or a string";

/**
 * How values become bytes and back. `encode` gets what the caller sends. `decode` gets bytes from
 * the peer, which may be anything, and the descriptors that came; it may throw, and a descriptor
 * that is not in the value it returns is closed with the message.
 */
export interface Codec<In = unknown, Out = unknown> {
  /** What `value` is sent as. @throws what it likes: nothing is sent then */
  encode(value: Out): Encoded;
  /** The value that came. @throws what it likes: the channel ends with it */
  decode(data: Uint8Array, fds: readonly Fd[]): In;
}

/** A codec that looks at bytes where they are; what it returns must not refer to them. */
export interface FrameCodec<In = unknown, Out = unknown> {
  encode(value: Out): Content;
  open(frame: Frame): In;
}

/** In memory of its own: what comes next stands behind it, and its owner may transfer it. */
const copyOf = ({ from, at, bytes: count }: Frame): Uint8Array => from.bytes.slice(at, at + count);

/** Names a descriptor in JSON: `{ "$fd": 0 }` is the first of the message. */
const KEY = "$fd";
const OWN_KEY = /^\$+fd$/;
const DOLLAR = 0x24;
/** The same in a text, perhaps with escapes: without it there is nothing to look for. */
const MARK = '$fd"';
const ESCAPED = "\\u00";

/**
 * Whether `value` travels as a descriptor: an object of a class, not a plain one, with a numeric
 * `fd`: an Fd, a socket, a listener, a SharedMemory, a FileHandle.
 */
function carriesFd(value: unknown): value is { readonly fd: number } {
  if (typeof value !== "object" || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype === Object.prototype || prototype === null || Array.isArray(value)) return false;
  return typeof (value as { fd?: unknown }).fd === "number";
}

/** Deeper than this nothing is looked at; JSON.stringify's own way is slower, and always right. */
const MAX_LOOK = 64;

/** A method that JSON.stringify asks for the value, which may name descriptors; a Date does not. */
const saysItself = (value: object): boolean =>
  typeof (value as { toJSON?: unknown }).toJSON === "function" && !(value instanceof Date);

const isPlaceLike = (key: string): boolean => key.charCodeAt(0) === DOLLAR && OWN_KEY.test(key);

/** Whether plain JSON would lose something: a descriptor, or a key that looks like a place. */
function isSpecial(value: unknown, depth = 0): boolean {
  if (typeof value !== "object" || value === null) return false;
  if (depth === MAX_LOOK || carriesFd(value) || saysItself(value)) return true;
  if (Array.isArray(value)) {
    for (const one of value as unknown[]) {
      if (typeof one === "object" && isSpecial(one, depth + 1)) return true;
    }
    return false;
  }
  for (const key in value) {
    if (isPlaceLike(key)) return true;
    const one = (value as Record<string, unknown>)[key];
    if (typeof one === "object" && isSpecial(one, depth + 1)) return true;
  }
  return false;
}

/** Only JSON.stringify knows what becomes of it. */
const UNKNOWN = Symbol("a value that JSON.stringify has to be asked about");

/** A copy for plain JSON: descriptors have become places, keys that look like one are escaped. */
function withPlaces(value: unknown, fds: FdLike[], depth = 0): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (carriesFd(value)) return { [KEY]: place(fds, value) };
  if (depth === MAX_LOOK || saysItself(value)) return UNKNOWN;
  if (Array.isArray(value)) return arrayWithPlaces(value, fds, depth);
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) {
    return isSpecial(value, depth) ? UNKNOWN : value; // perhaps a Number, which is a number there
  }
  const copy: Record<string, unknown> = {};
  for (const key of Object.keys(value)) {
    const inner = withPlaces((value as Record<string, unknown>)[key], fds, depth + 1);
    if (inner === UNKNOWN) return UNKNOWN;
    set(copy, isPlaceLike(key) ? `$${key}` : key, inner);
  }
  return copy;
}

function arrayWithPlaces(value: readonly unknown[], fds: FdLike[], depth: number): unknown {
  const copy: unknown[] = [];
  for (const one of value) {
    const inner = withPlaces(one, fds, depth + 1);
    if (inner === UNKNOWN) return UNKNOWN;
    copy.push(inner);
  }
  return copy;
}

/** The number of a descriptor in its message; the same object has the same. */
function place(fds: FdLike[], fd: { readonly fd: number }): number {
  const known = fds.indexOf(fd);
  return known >= 0 ? known : fds.push(fd) - 1;
}

/** JSON.stringify's function: descriptors become places, keys that look like one are escaped. */
function replacer(fds: FdLike[]): (this: unknown, key: string, value: unknown) => unknown {
  return function (this: unknown, key: string, value: unknown): unknown {
    const raw: unknown = (this as Record<string, unknown>)[key];
    if (carriesFd(raw)) return { [KEY]: place(fds, raw) };
    if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
    if (!Object.keys(value).some((one) => OWN_KEY.test(one))) return value;
    const escaped = (one: string): string => (OWN_KEY.test(one) ? `$${one}` : one);
    return Object.fromEntries(Object.entries(value).map(([one, inner]) => [escaped(one), inner]));
  };
}

/** Values nested deeper are no messages: JSON.stringify takes seconds to fail at such a value. */
const MAX_DEPTH = 2500;
const unit = {
  quote: 0x22,
  backslash: 0x5c,
  open: 0x5b,
  close: 0x5d,
  brace: 0x7b,
  end: 0x7d,
} as const;

/** How often `one` stands in `text`; no more than `max` are counted. */
function count(text: string, one: string, max: number): number {
  let found = 0;
  for (let at = text.indexOf(one); at >= 0 && found < max; at = text.indexOf(one, at + 1)) found++;
  return found;
}

/** Whether JSON is nested too deep; what is short, or has few arrays and objects, cannot be. */
function isTooDeep(text: string): boolean {
  if (text.length <= 2 * MAX_DEPTH) return false;
  const arrays = count(text, "[", MAX_DEPTH + 1);
  if (arrays + count(text, "{", MAX_DEPTH + 1 - arrays) <= MAX_DEPTH) return false;
  let depth = 0;
  let quoted = false;
  for (let i = 0; i < text.length; i++) {
    const one = text.charCodeAt(i);
    if (quoted) {
      if (one === unit.backslash) i++;
      else quoted = one !== unit.quote;
    } else if (one === unit.quote) quoted = true;
    else if (one === unit.open || one === unit.brace) {
      if (++depth > MAX_DEPTH) return true;
    } else if (one === unit.close || one === unit.end) depth--;
  }
  return false;
}

const encoder = JSON.stringify;
const NO_FDS: readonly FdLike[] = Object.freeze([]);
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
/** What stands in the place of bytes that are no UTF-8. */
const REPLACEMENT = "\ufffd";

function encodeJson(value: unknown): Content {
  if (isSpecial(value)) return encodeSpecial(value);
  const data = encoder(value);
  if (data === undefined) throw new TypeError(`JSON has no ${typeof value}`);
  return content(data, NO_FDS);
}

function encodeSpecial(value: unknown): Content {
  let fds: FdLike[] = [];
  const copy = withPlaces(value, fds);
  let data: string | undefined;
  if (copy !== UNKNOWN) data = encoder(copy);
  else data = encoder(value, replacer((fds = [])));
  if (data === undefined) throw new TypeError(`JSON has no ${typeof value}`);
  if (isTooDeep(data)) throw new TypeError(`a value is nested deeper than ${MAX_DEPTH}`);
  return content(data, fds);
}

/** A place, perhaps with escapes. One character is found fast, several are not. */
const mayHavePlaces = (text: string): boolean =>
  (text.includes("$") && text.includes(MARK)) || (text.includes("\\") && text.includes(ESCAPED));

/** Whether a key may be written otherwise than as "$fd", or have been escaped. */
const mayHaveEscapes = (text: string): boolean => text.includes("$$") || text.includes("\\");

function openJson(frame: Frame): unknown {
  const { from, at, bytes: length, fds } = frame;
  let value: unknown;
  let text: string;
  try {
    text = from.text.toString("utf8", at, at + length);
    if (text.includes(REPLACEMENT)) text = decoder.decode(dataOf(frame)); // throws if it is none
  } catch (cause) {
    throw notAFrame("a message is no JSON in UTF-8", cause);
  }
  if (isTooDeep(text)) throw notAFrame(`a value is nested deeper than ${MAX_DEPTH}`);
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw notAFrame("a message is no JSON in UTF-8", cause);
  }
  return mayHavePlaces(text) ? revive(value, fds, mayHaveEscapes(text)) : value;
}

/** Put descriptors into their places; a loop, for the peer chooses the depth. */
function revive(value: unknown, fds: readonly Fd[], escapes: boolean): unknown {
  const root = { value };
  const left: object[] = [root];
  for (let holder = left.pop(); holder !== undefined; holder = left.pop()) {
    for (const key of Object.keys(holder)) {
      const own = (holder as Record<string, unknown>)[key];
      if (typeof own !== "object" || own === null) continue;
      if (Array.isArray(own) || !(escapes || KEY in own)) left.push(own);
      else {
        const revived = reviveObject(own as Record<string, unknown>, fds);
        if (revived !== own) set(holder, key, revived);
        if (!(revived instanceof Fd)) left.push(revived);
      }
    }
  }
  return root.value;
}

/** Anybody may choose the key "__proto__", which is a property like others here. */
function set(holder: object, key: string, value: unknown): void {
  if (key !== "__proto__") (holder as Record<string, unknown>)[key] = value;
  else {
    const property = { value, writable: true, enumerable: true, configurable: true };
    Object.defineProperty(holder, key, property);
  }
}

function reviveObject(value: Record<string, unknown>, fds: readonly Fd[]): object {
  const keys = Object.keys(value);
  if (keys.length === 1 && keys[0] === KEY) return fdAt(value[KEY], fds);
  if (!keys.some(isPlaceLike)) return value;
  if (!keys.includes(KEY)) {
    const entries = keys.map((key) => [isPlaceLike(key) ? key.slice(1) : key, value[key]]);
    return Object.fromEntries(entries);
  }
  throw notAFrame(NO_SUCH);
}

const NO_SUCH = "a value names a descriptor that did not come";

function fdAt(number: unknown, fds: readonly Fd[]): Fd {
  const fd = typeof number === "number" ? fds[number] : undefined;
  if (fd === undefined) throw notAFrame(NO_SUCH);
  return fd;
}

/** What a caller's codec gave, read once. @throws TypeError */
function checked({ data, fds }: Encoded): Content {
  if (!Array.isArray(fds)) throw new TypeError("a codec's fds is an array of descriptors");
  return content(data, fds);
}

/** A codec of the caller's: what it decodes it may keep, so it gets a copy. */
export const framed = <In, Out>(codec: Codec<In, Out>): FrameCodec<In, Out> => ({
  encode: (value) => checked(codec.encode(value)),
  open: (frame) => codec.decode(copyOf(frame), frame.fds),
});

/** Values as JSON; `{ "$fd": n }` stands for descriptor n. */
export const json: FrameCodec = { encode: encodeJson, open: openJson };

/** Bytes as they are. Descriptors that come are in the message's `fds`. */
export const bytes: FrameCodec<Uint8Array, Uint8Array | string> = {
  encode: (value) => content(value, NO_FDS),
  open: copyOf,
};
