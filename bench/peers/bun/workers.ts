// workers.ts PATH CONNS: the transport that Bun programs had for receiving descriptors: recvmsg on
// the main thread, and for each connection a Worker (reader.ts) that sits in poll(2) and says when.
// Connects CONNS times to peers/c/driver.c, closes each descriptor that comes, and answers.

import { dlopen, ptr, read } from "bun:ffi";
import { Worker } from "node:worker_threads";

const libc = "libc.so.6";
const { symbols: c } = dlopen(libc, {
  socket: { args: ["i32", "i32", "i32"], returns: "i32" },
  connect: { args: ["i32", "ptr", "u32"], returns: "i32" },
  sendmsg: { args: ["i32", "ptr", "i32"], returns: "i64" },
  recvmsg: { args: ["i32", "ptr", "i32"], returns: "i64" },
  pipe: { args: ["ptr"], returns: "i32" },
  dup: { args: ["i32"], returns: "i32" },
  write: { args: ["i32", "ptr", "u64"], returns: "i64" },
  close: { args: ["i32"], returns: "i32" },
  __errno_location: { args: [], returns: "ptr" },
} as const);

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const MSG_DONTWAIT = 0x40;
const MSG_CMSG_CLOEXEC = 0x40000000;
const EAGAIN = 11;
const SUN_BYTES = 110;
const ROOM = 65536;
const CONTROL = 24;
const HEADER = 16;

/** A struct msghdr over one piece of memory, and room for a descriptor. */
function envelope(bytes: Uint8Array, control: Uint8Array | null) {
  const part = new BigUint64Array([BigInt(ptr(bytes)), BigInt(bytes.length)]);
  const head = new BigUint64Array(7);
  head[2] = BigInt(ptr(part));
  head[3] = 1n;
  const arm = (size = bytes.length): void => {
    part[1] = BigInt(size);
    head[4] = control === null ? 0n : BigInt(ptr(control));
    head[5] = BigInt(control?.length ?? 0);
  };
  return { head, arm, part };
}

const room = new Uint8Array(new ArrayBuffer(ROOM));
const control = new Uint8Array(new ArrayBuffer(CONTROL));
const descriptor = new DataView(control.buffer);
const incoming = envelope(room, control);
const outgoing = envelope(room, null);
const again = new Uint8Array(new ArrayBuffer(1));

class Connection {
  readonly #fd: number;
  readonly #wake: number;

  constructor(path: string) {
    const address = new Uint8Array(new ArrayBuffer(SUN_BYTES));
    address[0] = AF_UNIX;
    address.set(new TextEncoder().encode(path), 2);
    this.#fd = c.socket(AF_UNIX, SOCK_STREAM, 0);
    if (c.connect(this.#fd, ptr(address), address.length) !== 0) throw new Error("connect");
    const ends = new Int32Array(new ArrayBuffer(8));
    if (c.pipe(ptr(ends)) !== 0) throw new Error("pipe");
    this.#wake = ends[1] ?? -1;
    const workerData = { libc, sock: c.dup(this.#fd), wake: ends[0] };
    const worker = new Worker(new URL("./reader.ts", import.meta.url), { workerData });
    worker.on("message", () => this.#drain());
  }

  /** Receive until there is nothing, then have the Worker watch again. */
  #drain(): void {
    for (;;) {
      incoming.arm();
      const got = Number(c.recvmsg(this.#fd, ptr(incoming.head), MSG_DONTWAIT | MSG_CMSG_CLOEXEC));
      if (got <= 0) {
        if (got === 0 || read.i32(c.__errno_location() ?? 0, 0) !== EAGAIN) process.exit(0);
        c.write(this.#wake, ptr(again), 1);
        return;
      }
      if (incoming.head[5] !== BigInt(CONTROL)) throw new Error("no descriptor");
      c.close(descriptor.getInt32(HEADER, true));
      outgoing.arm(got);
      if (Number(c.sendmsg(this.#fd, ptr(outgoing.head), MSG_DONTWAIT)) !== got) process.exit(1);
    }
  }
}

const connections: Connection[] = [];
for (let i = 0; i < Number(process.argv[3]); i++) {
  connections.push(new Connection(process.argv[2] ?? ""));
}
