import { errno } from "../../native/errno.ts";
import { system } from "../../native/platform.ts";
import { UnixError, UnsupportedError } from "../base/errors.ts";
import { toJson } from "../base/printable.ts";
import { type Address, fromBytes, maxNameBytes, toBytes } from "../structs/sockaddr-un.ts";
import { copyOf, hasByteElements, isView } from "../syscalls/memory.ts";
import { asLatin, fromLatin } from "./path-bytes.ts";

/**
 * What callers write for an address.
 *
 * A string is a path, unless it begins with "@" or NUL: then it is an abstract name ("./@x" is a
 * path again). Abstract names, and so `autobind`, are not on macOS. In a plain string `\xHH` stands
 * for one byte, as `formatAddress` writes it; the forms with `path` and `abstract` are taken
 * literally. A plain string is no URL: one that begins like one ("unix:", "file:") is refused
 * ("./unix:x" is a path again). A path that ends in "/" is a directory's, and refused.
 *
 * A relative path means what it means at the moment of the call, also if the call has to wait.
 */
export type AddressInput =
  | string
  | { readonly path: string | Uint8Array }
  | { readonly abstract: string | Uint8Array }
  | { readonly autobind: true }
  | Address;

/**
 * Check an address and bring it into one form. `{ autobind: true }` becomes `unnamed`.
 *
 * @throws TypeError for what is no address, an empty path, a path with a NUL or with a "/" at its
 *   end, and a string that begins with "unix:" or another prefix of a URL
 * @throws RangeError for an abstract name of more than 107 bytes
 * @throws UnsupportedError for an abstract name, and `autobind`, which asks for one: not on macOS
 * @see unix(7)
 */
export function parseAddress(input: AddressInput): Address {
  if (typeof input === "string") return parseText(input);
  if (typeof input !== "object" || input === null) throw notAnAddress(input);
  if ("autobind" in input && input.autobind) return chosenByKernel();
  if ("path" in input) return pathAddress(textOrBytes(input.path));
  if ("abstract" in input) return abstractAddress(textOrBytes(input.abstract));
  if ("kind" in input && input.kind === "abstract") return abstractAddress(textOrBytes(input.name));
  if ("kind" in input && input.kind === "unnamed") return chosenByKernel();
  throw notAnAddress(input);
}

function notAnAddress(input: unknown): TypeError {
  const forms = '"/path", "@abstract", { path }, { abstract } or { autobind: true }';
  return new TypeError(`an address is ${forms}, not ${toJson(input)}`);
}

function textOrBytes(value: unknown): Uint8Array {
  if (typeof value === "string") return toBytes(value);
  if (isView(value) && hasByteElements(value)) return copyOf(value);
  throw new TypeError("a path or abstract name is a string or a Uint8Array");
}

/** Prefixes by which other programs mark a path. */
const PREFIX = /^(?:unix|unix-(?:abstract|connect|listen)|file|https?\+unix):/i;

function parseText(text: string): Address {
  const [prefix] = PREFIX.exec(text) ?? [];
  if (prefix !== undefined) {
    throw new TypeError(
      `an address is a path without "${prefix}" before it ("/run/x", not "unix:///run/x"); ` +
        `a file of that very name is "./${prefix}…"`,
    );
  }
  const bytes = unescapeBytes(text);
  const abstract = text.startsWith("@") || text.startsWith("\0");
  return abstract ? abstractAddress(bytes.subarray(1)) : pathAddress(bytes);
}

function pathAddress(bytes: Uint8Array): Address {
  if (bytes.length === 0) throw new TypeError("the path of an address is empty");
  if (bytes.includes(0)) {
    throw new TypeError(
      "the path of an address has a NUL in it (an abstract name begins with one)",
    );
  }
  if (bytes.at(-1) === SLASH) {
    throw new TypeError('the path of an address ends in "/": that is a directory, not a socket');
  }
  return { kind: "path", path: fromBytes(bytes) };
}

const noNames = (): UnsupportedError =>
  new UnsupportedError("abstractNames", "only Linux has them");

/** Of a bind to no name Linux makes an abstract one. */
function chosenByKernel(): Address {
  if (system !== "linux") throw noNames();
  return { kind: "unnamed" };
}

function abstractAddress(name: Uint8Array): Address {
  if (system !== "linux") throw noNames();
  if (name.length > maxNameBytes) {
    const rule = `an abstract name has at most ${maxNameBytes} bytes`;
    throw new RangeError(`${rule}, this one has ${name.length}`);
  }
  return { kind: "abstract", name: new Uint8Array(name) };
}

const SLASH = 0x2f;

const escaped = /\\x([0-9a-fA-F]{2})/;

function unescapeBytes(text: string): Uint8Array {
  const parts = text.split(new RegExp(escaped, "g"));
  if (parts.length === 1) return toBytes(text);
  const bytes: number[] = [];
  for (const [i, part] of parts.entries()) {
    if (i % 2 === 1) bytes.push(Number.parseInt(part, 16));
    else bytes.push(...toBytes(part));
  }
  return Uint8Array.from(bytes);
}

/**
 * The text form: a path as it is, an abstract name after "@", an unnamed socket as "". Bytes that
 * do not print, and a backslash that would read as an escape, are written `\xHH`; a path that
 * begins with "@" or a prefix of a URL gets "./" before it. `parseAddress` reads it back.
 */
export function formatAddress(address: Address): string {
  if (address.kind === "unnamed") return "";
  if (address.kind === "abstract") return `@${printable(fromBytes(address.name))}`;
  const text = printable(address.path);
  if (text.startsWith("/")) return text;
  return text.startsWith("@") || PREFIX.test(text) ? `./${text}` : text;
}

/** Nothing of it is written otherwise: most addresses. */
const PLAIN = /^[\x20-\x5b\x5d-\x7e]*$/;

function printable(text: string | Uint8Array): string {
  if (typeof text === "string") {
    if (PLAIN.test(text)) return text;
    return text.replace(/\\(?=x[0-9a-fA-F]{2})|[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, hex);
  }
  return Array.from(text, (byte) => hexOrSelf(byte)).join("");
}

function hex(text: string): string {
  return Array.from(toBytes(text), hexByte).join("");
}

const hexByte = (byte: number): string => `\\x${byte.toString(16).padStart(2, "0")}`;

function hexOrSelf(byte: number): string {
  const character = String.fromCharCode(byte);
  return byte > 0x20 && byte < 0x7f && character !== "\\" ? character : hexByte(byte);
}

/** @internal True for an address whose path begins at the root: it means the same after a chdir. */
export function isAbsolute(address: Address): boolean {
  return address.kind === "path" && toBytes(address.path)[0] === SLASH;
}

/**
 * @internal With a relative path made absolute, so that it stays the same after a chdir. A ".." is
 *   left to the kernel: what is before it may be a link.
 */
export function absolute(address: Address): Address {
  if (address.kind !== "path" || isAbsolute(address)) return address;
  const path = `${asLatin(currentDirectory())}/${asLatin(address.path)}`;
  return { kind: "path", path: fromBytes(fromLatin(path.replaceAll(NOTHING, "/"))) };
}

/** "/./" and "//". */
const NOTHING = /\/(?:\.?\/)+/g;

function currentDirectory(): string {
  try {
    return process.cwd();
  } catch (cause) {
    const hint = "the current directory is gone, so no relative path leads anywhere";
    throw new UnixError("getcwd", -errno.ENOENT, { hint, cause });
  }
}
