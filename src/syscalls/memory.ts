// Memory that C sees. A small typed array moves, and an address keeps nothing alive
// (facts: #small-arrays-move, #address-keeps-nothing-alive), so: every block is an explicit
// ArrayBuffer, held by the object that knows its address.
//
// A caller's value may lie: an own property, a subclass or a Proxy can answer anything to
// `byteLength`, and a buffer may be detached, transferred or resized at any time. So callers' bytes
// get their address and length here and nowhere else, from the engine's own getters.

import { type Pointer, ptr, toArrayBuffer } from "bun:ffi";

/** A block of zeroed memory that stays where it is for as long as this object lives. */
export class Memory {
  readonly buffer: ArrayBuffer;
  readonly bytes: Uint8Array;
  readonly words: Int32Array;
  readonly view: DataView;
  readonly address: number;

  /** @param size in bytes, rounded up to a multiple of 8 */
  constructor(size: number) {
    this.buffer = new ArrayBuffer(Math.ceil(size / 8) * 8);
    this.bytes = new Uint8Array(this.buffer);
    this.words = new Int32Array(this.buffer);
    this.view = new DataView(this.buffer);
    this.address = ptr(this.buffer);
  }
}

/** Two words for out-parameters of one call: lengths, pairs of descriptors, small options. */
export const cells = new Memory(64);

const { call } = Function.prototype;
const { apply } = Reflect;

interface Getter {
  (): unknown;
  call(self: unknown): unknown;
}

/** The engine's own getters, taken before any code could replace them. */
const intrinsic = (of: object, name: string): Getter =>
  Object.getOwnPropertyDescriptor(of, name)!.get as Getter;

/** `getter.call` is what the engine makes fast, as long as it is what it was. */
const ask = <T>(getter: Getter, value: unknown): T =>
  (getter.call === call ? getter.call(value) : apply(getter, value, [])) as T;

const TypedArray: object = Object.getPrototypeOf(Uint8Array.prototype);
const typedBytes = intrinsic(TypedArray, "byteLength");
const typedOffset = intrinsic(TypedArray, "byteOffset");
const typedBuffer = intrinsic(TypedArray, "buffer");
/** How many elements. */
const typedCount = intrinsic(TypedArray, "length");
const dataBytes = intrinsic(DataView.prototype, "byteLength");
const dataOffset = intrinsic(DataView.prototype, "byteOffset");
const dataBuffer = intrinsic(DataView.prototype, "buffer");
const bufferBytes = intrinsic(ArrayBuffer.prototype, "byteLength");
const sharedBytes = intrinsic(SharedArrayBuffer.prototype, "byteLength");
/** Throws for a view whose bytes are gone: its length of 0 does not tell that from an empty one. */
const stillThere = call.bind((TypedArray as { keys: () => unknown }).keys) as (
  view: unknown,
) => unknown;
/** A Proxy of a view is none. */
export const { isView } = ArrayBuffer;

/** Of bytes that were given and are no longer there. */
export const goneBytes = (): TypeError =>
  new TypeError("the bytes are gone: their buffer was detached, transferred or made smaller");

/**
 * How many bytes `view` has at this moment. No code of the caller's is run.
 * @throws TypeError for what is no view, and if its bytes are gone
 */
export function bytesIn(view: unknown): number {
  let bytes: number;
  try {
    bytes = ask(typedBytes, view);
  } catch {
    return dataViewBytes(view);
  }
  if (bytes === 0) checkStillThere(view);
  return bytes;
}

function dataViewBytes(view: unknown): number {
  if (!isView(view)) throw new TypeError("the bytes are a view of an ArrayBuffer");
  try {
    return ask(dataBytes, view);
  } catch {
    throw goneBytes();
  }
}

function checkStillThere(view: unknown): void {
  try {
    stillThere(view);
  } catch {
    throw goneBytes();
  }
}

/**
 * Where the first `bytes` bytes of a caller's view are, good until the caller's next chance to run.
 * Touching `.buffer` moves a small array to where it then stays; no bytes have no address, and need
 * none.
 * @throws TypeError if there are fewer by now
 */
export function addressOf(view: ArrayBufferView, bytes: number = bytesIn(view)): number {
  if (bytes === 0) return cells.address;
  if (bytesIn(view) < bytes) throw goneBytes();
  return ptr(bufferOf(view) as ArrayBuffer) + offsetOf(view);
}

