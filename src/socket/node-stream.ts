// A node:stream over a stream socket that can also carry descriptors, and stands where a net.Socket
// does.

import type { Socket as NetSocket } from "node:net";
import { closedError } from "../base/errors.ts";
import { MAX_TIMER_MS } from "../base/limits.ts";
import { clearTimeout, nextTick, setTimeout } from "../base/timers.ts";
import { closeMany } from "../fd/closing.ts";
import type { FdLike } from "../fd/fd.ts";
import { Bridge } from "./node-bridge.ts";
import type { Done } from "./node-writes.ts";
import type { StreamSocket } from "./stream.ts";

/** How a stream over a socket behaves. */
export interface DuplexOptions {
  /**
   * What the peer's end means. Default false, as with net.Socket: this side ends too, once what was
   * written is out. true: writing goes on until `end()`.
   */
  readonly allowHalfOpen?: boolean | undefined;
}

/**
 * What `toDuplex()` adds to what a net.Socket has.
 *
 * The event `"fds"` brings descriptor numbers, which are the listener's to close; without a
 * listener they are closed at once. It comes before the `"data"` that has the first byte of the
 * write that they came with. That chunk may begin with bytes of earlier writes, and the kernel does
 * not tell where they end: descriptors may be early, and are never late. So take them in order, as
 * the messages in the data say that they have some.
 */
export interface DescriptorDuplex {
  /**
   * Write `bytes` (at least one) with descriptors, which go with the first of them and never with
   * another write's, corked or not. They are duplicated: yours stay yours.
   * @returns like `write()`: false asks you to wait for "drain"
   * @throws RangeError, TypeError, UnixError EMFILE at once; nothing is written then
   */
  writeWithFds(bytes: Uint8Array, fds: readonly FdLike[]): boolean;
  /** Close descriptors that came and are not wanted. */
  closeFds(fds: readonly number[]): void;
  /** The socket below, for its credentials and the like. The stream owns it, and reads from it. */
  readonly socket: StreamSocket;
  /** Descriptors came, before the bytes that they came with: the listener's to close. */
  on(event: "fds", listener: (fds: number[]) => void): this;
  /** `on`, for the next ones only. */
  once(event: "fds", listener: (fds: number[]) => void): this;
  /** Keep the process alive while the stream reads. The default. */
  ref(): this;
  /** Do not keep the process alive for the stream. */
  unref(): this;
}

function checkMs(ms: unknown): number {
  if (typeof ms !== "number") throw new TypeError(`a timeout is a number, not ${typeof ms}`);
  if (!(ms >= 0) || ms === Number.POSITIVE_INFINITY) {
    throw new RangeError(`a timeout is a number of milliseconds from 0, not ${ms}`);
  }
  return Math.min(ms, MAX_TIMER_MS);
}

type Listener = (...args: unknown[]) => void;

/** A stream over the bridge. node:stream is loaded when it is first asked for: it takes long. */
function streamClass() {
  const { Duplex } = process.getBuiltinModule("node:stream");
  return class BridgedDuplex extends Duplex {
    readonly bridge: Bridge;
    timer: ReturnType<typeof setTimeout> | null = null;
    timeout: number | undefined = undefined;

    constructor(socket: StreamSocket, { allowHalfOpen = false }: DuplexOptions) {
      super({ allowHalfOpen, emitClose: false });
      this.bridge = new Bridge(socket, this, () => this.timer?.refresh());
      nextTick(() => this.bridge.begin());
    }

    /** Ours first, then node:stream's, through `queue`. */
    override write(chunk: unknown, encoding?: unknown, done?: unknown): boolean {
      const told = typeof encoding === "function" ? encoding : done;
      return this.bridge.writes.write(
        chunk,
        typeof encoding === "function" ? undefined : encoding,
        typeof told === "function" ? this.bridge.telling(told as Done) : undefined,
      );
    }

    queue(chunk: unknown, encoding: unknown, done: Done | undefined): boolean {
      return super.write(chunk, encoding as BufferEncoding, done);
    }

    override setDefaultEncoding(encoding: BufferEncoding): this {
      super.setDefaultEncoding(encoding);
      this.bridge.writes.defaultEncoding = encoding;
      return this;
    }

    override cork(): void {
      this.bridge.writes.flush();
      super.cork();
    }

    override end(...rest: unknown[]): this {
      this.bridge.writes.flush();
      return super.end(...(rest as []));
    }

    override _read(): void {
      this.bridge.read();
    }

    override _write(chunk: Uint8Array, _encoding: unknown, done: Done): void {
      this.bridge.write([chunk], done);
    }

    override _writev(chunks: { chunk: Uint8Array }[], done: Done): void {
      const bytes = chunks.map(({ chunk }) => chunk);
      this.bridge.write(bytes, done);
    }

    override _final(done: Done): void {
      this.bridge.end(done);
    }

    override _destroy(error: Error | null, done: Done): void {
      if (this.timer !== null) clearTimeout(this.timer);
      this.timer = null;
      this.bridge.close();
      done(error); // "error" comes in the next tick, before this
      nextTick(() => this.emit("close", error !== null && error !== undefined));
    }

    get socket(): StreamSocket {
      return this.bridge.socket;
    }
  };
}

