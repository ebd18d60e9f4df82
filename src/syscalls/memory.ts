// Memory that C sees. A small typed array moves (F1) and an address keeps nothing alive (F2), so:
// every block is an explicit ArrayBuffer, held by the object that knows its address.

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
    this.buffer = new ArrayBuffer((size + 7) & ~7);
    this.bytes = new Uint8Array(this.buffer);
    this.words = new Int32Array(this.buffer);
    this.view = new DataView(this.buffer);
    this.address = ptr(this.buffer);
  }
}

/** Two words for out-parameters of one call: lengths, pairs of descriptors, small options. */
export const cells = new Memory(64);

/**
 * The address of a caller's bytes, good until the caller's next chance to run. Touching `.buffer`
 * first moves a small array to where it then stays; an empty one has no address, and needs none.
 */
export function addressOf(bytes: ArrayBufferView): number {
  const { buffer, byteOffset, byteLength } = bytes;
  return byteLength === 0 ? cells.address : ptr(buffer as ArrayBuffer) + byteOffset;
}

/** Bytes up to the first NUL at an address, as text: for the few strings that C hands out. */
export function cString(text: string): Memory {
  const bytes = new TextEncoder().encode(text);
  return bytesToC(bytes);
}

/** A NUL-terminated copy of `bytes`. */
export function bytesToC(bytes: Uint8Array): Memory {
  const memory = new Memory(bytes.length + 1);
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

/** A buffer over `bytes` at `address`; `deallocator(address, context)` when nobody has it more. */
export function managedBuffer(
  address: number,
  bytes: number,
  { context, deallocator }: { context: number; deallocator: number },
): ArrayBuffer {
  return managed(asPointer(address), 0, bytes, asPointer(context), asPointer(deallocator));
}
