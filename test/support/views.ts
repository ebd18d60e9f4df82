// Views of memory as a hostile caller makes them: they lie about their length, and go while
// somebody waits.

const MAX = 65_536;

export const resizable = (bytes: number): ArrayBuffer =>
  new ArrayBuffer(bytes, { maxByteLength: MAX });

export const growable = (bytes: number): SharedArrayBuffer =>
  new SharedArrayBuffer(bytes, { maxByteLength: MAX });

/** What was under the view; from then on the view has no bytes. */
export const transfer = (view: { readonly buffer: ArrayBufferLike }): ArrayBuffer =>
  (view.buffer as ArrayBuffer).transfer();

const NAMES = ["byteLength", "length", "byteOffset", "buffer"] as const;

/** Ways to lie about how many bytes there are, or where. The result is what is given. */
export const lies: Readonly<Record<string, (view: Uint8Array, claimed: number) => Uint8Array>> = {
  "own properties": (view, claimed) => {
    const buffer = new ArrayBuffer(claimed);
    const values = { byteLength: claimed, length: claimed, byteOffset: 8, buffer };
    for (const name of NAMES) Object.defineProperty(view, name, { value: values[name] });
    return view;
  },
  "a subclass's getters": (view, claimed) => {
    class Liar extends Uint8Array {
      override get byteLength(): number {
        return claimed;
      }
      override get length(): number {
        return claimed;
      }
      override get byteOffset(): number {
        return 0;
      }
      static get [Symbol.species](): Uint8ArrayConstructor {
        return class extends Uint8Array {
          constructor() {
            super(claimed);
          }
        } as unknown as Uint8ArrayConstructor;
      }
    }
    return new Liar(view.buffer as ArrayBuffer, view.byteOffset, view.byteLength);
  },
  "getters that change": (view, claimed) => {
    let asked = 0;
    const honest = view.byteLength;
    const get = (): number => (asked++ === 0 ? honest : claimed);
    for (const name of ["byteLength", "length"]) Object.defineProperty(view, name, { get });
    return view;
  },
  "a prototype of its own": (view, claimed) => {
    const get = { get: () => claimed };
    const prototype = Object.create(Uint8Array.prototype, { byteLength: get, length: get });
    return Object.setPrototypeOf(view, prototype) as Uint8Array;
  },
};

/** A Proxy is no view, whatever it says. */
export const proxied = (view: Uint8Array, claimed: number): Uint8Array =>
  new Proxy(view, {
    get: (target, name) =>
      name === "byteLength" || name === "length" ? claimed : target[name as never],
    getPrototypeOf: () => Uint8Array.prototype,
  });

/** 64 bytes that say they are 8 elements of one byte. */
export function disguised(): Uint8Array {
  return Object.setPrototypeOf(new Float64Array(8).fill(1.5), Uint8Array.prototype) as Uint8Array;
}
