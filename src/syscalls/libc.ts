// The only dlopen. One object per JS thread, because errno is per thread
// (facts: #errno-per-thread).

import { dlopen, type FFIFunction, type Pointer, read } from "bun:ffi";
import { search } from "../../native/library.ts";
import {
  known,
  libcNames,
  libpthreadName,
  librtName,
  system,
  variadicOnStack,
} from "../../native/platform.ts";
import {
  darwin,
  glibcOnly,
  inLibpthread,
  inLibrt,
  linux,
  posix,
  type Signature,
} from "../../native/symbols.ts";
import { UnsupportedError } from "../base/errors.ts";
import { cString, type Lent } from "./memory.ts";
import { trace, wantedGroups } from "./trace/trace.ts";
import { paddedSignatures, withPadding } from "./variadic.ts";

/** What an FFI call takes for a pointer: an address, a typed array that was lent, or NULL. */
export type Address = number | Lent | null;

type Argument<T> = T extends "ptr" ? Address : number;
type Arguments<A extends readonly unknown[]> = { [K in keyof A]: Argument<A[K]> };
type Call<S extends Signature> = (...args: Arguments<S["args"]>) => number;
type Calls<T extends Record<string, Signature>> = { -readonly [K in keyof T]: Call<T[K]> };

const signatures = { ...posix, ...linux, ...darwin } as const;
export type Libc = Calls<typeof signatures>;

const own = system === "darwin" ? { ...posix, ...darwin } : { ...posix, ...linux };

interface Opened {
  readonly calls: Libc;
  readonly name: string;
  readonly found: ReadonlySet<string>;
}

/** What Bun says if it cannot make the code that calls C; not of a library that is absent. */
let refusal: string | undefined;

function open(): Opened {
  const calls: Record<string, unknown> = {};
  for (const name of Object.keys(signatures)) calls[name] = () => missing(name);
  const none: Opened = { calls: calls as Libc, name: "", found: new Set() };
  if (!known) return none;
  for (const name of libcNames) {
    const symbols = symbolsOf(name, own) ?? symbolsInParts(name);
    if (symbols === null) continue;
    const found = new Set(Object.keys(symbols));
    return { calls: Object.assign(calls, symbols) as Libc, name, found };
  }
  return none;
}

/** All of a group, or null if the library is not here or lacks one of them. */
function symbolsOf(library: string, group: Record<string, Signature>): object | null {
  const declared = variadicOnStack ? paddedSignatures(group) : group;
  try {
    const { symbols } = dlopen(library, declared as unknown as Record<string, FFIFunction>);
    return variadicOnStack ? withPadding(symbols) : symbols;
  } catch (error) {
    const { code, message } = error as { code?: string; message?: string };
    if (code === undefined) refusal ??= message ?? String(error);
    return null;
  }
}

/** glibc before 2.34: without what was in librt and libpthread, and with it if those are. */
function symbolsInParts(library: string): object | null {
  if (system === "darwin") return null;
  const rest: Record<string, Signature> = { ...own };
  const takeOut = (names: readonly (keyof typeof linux)[]): Record<string, Signature> => {
    const group: Record<string, Signature> = {};
    for (const name of names) {
      group[name] = linux[name];
      delete rest[name];
    }
    return group;
  };
  const [queues, threads] = [takeOut(inLibrt), takeOut(inLibpthread)];
  const symbols = symbolsOf(library, rest);
  if (symbols === null) return null;
  return { ...symbols, ...symbolsOf(librtName, queues), ...symbolsOf(libpthreadName, threads) };
}

function missing(name: string): never {
  const why = whyNoCalls() ?? `${opened.name} has no ${name}()`;
  throw new UnsupportedError("libcFunctions", why);
}

const opened = open();

/**
 * libc's functions. A mutable object on purpose: tests put failing calls in the place of real ones
 * (test/support), nothing else writes to it.
 */
export const libc: Libc = opened.calls;

/** The name that libc opened under; "" if there is none. */
export const libcName: string = opened.name;

/** A switch of JavaScriptCore, which neither a unit nor the kernel sets. */
const JIT = "BUN_JSC_useJIT";

/**
 * Why nothing at all can be called here; null if it can. Bun compiles the code that calls C, and
 * that takes memory which becomes executable (facts: #ffi-needs-the-jit).
 */
export function whyNoCalls(): string | null {
  if (opened.name !== "") return null;
  if (!known) return `no libc is known for ${process.platform}`;
  if (refusal === undefined) return `none of ${libcNames.join(", ")} could be opened`;
  const off = process.env[JIT];
  const what =
    off === undefined
      ? "no memory of this process may become executable. In its systemd unit set " +
        "MemoryDenyWriteExecute=no (PR_SET_MDWE and SELinux's execmem do the same)"
      : `take ${JIT}=${off} out of the environment`;
  return `Bun cannot call C in this process (${refusal}): ${what}`;
}

const location =
  libcName === "" ? 0 : system === "darwin" ? libc.__error() : libc.__errno_location();

/** @throws UnsupportedError if nothing can be called */
export function requireCalls(): void {
  if (opened.name === "") missing("libc");
}

/** Functions that this library calls on this system and that are not in this libc. */
export const absentFunctions = (): string[] =>
  Object.keys(own).filter((name) => !opened.found.has(name));

const debug = process.env["BUNIX_DEBUG"];
if (debug !== undefined && location !== 0) {
  const traced = wantedGroups(debug);
  if (traced !== null) trace(libc, location, traced);
}

/** This thread's errno. Read it in the line after the call, with nothing in between. */
export const lastError = { read: (): number => read.i32(location as Pointer, 0) };

let glibc: boolean | undefined;

/**
 * True for musl, whose sendmsg copies control data into 1,024 bytes (facts: #musl-control-room).
 */
export function isMusl(): boolean {
  glibc ??= system === "darwin" || has(glibcOnly);
  return !glibc;
}

function has(group: Record<string, Signature>): boolean {
  try {
    dlopen(libcName, group as unknown as Record<string, FFIFunction>).close();
    return true;
  } catch {
    return false;
  }
}

/** Where a function of libc is; 0 if there is none of that name. */
export const symbol = (name: string): number => libc.dlsym(everywhere, cString(name).address);
const everywhere = search["(long)RTLD_DEFAULT"];
