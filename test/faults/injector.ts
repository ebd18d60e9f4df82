// Puts itself between the library and libc, and where it is asked to (files.ts) node:fs: counts the
// calls, has one of them fail, and watches over descriptors.
//
// A closed number is not free: /dev/null takes its place in the same moment (dup3) until the run is
// over. So whoever closes it again, or uses it, is seen, and never hits somebody else's.

import { toArrayBuffer } from "bun:ffi";
import { closeSync, openSync, readlinkSync } from "node:fs";
import { errno } from "../../native/errno.ts";
import { pipeSize } from "../../native/fifo.ts";
import { file, pollfd } from "../../native/file.ts";
import { seal } from "../../native/mapping.ts";
import { nr } from "../../native/numbers.ts";
import { epoll, epollEvent } from "../../native/poll.ts";
import { socket as c, iovec, message, mmsghdr, msghdr, option } from "../../native/socket.ts";
import { lastError, libc } from "../../src/syscalls/libc.ts";
import { asPointer, Memory } from "../../src/syscalls/memory.ts";
import { saidOf } from "./calls.ts";
import type { Between, FileCall } from "./files.ts";

type Call = (...args: number[]) => number;

/** Call number `index` (from 0) of this name does what `fault` says. */
export interface Point {
  readonly call: string;
  readonly index: number;
  readonly fault: string;
}

/** More calls than any operation makes: it goes round and round. */
const MAX_CALLS = 20_000;

/** One walk through /proc looks at every descriptor of every process. */
const MAX_FILE_CALLS = 100;
const ofWalks = new Set(["SYS_getdents64", "SYS_readlinkat"]);

const byNumber = (rows: Readonly<Record<string, number | null>>): Map<number, string> =>
  new Map(Object.entries(rows).map(([name, number]) => [number ?? -1, name]));

const systemCalls = byNumber(nr);
/**
 * Under musl these go past libc (facts: #musl-control-room): the same calls, with the same faults.
 */
const directly = new Map([
  [nr.SYS_sendmsg, "sendmsg"],
  [nr.SYS_sendmmsg, "sendmmsg"],
]);
const commands = byNumber({
  F_DUPFD_CLOEXEC: file.F_DUPFD_CLOEXEC,
  F_GETFD: file.F_GETFD,
  F_SETFD: file.F_SETFD,
  F_GETFL: file.F_GETFL,
  F_SETFL: file.F_SETFL,
  F_SETPIPE_SZ: pipeSize.F_SETPIPE_SZ,
  F_GET_SEALS: seal.F_GET_SEALS,
  F_ADD_SEALS: seal.F_ADD_SEALS,
});
const types = new Map<number, string>([
  [c.SOCK_STREAM, "stream"],
  [c.SOCK_SEQPACKET, "seqpacket"],
  [c.SOCK_DGRAM, "datagram"],
]);

/** Their first argument is a descriptor. */
const onDescriptors = new Set([
  ...["accept", "accept4", "bind", "connect", "listen", "shutdown", "getpeername", "getsockname"],
  ...["getsockopt", "setsockopt", "send", "sendmsg", "sendmmsg", "recv", "recvmsg", "recvmmsg"],
  ...["read", "write", "fcntl", "fchmod", "flock", "ftruncate", "dup3", "epoll_ctl", "epoll_wait"],
  ...["mq_getattr", "mq_notify", "mq_timedreceive", "mq_timedsend"],
]);
/** They leave errno alone. */
const returnsErrno = /^get(?:pw|gr)/;
const withType = new Set(["send", "sendmsg", "sendmmsg", "recvmsg", "recvmmsg"]);

const viewOf = (address: number, bytes: number): DataView =>
  new DataView(toArrayBuffer(asPointer(address), 0, bytes));

const linkOf = (fd: number): string => {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return "";
  }
};

/** A msghdr that the library is about to pass. */
class Header {
  readonly #view: DataView;

  constructor(address: number) {
    this.#view = viewOf(address, msghdr.size);
  }

  /** Leave so much room for control data. The result puts back what there was. */
  limitControl(bytes: number): () => void {
    const at = msghdr.at.msg_controllen;
    const room = this.#view.getUint32(at, true);
    this.#view.setUint32(at, bytes, true);
    return () => this.#view.setUint32(at, room, true);
  }

  addFlag(flag: number): void {
    const at = msghdr.at.msg_flags;
    this.#view.setInt32(at, this.#view.getInt32(at, true) | flag, true);
  }

