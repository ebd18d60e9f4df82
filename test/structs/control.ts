// For the tests of control messages: build any, decode under watch, and an oracle that says again,
// plainly and with BigInt, what the bytes mean. Shares nothing with src/structs/cmsg.ts.

import fc from "fast-check";
import { type ControlData, decodeControl } from "../../src/structs/cmsg.ts";

export const SOL_SOCKET = 1;
export const RIGHTS = 1;
export const CREDENTIALS = 2;
export const SECURITY = 3;
export const PIDFD = 4;

const HEADER = 16n;

/** One control message; `length` is what its header says, if that is not the truth. */
export interface Item {
  readonly level: number;
  readonly type: number;
  readonly data: readonly number[];
  readonly length?: bigint;
}

const aligned = (bytes: bigint): bigint => ((bytes + 7n) / 8n) * 8n;

/** The bytes of `items`, one behind the other as CMSG_NXTHDR expects them. */
export function build(items: readonly Item[]): DataView {
  const sizes = items.map(({ data }) => Number(HEADER + aligned(BigInt(data.length))));
  const bytes = new Uint8Array(sizes.reduce((sum, size) => sum + size, 0));
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const [i, { level, type, data, length }] of items.entries()) {
    view.setBigUint64(at, length ?? HEADER + BigInt(data.length), true);
    view.setInt32(at + 8, level, true);
    view.setInt32(at + 12, type, true);
    bytes.set(data, at + 16);
    at += sizes[i]!;
  }
  return view;
}

/** What the first `length` bytes of `view` say. */
export function oracle(view: DataView, length: number): ControlData {
  const bytes = [...new Uint8Array(view.buffer, view.byteOffset, view.byteLength)].slice(0, length);
  const number = (at: bigint, size: number): bigint => {
    let value = 0n;
    for (let i = size - 1; i >= 0; i--) value = value * 256n + BigInt(bytes[Number(at) + i]!);
    return value;
  };
  const int = (at: bigint): number => Number(BigInt.asIntN(32, number(at, 4)));
  const control: ControlData = { fds: [], credentials: null, pidfd: null, security: null };
  const end = BigInt(bytes.length);
  for (let at = 0n; at + HEADER <= end; ) {
    const stated = number(at, 8);
    if (stated < HEADER) break;
    const stop = at + stated < end ? at + stated : end;
    const type = int(at + 8n) === SOL_SOCKET ? int(at + 12n) : -1;
    const from = at + HEADER;
    if (type === RIGHTS) for (let i = from; i + 4n <= stop; i += 4n) control.fds.push(int(i));
    if (type === PIDFD && from + 4n <= stop) control.pidfd = int(from);
    if (type === SECURITY && from < stop) {
      control.security = Uint8Array.from(bytes.slice(Number(from), Number(stop)));
    }
    if (type === CREDENTIALS && from + 12n <= stop) {
      const [pid, uid, gid] = [int(from), int(from + 4n) >>> 0, int(from + 8n) >>> 0];
      const unknown = uid === 0xffffffff && gid === 0xffffffff;
      control.credentials = unknown ? null : { pid: pid > 0 ? pid : null, uid, gid };
    }
    at += aligned(stated);
  }
  return control;
}

/** Far more than any walk over the bytes of these tests can need. */
const MAX_READS = 20_000;

/** A view that throws for a read beyond `allowed` bytes, and for a walk that does not end. */
class Watched extends DataView<ArrayBufferLike> {
  allowed = 0;
  #reads = 0;

  #watch(at: number, bytes: number): void {
    if (++this.#reads > MAX_READS) throw new Error("the walk does not end");
    if (at < 0 || at + bytes > this.allowed) {
      throw new Error(`reads ${bytes} bytes at ${at} of ${this.allowed}`);
    }
  }
  override getUint8(at: number): number {
    this.#watch(at, 1);
    return super.getUint8(at);
  }
  override getUint16(at: number, little?: boolean): number {
    this.#watch(at, 2);
    return super.getUint16(at, little);
  }
  override getInt32(at: number, little?: boolean): number {
    this.#watch(at, 4);
    return super.getInt32(at, little);
  }
  override getUint32(at: number, little?: boolean): number {
    this.#watch(at, 4);
    return super.getUint32(at, little);
  }
  override getBigUint64(at: number, little?: boolean): bigint {
    this.#watch(at, 8);
    return super.getBigUint64(at, little);
  }
}

/** `decodeControl`, which may read the first `length` bytes of `view` and no more. */
export function decodeWatched(view: DataView, length: number): ControlData {
  const watched = new Watched(view.buffer, view.byteOffset, view.byteLength);
  watched.allowed = Math.min(length, view.byteLength);
  return decodeControl(watched, length);
}

const byte = fc.integer({ min: 0, max: 255 });

/** Descriptor numbers, up to `most` of them. */
export const fdArray = (max: number): fc.Arbitrary<number[]> =>
  fc.array(fc.integer({ min: 0, max: 0x7fffffff }), { maxLength: max });

/** What a kernel could send: known and unknown types and levels, data of any length. */
const item: fc.Arbitrary<Item> = fc.record({
  level: fc.constantFrom(SOL_SOCKET, SOL_SOCKET, SOL_SOCKET, 0, 41, -1),
  type: fc.constantFrom(RIGHTS, RIGHTS, CREDENTIALS, SECURITY, PIDFD, 29, 77),
  data: fc.array(byte, { maxLength: 40 }),
});

export const itemArray = fc.array(item, { maxLength: 8 });

/** The same with lengths that no kernel would state. */
export const hostileArray = fc.array(
  fc.record(
    {
      level: fc.constantFrom(SOL_SOCKET, SOL_SOCKET, 41),
      type: fc.constantFrom(RIGHTS, RIGHTS, CREDENTIALS, SECURITY, PIDFD),
      data: fc.array(byte, { maxLength: 40 }),
      length: fc.oneof(
        fc.bigInt({ min: 0n, max: 80n }),
        fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
        fc.bigInt({ min: 2n ** 31n - 16n, max: 2n ** 31n + 16n }),
        fc.bigInt({ min: 2n ** 32n - 16n, max: 2n ** 32n + 80n }),
      ),
    },
    { requiredKeys: ["level", "type", "data"] },
  ),
  { minLength: 1, maxLength: 6 },
) as fc.Arbitrary<Item[]>;
