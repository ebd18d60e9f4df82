// Memory that processes share: made by one, handed over as a descriptor, mapped by the other.

import { fstatSync } from "node:fs";
import { errno } from "../../native/errno.ts";
import { memfd } from "../../native/file.ts";
import { seal as sealBits } from "../../native/mapping.ts";
import { integer } from "../base/checks.ts";
import type { Payload } from "../base/data.ts";
import { check, closedError, fileCall, UnixError, UnsupportedError } from "../base/errors.ts";
import { type ListRule, ownList } from "../base/own-list.ts";
import { toJson } from "../base/printable.ts";
import { Fd, type FdLike } from "../fd/fd.ts";
import { checkFds, closeTransferred, prepare } from "../socket/send.ts";
import { whyFailed } from "../syscalls/asked-calls.ts";
import { memfdCreate, seals as sealsOf } from "../syscalls/fd.ts";
import { addSeals, collected, map, shmCreate, truncate } from "../syscalls/mapping.ts";
import { bytesIn } from "../syscalls/memory.ts";

/**
 * What no process can do any more once it is sealed, not even its maker: make it smaller, make it
 * larger, change its contents, map it anew for writing, add seals.
 *
 * @see fcntl(2), F_ADD_SEALS
 */
export type Seal = "shrink" | "grow" | "write" | "future-write" | "seal";

/** How shared memory is made. */
export interface SharedMemoryOptions {
  /**
   * What /proc/PID/fd and /proc/PID/maps call it. At most 249 bytes. Default "bunix". Only checked
   * on macOS, where it has no name.
   */
  readonly name?: string | undefined;
  /**
   * Seals to begin with. Default: "shrink" and "grow", so that a receiver can rely on the size.
   * true: everything, the contents included, for data that is only to be read from now on. A list:
   * exactly these. Not on macOS, where the default is none: it has no seals.
   */
  readonly seal?: boolean | readonly Seal[] | undefined;
}

/** How received memory is mapped. */
export interface MapMemoryOptions {
  /** The number of bytes to map, from the first. Default: all. */
  readonly bytes?: number | undefined;
  /**
   * true: what is written here must reach the other processes, else fail. false: it must not.
   * Default: it does if seals and descriptor allow it; `writable` says whether. false is not on
   * macOS, of memory that {@link SharedMemory.create} made there: it is mapped shared, or not at
   * all.
   */
  readonly writable?: boolean | undefined;
  /**
   * Map memory that is not sealed against shrinking. A process that has its descriptor can then
   * make it smaller, and reading or writing what is no longer there ends *this* process with
   * SIGBUS. X servers and Wayland compositors do not seal what they hand out. On macOS nothing is
   * sealed, so it always takes this.
   */
  readonly trustSender?: boolean | undefined;
  /** Close `fd` once it is mapped; on failure it is still yours. */
  readonly transfer?: boolean | undefined;
}

const bits: Readonly<Record<Seal, number | null>> = {
  shrink: sealBits.F_SEAL_SHRINK,
  grow: sealBits.F_SEAL_GROW,
  write: sealBits.F_SEAL_WRITE,
  "future-write": sealBits.F_SEAL_FUTURE_WRITE,
  seal: sealBits.F_SEAL_SEAL,
};

const names = Object.keys(bits) as readonly Seal[];

/**
 * The longest ArrayBuffer in JavaScriptCore; one byte more is a RangeError there
 * (facts: #array-buffer-limit).
 */
const MAX_BYTES = 2 ** 32;
const MAX_NAME_BYTES = 249;

const CAN_SEAL = sealBits.F_ADD_SEALS !== null;
const NO_SEALS = "macOS has no seals";
const NO_COPY = "macOS maps shared memory shared, or not at all";
const FIXED_SIZE: readonly Seal[] = CAN_SEAL ? ["shrink", "grow"] : [];
const FOR_GOOD: readonly Seal[] = ["shrink", "grow", "write", "seal"];

/** @throws TypeError */
function sealMask(which: readonly Seal[]): number {
  let mask = 0;
  for (const name of which) {
    if (!names.includes(name)) {
      throw new TypeError(`a seal is one of ${names.join(", ")}, not ${toJson(name)}`);
    }
    mask |= bits[name] ?? 0;
  }
  return mask;
}

const SEALS: ListRule = {
  what: "seal is true, false or an array of seals",
  max: 64,
  rule: "there are fewer than 64 seals",
};

function wantedSeals(option: SharedMemoryOptions["seal"] = FIXED_SIZE): readonly Seal[] {
  if (typeof option !== "boolean") return ownList(option, SEALS);
  return option ? FOR_GOOD : [];
}

function checkName(name: string): string {
  if (name.includes("\0")) throw new TypeError("the name of shared memory has a NUL in it");
  const bytes = Buffer.byteLength(name);
  if (bytes <= MAX_NAME_BYTES) return name;
  throw new RangeError(
    `the name of shared memory has at most ${MAX_NAME_BYTES} bytes, not ${bytes}`,
  );
}