/** With a limit to idleness. */
function timedClass() {
  return class TimedDuplex extends streamClass() {
    /** Only emits "timeout", when no byte has come or gone for that long; 0: never. */
    setTimeout(ms: number, listener?: Listener): this {
      const checked = checkMs(ms);
      if (this.timer !== null) clearTimeout(this.timer);
      this.timer = null;
      this.timeout = checked;
      if (checked === 0) {
        if (listener !== undefined) this.removeListener("timeout", listener);
        return this;
      }
      if (listener !== undefined) this.once("timeout", listener);
      if (this.destroyed) return this;
      this.timer = setTimeout(() => this.emit("timeout"), checked);
      this.timer.unref();
      return this;
    }
  };
}

/** What is looked at on a net.Socket. */
function describedClass() {
  return class DescribedDuplex extends timedClass() {
    // what others look for on a net.Socket, and some write to: a Unix socket has no such address
    readonly connecting = false;
    readonly localAddress = undefined;
    readonly localPort = undefined;
    readonly localFamily = undefined;
    remoteAddress: string | undefined = undefined;
    remotePort: number | undefined = undefined;
    remoteFamily: string | undefined = undefined;
    readonly autoSelectFamilyAttemptedAddresses: string[] = [];
    readonly _handle = null;
    #server: unknown = null;

    get bytesRead(): number {
      return this.bridge.bytesRead;
    }
    get bytesWritten(): number {
      const { bytesSent, heldBytes } = this.bridge.writes;
      return bytesSent + heldBytes + this.writableLength;
    }
    /** An HTTP server says here that it serves the stream: it writes head and body separately. */
    get server(): unknown {
      return this.#server;
    }
    set server(server: unknown) {
      this.#server = server;
      this.bridge.writes.gathers = server !== null && server !== undefined;
    }
    get bufferSize(): number {
      return this.writableLength;
    }
    get pending(): boolean {
      return this.destroyed;
    }
    get readyState(): string {
      if (this.readable) return this.writable ? "open" : "readOnly";
      return this.writable ? "writeOnly" : "closed";
    }

    writeWithFds(bytes: Uint8Array, fds: readonly FdLike[]): boolean {
      return this.bridge.writeWithFds(bytes, fds);
    }
    closeFds(fds: readonly number[]): void {
      closeMany(fds);
    }
  };
}

/** And what is called on one. */
function socketClass() {
  return class SocketDuplex extends describedClass() {
    /** It is connected: "connect" callbacks are called. */
    connect(...args: unknown[]): this {
      const listener = args.findLast((arg) => typeof arg === "function");
      if (listener !== undefined) this.once("connect", listener as Listener);
      nextTick(() => {
        if (this.destroyed) this.emit("error", closedError("connect"));
        else {
          this.emit("connect");
          this.emit("ready");
        }
      });
      return this;
    }

    destroySoon(): void {
      if (this.writable) this.end();
      if (this.writableFinished) this.destroy();
      else this.once("finish", () => this.destroy());
    }
    resetAndDestroy(): this {
      return this.destroy();
    }
    address(): object {
      return {};
    }
    setNoDelay(): this {
      return this;
    }
    setKeepAlive(): this {
      return this;
    }
    setTypeOfService(): this {
      return this;
    }
    getTypeOfService(): number {
      return 0;
    }
    ref(): this {
      this.bridge.socket.ref();
      return this;
    }
    unref(): this {
      this.bridge.socket.unref();
      return this;
    }
  };
}

let made: ReturnType<typeof socketClass> | null = null;

/** @internal */
export function makeDuplex(
  socket: StreamSocket,
  options: DuplexOptions = {},
): DescriptorDuplex & NetSocket {
  made ??= socketClass();
  return new made(socket, options) as unknown as DescriptorDuplex & NetSocket;
}