function bufferOf(view: ArrayBufferView): ArrayBufferLike {
  try {
    return ask(typedBuffer, view);
  } catch {
    return ask(dataBuffer, view);
  }
}

function offsetOf(view: ArrayBufferView): number {
  try {
    return ask(typedOffset, view);
  } catch {
    return ask(dataOffset, view);
  }
}

declare const lent: unique symbol;

/** A view that C gets as it is; what is not ours becomes one by {@link lend} alone. */
export type Lent = Uint8Array & { readonly [lent]: true };

/** A caller's view of `bytes` bytes ({@link bytesIn}) for one call, which must follow at once. */
export function lend(view: ArrayBufferView, bytes: number): Lent | number {
  if (bytes === 0) return cells.address;
  try {
    ask(typedBytes, view);
    return view as Lent;
  } catch {
    // Bun 1.3 takes typed arrays for pointers, but no DataView
    return ptr(ask<ArrayBuffer>(dataBuffer, view)) + ask<number>(dataOffset, view);
  }
}

/**
 * How many bytes are in a view that C gets as it is ({@link asLent}). 0: there are none, or it is
 * something else, of which {@link bytesIn} and {@link lend} know more.
 */
export function lentBytes(view: unknown): number {
  try {
    return ask(typedBytes, view);
  } catch {
    return 0;
  }
}

/** What {@link lentBytes} has found bytes in, for one call, which must follow at once. */
export const asLent = (view: unknown): Lent => view as Lent;

/** Elements of one byte, whatever the view says that it is. */
export function hasByteElements(view: ArrayBufferView, bytes: number = bytesIn(view)): boolean {
  try {
    return ask(typedCount, view) === bytes;
  } catch {
    return false;
  }
}

/** A view of ours, of bytes `from` to `to` of a caller's view. @throws TypeError: they are gone */
export function viewOf(view: ArrayBufferView, from = 0, to: number = bytesIn(view)): Uint8Array {
  if (bytesIn(view) < to) throw goneBytes();
  return new Uint8Array(bufferOf(view), offsetOf(view) + from, to - from);
}

/** A copy of a caller's bytes. @throws TypeError: they are gone */
export const copyOf = (view: ArrayBufferView): Uint8Array => new Uint8Array(viewOf(view));

/** The same as {@link viewOf}, as a Buffer, which node:stream takes as it is. */
export function bufferOver(view: ArrayBufferView): Buffer {
  const bytes = bytesIn(view);
  return Buffer.from(bufferOf(view) as ArrayBuffer, offsetOf(view), bytes);
}

/** The bytes of a caller's whole buffer; null: it is none. @throws TypeError: they are gone */
export function wholeOf(buffer: unknown): Uint8Array | null {
  if (!isBuffer(buffer)) return null;
  try {
    return new Uint8Array(buffer);
  } catch {
    throw goneBytes();
  }
}

/** An ArrayBuffer or SharedArrayBuffer. */
export function isBuffer(value: unknown): value is ArrayBuffer {
  return answers(bufferBytes, value) || answers(sharedBytes, value);
}

function answers(getter: Getter, value: unknown): boolean {
  try {
    ask(getter, value);
    return true;
  } catch {
    return false;
  }
}

const encoder = new TextEncoder();

/** A NUL-terminated copy of `text` as UTF-8, for C. Hold it for as long as C reads it. */
export function cString(text: string): Memory {
  return bytesToC(encoder.encode(text));
}

/** A NUL-terminated copy of `bytes`. */
export function bytesToC(bytes: Uint8Array): Memory {
  const memory = new Memory(bytesIn(bytes) + 1);
  memory.bytes.set(bytes);
  return memory;
}

/** bun:ffi's nominal type for an address. */
export const asPointer = (address: number): Pointer => address as Pointer;

/** toArrayBuffer with a deallocator, which its published types leave out. */
const managed = toArrayBuffer as (
  address: Pointer,
  offset: number,
  bytes: number,
  context: Pointer,
  deallocator: Pointer,
) => ArrayBuffer;

/**
 * A buffer over `bytes` at `address`; `deallocator(address, context)` when it is no longer
 * referenced.
 */
export function managedBuffer(
  address: number,
  bytes: number,
  { context, deallocator }: { context: number; deallocator: number },
): ArrayBuffer {
  return managed(asPointer(address), 0, bytes, asPointer(context), asPointer(deallocator));
}