const HINTS = new Map<number, string>([
  [errno.EBUSY, "it is mapped for writing elsewhere; future-write does not mind"],
  [errno.EPERM, "sealed against seals, not made for sealing, or a descriptor for reading only"],
]);

interface Mapping {
  readonly handle: Fd;
  readonly bytes: number;
  readonly shared: boolean;
}

/**
 * Memory shared between processes: a memfd, and a mapping of it as `bytes`. Send it over a socket
 * like any descriptor, `send("frame", { fds: [memory] })`; the other side maps it with
 * `SharedMemory.map(message.fds[0])`. Nothing is copied, whatever its size; 4 GiB is the most
 * that an ArrayBuffer holds.
 *
 * `close()` closes the descriptor and lets go of the memory. The mapping goes when no view of it is
 * left, so that a view kept elsewhere never points at nothing.
 *
 * On macOS it is made by shm_open(2), and its name is removed at once. Nothing can be sealed there.
 *
 * @see memfd_create(2), mmap(2), shm_open(2)
 */
export class SharedMemory implements Disposable {
  readonly #handle: Fd;
  readonly #address: number;
  #bytes: Uint8Array<ArrayBuffer> | null;
  #writable: boolean;
  /** In bytes. */
  readonly size: number;

  private constructor({ handle, bytes, shared }: Mapping) {
    const address = map(handle.fd, { bytes, shared });
    if (address === -errno.EINVAL && !shared && !CAN_SEAL) {
      throw new UnsupportedError("memorySeals", NO_COPY);
    }
    this.#address = check(address, "mmap");
    this.#bytes = new Uint8Array(collected(this.#address, bytes));
    this.#handle = handle;
    this.#writable = shared;
    this.size = bytes;
  }