  /** Call with the first byte of the first piece only. */
  withOneByte(call: () => number): number {
    const count = this.#view.getUint32(msghdr.at.msg_iovlen, true);
    const address = Number(this.#view.getBigUint64(msghdr.at.msg_iov, true));
    if (count === 0) return call();
    const piece = viewOf(address, iovec.size);
    const length = piece.getUint32(iovec.at.iov_len, true);
    this.#view.setUint32(msghdr.at.msg_iovlen, 1, true);
    piece.setUint32(iovec.at.iov_len, Math.min(length, 1), true);
    const done = call();
    this.#view.setUint32(msghdr.at.msg_iovlen, count, true);
    piece.setUint32(iovec.at.iov_len, length, true);
    return done;
  }
}

/** As node:fs throws it. */
function fileError(name: string, code: string): Error {
  const syscall = saidOf(name);
  const number = errno[code as keyof typeof errno] ?? 0;
  return Object.assign(new Error(`${code}: ${syscall}`), { code, errno: -number, syscall });
}

/** Of a call for one message, or of all that a call for several may fill. */
const headersOf = (name: string, [, address = 0, count = 1]: readonly number[]): Header[] =>
  name === "recvmmsg"
    ? Array.from({ length: count }, (_, i) => new Header(address + i * mmsghdr.size))
    : [new Header(address)];

const ROOM_FOR_ONE = 20;
const LEVEL = option.SOL_SOCKET;

export class Injector implements Disposable {
  /** What the library did that it never may. */
  readonly complaints: string[] = [];
  /** Whether the point has been reached. */
  reached = false;
  readonly #real: Readonly<Record<string, Call>>;
  readonly #readError = lastError.read;
  readonly #nowhere = openSync("/dev/null", "r");
  readonly #buried = new Set<number>();
  readonly #registered = new Map<number, { readonly epfd: number; readonly event: Uint8Array }>();
  readonly #counts = new Map<string, number>();
  readonly #cell = new Memory(16);
  #point: Point | null = null;
  #on = false;
  #calls = 0;

  constructor() {
    this.#real = { ...(libc as unknown as Record<string, Call>) };
    const mutable = libc as unknown as Record<string, Call>;
    for (const [name, real] of Object.entries(this.#real)) {
      if (name.startsWith("__")) continue;
      mutable[name] = (...args) => this.#called(name, args, real);
    }
  }

  [Symbol.dispose](): void {
    this.unearth();
    Object.assign(libc, this.#real);
    lastError.read = this.#readError;
    closeSync(this.#nowhere);
  }

  /** Count from now on, and have the call at `point` fail. */
  start(point: Point | null): void {
    this.#counts.clear();
    this.#point = point;
    this.#calls = 0;
    this.reached = false;
    this.#on = true;
  }

  /** Every call does what it does. */
  stop(): void {
    this.#on = false;
  }

  /** How often each call was made. */
  get counts(): ReadonlyMap<string, number> {
    return this.#counts;
  }

  /** Numbers that were closed and are not free yet. */
  get buried(): ReadonlySet<number> {
    return this.#buried;
  }

  unearth(): void {
    for (const fd of this.#buried) this.#real["close"]!(fd);
    this.#buried.clear();
  }

  /** For calls of node:fs's: `standBetween(injector.files)`. */
  readonly files: Between = {
    wants: (name) => name === "closeSync" || (this.#on && this.#count(name) < MAX_FILE_CALLS),
    answer: (name, args, real) => this.#fileCalled(name, args, real),
  };

  #fileCalled(name: string, args: readonly unknown[], real: FileCall): unknown {
    const fault = this.#on ? this.#faultOf(name) : null;
    // the number is free whatever close says
    if (name === "closeSync" && this.#bury(args[0] as number) < 0) throw fileError(name, "EBADF");
    if (fault === null) return name === "closeSync" ? undefined : real(...(args as never[]));
    if (fault === "absent") return false;
    const { throwIfNoEntry } = (args[1] ?? {}) as { throwIfNoEntry?: boolean };
    if (fault !== "ENOENT" || throwIfNoEntry !== false) throw fileError(name, fault);
    return undefined;
  }

  #called(name: string, args: number[], real: Call): number {
    const direct = name === "syscall" && directly.get(args[0]!);
    if (direct) return this.#called(direct, args.slice(1), (...rest) => real(args[0]!, ...rest));
    lastError.read = this.#readError;
    const key = this.#on ? this.#keyOf(name, args) : "";
    if (ofWalks.has(key) && this.#count(key) >= MAX_FILE_CALLS) return real(...args);
    this.#lookAt(name, args);
    const fault = this.#on ? this.#faultOf(key) : null;
    const call = (): number => this.#perform(name, args, real);
    if (fault === null) return call();
    if (fault.startsWith("E")) return this.#fail(name, args, fault, call);
    return this.#bend(name, args, { fault, real });
  }

  #keyOf(name: string, args: readonly number[]): string {
    if (name === "syscall") return systemCalls.get(args[0]!) ?? `syscall ${args[0]}`;
    if (name === "fcntl") return `fcntl ${commands.get(args[1]!) ?? args[1]}`;
    if (name === "write" && args[2] === 8 && linkOf(args[0]!).includes("eventfd")) {
      return "write eventfd";
    }
    if (name === "read" && linkOf(args[0]!).startsWith("pipe:")) return "read pipe";
    if (!withType.has(name)) return name;
    return `${name} ${this.#option(args[0]!, option.SO_TYPE, types)}`.trimEnd();
  }

  /** The type of a Unix socket; "" for what is none. */
  #option(fd: number, which: number, meanings: ReadonlyMap<number, string>): string {
    const { address, words } = this.#cell;
    const ask = (one: number): number => {
      words[1] = 4;
      const got = this.#real["getsockopt"]!(fd, LEVEL, one, address, address + 4);
      return got < 0 ? -1 : words[0]!;
    };
    if (ask(option.SO_DOMAIN ?? -1) !== c.AF_UNIX) return "";
    return meanings.get(ask(which)) ?? "";
  }

  #count(key: string): number {
    return this.#counts.get(key) ?? 0;
  }

  #faultOf(key: string): string | null {
    if (++this.#calls > MAX_CALLS) throw new Error(`${MAX_CALLS} calls: the loop does not end`);
    const index = this.#count(key);
    this.#counts.set(key, index + 1);
    const point = this.#point;
    if (point === null || point.call !== key || point.index !== index) return null;
    this.reached = true;
    return point.fault;
  }

  #fail(name: string, args: readonly number[], code: string, call: () => number): number {
    // the number is free whatever close says; who is not connected need not be told of an end
    if (name === "close" || name === "shutdown") call();
    if (code === "EAGAIN" || code === "ETIMEDOUT") this.#becomeReady(args[0]!);
    const number = errno[code as keyof typeof errno];
    if (returnsErrno.test(name)) return number ?? 0;
    lastError.read = () => number ?? 0;
    return -1;
  }

  /** "Not now" is followed by "now": an edge, as the kernel would give one. */
  #becomeReady(fd: number): void {
    setImmediate(() => {
      const known = this.#registered.get(fd);
      if (known === undefined || this.#buried.has(fd)) return;
      this.#cell.bytes.set(known.event);
      this.#real["epoll_ctl"]!(known.epfd, epoll.EPOLL_CTL_MOD ?? 0, fd, this.#cell.address);
    });
  }

  /** The real call, made smaller. */
  #bend(name: string, args: number[], { fault, real }: { fault: string; real: Call }): number {
    if (fault === "one") return real(...args.with(2, 1));
    if (fault === "short" && !name.endsWith("msg")) return real(...args.with(2, 1));
    const headers = headersOf(name, args);
    if (fault === "short") {
      // it counts as the last of what is there, unless an edge says otherwise
      if (name === "recvmsg") this.#becomeReady(args[0]!);
      return headers[0]!.withOneByte(() => real(...args));
    }
    const room = fault === "few" ? ROOM_FOR_ONE : 0;
    const undo = fault === "flag" ? [] : headers.map((one) => one.limitControl(room));
    const done = real(...args);
    const got = name === "recvmmsg" ? done : Math.min(done, 0) + 1;
    for (const putBack of undo.slice(Math.max(got, 0))) putBack(); // the kernel has not
    if (fault === "flag") for (const one of headers.slice(0, got)) one.addFlag(message.MSG_CTRUNC);
    return done;
  }

