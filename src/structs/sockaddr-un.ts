// struct sockaddr_un: bytes ↔ Address. Lengths are exact in both directions (unix(7)).

import { system } from "../../native/platform.ts";
import { sockaddrUn, socket } from "../../native/socket.ts";

/**
 * A Unix-domain address as the kernel knows it.
 *
 * - `path`: a name in the file system. A string if its bytes are valid UTF-8, the bytes if they are
 *   not.
 * - `abstract`: a Linux name outside the file system; `name` is what follows the leading NUL, and
 *   every byte of it counts, NULs included.
 * - `unnamed`: a socket that is not bound. Binding to it asks the kernel to choose a name.
 *
 * @see unix(7)
 */
export type Address =
  | { readonly kind: "path"; readonly path: string | Uint8Array }
  | { readonly kind: "abstract"; readonly name: Uint8Array }
  | { readonly kind: "unnamed" };

const pathAt = sockaddrUn.at.sun_path;
const pathRoom = sockaddrUn.bytes.sun_path;

/** Most bytes of a path in `sun_path`, leaving room for its NUL. */
export const maxPathBytes = pathRoom - 1;
/** Most bytes of an abstract name, without the NUL in front. */
export const maxNameBytes = pathRoom - 1;

/** Room for any address that a kernel returns: Linux may say one byte more than the struct has. */
export const addressRoom = 128;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The bytes of a path or name that was given as text or bytes. */
export function toBytes(text: string | Uint8Array): Uint8Array {
  return typeof text === "string" ? encoder.encode(text) : text;
}

/** Text if the bytes are valid UTF-8, a copy of the bytes if they are not. */
export function fromBytes(bytes: Uint8Array): string | Uint8Array {
  try {
    return decoder.decode(bytes);
  } catch {
    return new Uint8Array(bytes); // slice of a Buffer would share its memory
  }
}

/** True if the address can be written into a sockaddr_un; a path may be too long. */
export function fitsSockaddr(address: Address): boolean {
  return address.kind !== "path" || toBytes(address.path).length <= maxPathBytes;
}

/** Write `address` at the start of `target` (≥ `addressRoom` bytes); the result is `addrlen`. */
export function encodeSockaddr(address: Address, target: Uint8Array): number {
  if (address.kind === "unnamed") return writeFamily(target, pathAt);
  if (address.kind === "path") {
    const bytes = toBytes(address.path);
    fits(bytes, maxPathBytes);
    target.set(bytes, pathAt);
    target[pathAt + bytes.length] = 0;
    return writeFamily(target, pathAt + bytes.length + 1);
  }
  fits(address.name, maxNameBytes);
  target[pathAt] = 0;
  target.set(address.name, pathAt + 1);
  return writeFamily(target, pathAt + 1 + address.name.length);
}

function fits(bytes: Uint8Array, limit: number): void {
  if (bytes.length > limit) {
    throw new RangeError(`a socket address holds ${limit} bytes, this one has ${bytes.length}`);
  }
}

function writeFamily(target: Uint8Array, length: number): number {
  if (system === "darwin")
    target[0] = length; // sun_len, then a family of one byte
  else target[1] = 0;
  target[sockaddrUn.at.sun_family] = socket.AF_UNIX;
  return length;
}

/** Read an address of `length` bytes as the kernel returned it; longer than the room is clamped. */
export function decodeSockaddr(source: Uint8Array, length: number): Address {
  const end = Math.min(length, source.length);
  if (end <= pathAt) return { kind: "unnamed" };
  const name = source.subarray(pathAt, end);
  if (name[0] === 0) {
    if (system === "darwin") return { kind: "unnamed" };
    return { kind: "abstract", name: name.slice(1) };
  }
  const nul = name.indexOf(0);
  return { kind: "path", path: fromBytes(nul < 0 ? name : name.subarray(0, nul)) };
}