  /**
   * New memory: a number of zeroed bytes, which take no memory until they are touched, or a copy of
   * data.
   *
   * @throws TypeError, RangeError before any call; UnixError EMFILE, ENOMEM, EINVAL (a seal that
   *   this kernel does not know)
   * @throws UnsupportedError if there is no memfd_create; with seals: not on macOS
   */
  static create(content: number | Payload, options: SharedMemoryOptions = {}): SharedMemory {
    const data = typeof content === "number" ? null : prepare(content);
    const bytes = typeof content === "number" ? content : data!.total;
    integer("the size of shared memory", bytes, { min: 1, max: MAX_BYTES });
    const name = checkName(options.name ?? "bunix");
    const seals = wantedSeals(options.seal);
    sealMask(seals);
    const handle = Fd.of(newMemory(name, seals), "SharedMemory.create", "ours");
    return SharedMemory.#orClose(handle, () => {
      check(truncate(handle.fd, bytes), "ftruncate");
      const memory = new SharedMemory({ handle, bytes, shared: true });
      let at = 0;
      for (const part of data?.parts ?? []) {
        part.copyTo(memory.bytes, at);
        at += part.bytes;
      }
      memory.seal(...seals);
      return memory;
    });
  }

  /**
   * Map memory that came from elsewhere. `fd` is only looked at: this object has a duplicate;
   * with `transfer` it is closed once it is mapped.
   *
   * The mapping can always be written to without harm. If seals, the descriptor or `writable:
   * false` say that writing must not reach the others, it is a private copy-on-write one: what you
   * write is yours alone, and a page that you have not written to shows what others write, as long
   * as they may.
   *
   * @throws UnixError "ERR_UNSEALED" for memory that may shrink (see `trustSender`), EPERM or
   *   EACCES if `writable: true` cannot be, EBADF, ENODEV for what cannot be mapped
   * @throws RangeError if it is empty, has fewer than `bytes`, or more than 4 GiB are to be mapped
   * @throws UnsupportedError if writing is not to reach the others: not on macOS
   */
  static map(fd: FdLike, options: MapMemoryOptions = {}): SharedMemory {
    const { transfer = false } = options;
    const fds = [fd];
    const numbers = checkFds(fds, transfer);
    const handle = Fd.duplicate(numbers[0]!);
    const mapped = SharedMemory.#orClose(handle, () => {
      const seals = Math.max(sealsOf(handle.fd), 0);
      if ((seals & (bits.shrink ?? 0)) === 0 && options.trustSender !== true) throw unsealed();
      // after the seals: it can no longer become less
      const { size } = fileCall(() => fstatSync(handle.fd));
      const bytes = options.bytes ?? size;
      integer("bytes", bytes, { min: 1, max: Math.min(size, MAX_BYTES) });
      return SharedMemory.#mapAs(handle, bytes, options.writable);
    });
    closeTransferred({ fds, numbers, transfer });
    return mapped;
  }

  /** Shared if that is wanted and can be; else private. */
  static #mapAs(handle: Fd, bytes: number, writable: boolean | undefined): SharedMemory {
    if (writable === false) return new SharedMemory({ handle, bytes, shared: false });
    try {
      return new SharedMemory({ handle, bytes, shared: true });
    } catch (error) {
      const refused = error instanceof UnixError && /^(?:EPERM|EACCES)$/.test(error.code);
      if (writable === true || !refused) throw error;
      return new SharedMemory({ handle, bytes, shared: false });
    }
  }

  static #orClose<T>(handle: Fd, make: () => T): T {
    try {
      return make();
    } catch (error) {
      handle.close();
      throw error;
    }
  }

  /** The memory itself. Views of it stay good after `close`. @throws UnixError ERR_CLOSED */
  get bytes(): Uint8Array<ArrayBuffer> {
    if (this.#bytes === null) throw closedError("bytes");
    return this.#bytes;
  }

  /** The descriptor's number, borrowed; −1 once closed. */
  get fd(): number {
    return this.#handle.fd;
  }

  /** True after `close`: the descriptor is closed. What is mapped stays until it is collected. */
  get closed(): boolean {
    return this.#handle.closed;
  }

  /** Whether what is written to `bytes` reaches the others; false: it stays here. */
  get writable(): boolean {
    return this.#writable;
  }

  /** The seals that it has now, set by any process. None for what is no memfd. */
  seals(): Seal[] {
    if (this.closed) throw closedError("fcntl");
    const set = Math.max(sealsOf(this.fd), 0);
    return names.filter((name) => (set & (bits[name] ?? 0)) !== 0);
  }

  /**
   * Add seals; they cannot be taken off. "write" freezes the contents as they are: `bytes` stays
   * valid, and from then on what is written to it stays here.
   *
   * @throws UnixError EBUSY ("write", while it is mapped for writing elsewhere, by another process
   *   or by another object of this one), EPERM, EINVAL, ERR_CLOSED
   * @throws UnixError ERR_DETACHED ("write", after the buffer of `bytes` was transferred, so that
   *   it may be gone by now, or be written to by its new owner)
   * @throws UnsupportedError Not on macOS: it has no seals.
   */
  seal(...which: readonly Seal[]): void {
    const mask = sealMask(which);
    if (which.length > 0 && !CAN_SEAL) throw new UnsupportedError("memorySeals", NO_SEALS);
    if (this.closed) throw closedError("fcntl");
    if (mask === 0) return;
    const freezes = this.#writable && (mask & (bits.write ?? 0)) !== 0;
    // our own shared mapping would be in the way: a private one takes its place, views and all
    if (freezes) this.#remap(false);
    const done = addSeals(this.fd, mask);
    if (done < 0 && freezes) this.#remap(true);
    check(done, "fcntl", { hint: HINTS.get(-done) });
    if (freezes) this.#writable = false;
  }

  /**
   * Only if the mapping is still the one that was made: a buffer that was transferred (to a Worker,
   * say) belongs to another owner, which may have released it; then other memory may have the
   * address.
   */
  #remap(shared: boolean): void {
    if (bytesLeft(this.#bytes) !== this.size) throw detached();
    check(map(this.fd, { bytes: this.size, shared, over: this.#address }), "mmap");
  }

  /** Close the descriptor and let go of the memory. Does nothing the second time, never throws. */
  close(): void {
    this.#handle.close();
    this.#bytes = null;
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** As the engine knows it: 0 for a buffer that was detached. */
function bytesLeft(bytes: Uint8Array | null): number {
  try {
    return bytes === null ? 0 : bytesIn(bytes);
  } catch {
    return 0;
  }
}

/** Memory of no size yet. */
function newMemory(name: string, seals: readonly Seal[]): number {
  if (memfd.MFD_CLOEXEC === null || memfd.MFD_ALLOW_SEALING === null) {
    if (seals.length > 0) throw new UnsupportedError("memorySeals", NO_SEALS);
    return check(shmCreate(), "shm_open");
  }
  const fd = memfdCreate(name, memfd.MFD_CLOEXEC | memfd.MFD_ALLOW_SEALING);
  const why = fd < 0 ? whyFailed("memfd_create", fd) : null;
  if (fd === -errno.ENOSYS)
    throw new UnsupportedError("sharedMemory", why ?? "memfd_create: ENOSYS");
  return check(fd, "memfd_create", { hint: why ?? undefined });
}

function detached(): UnixError {
  const hint = "the buffer of its bytes was transferred away: seal it before, or map it anew";
  return new UnixError("mmap", -errno.EFAULT, { code: "ERR_DETACHED", hint });
}

function unsealed(): UnixError {
  const hint =
    "it is not sealed against shrinking, so its sender could end this process with SIGBUS; " +
    "have it sealed, or say trustSender: true";
  return new UnixError("mmap", -errno.EPERM, { code: "ERR_UNSEALED", hint });
}