  /** No descriptor is used that was closed. */
  #lookAt(name: string, args: readonly number[]): void {
    if (onDescriptors.has(name)) this.#check(name, args[0]!);
    if (name === "epoll_ctl") this.#check(name, args[2]!);
    if (name === "poll") this.#check(name, viewOf(args[0]!, pollfd.size).getInt32(0, true));
  }

  #check(name: string, fd: number): void {
    if (this.#buried.has(fd)) this.complaints.push(`${name} on descriptor ${fd}, which was closed`);
  }

  #perform(name: string, args: readonly number[], real: Call): number {
    if (name === "close") return this.#bury(args[0]!);
    if (name === "pthread_create") return this.#buryBeside(args, real);
    if (name === "syscall" && args[0] === nr.SYS_close_range) {
      for (let fd = args[1]!; fd <= args[2]!; fd++) this.#bury(fd);
      return 0;
    }
    const done = real(...args);
    if (name === "epoll_ctl" && done === 0) this.#note(args);
    return done;
  }

  /** A thread that closes a descriptor closes one of ours instead. */
  #buryBeside(args: readonly number[], real: Call): number {
    const instead = this.#real["fcntl"]!(this.#nowhere, file.F_DUPFD_CLOEXEC, 3);
    const failed = real(...args.slice(0, 3), instead);
    if (failed === 0) this.#bury(args[3]!);
    else this.#real["close"]!(instead);
    return failed;
  }

  #bury(fd: number): number {
    const open = fd >= 0 && this.#real["fcntl"]!(fd, file.F_GETFD, 0) >= 0;
    if (!open || this.#buried.has(fd)) {
      this.complaints.push(`descriptor ${fd} closed, which is not open`);
      lastError.read = () => errno.EBADF;
      return -1;
    }
    this.#real["dup3"]!(this.#nowhere, fd, file.O_CLOEXEC);
    this.#buried.add(fd);
    this.#registered.delete(fd);
    return 0;
  }

  #note([epfd, op, fd, address]: readonly number[]): void {
    if (op === epoll.EPOLL_CTL_DEL) this.#registered.delete(fd!);
    else {
      const event = new Uint8Array(toArrayBuffer(asPointer(address!), 0, epollEvent.size)).slice();
      this.#registered.set(fd!, { epfd: epfd!, event });
    }
  }
}
