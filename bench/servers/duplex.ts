// duplex.ts PATH FORM: an echo server on streams of node:stream, until it is killed. FORM:
// "toDuplex", "net" (Bun's own net.Socket), or "bare": the floor, a Duplex of which `_read` does
// nothing and `_write` a send, by bare calls through the FFI. It stops the whole thread while it
// waits.

import { createServer } from "node:net";
import { Duplex } from "node:stream";
import { epoll, epollEvent } from "../../native/poll.ts";
import { message } from "../../native/socket.ts";
import { listen } from "../../src/index.ts";
import { epollCreate, epollCtl } from "../../src/syscalls/epoll.ts";
import { libc } from "../../src/syscalls/libc.ts";
import { Memory } from "../../src/syscalls/memory.ts";
import { accept } from "../../src/syscalls/socket.ts";

const ROOM = 256 * 1024;
const FLAGS = message.MSG_DONTWAIT | message.MSG_NOSIGNAL;

const [path = "", form = "toDuplex"] = process.argv.slice(2);

function echo(stream: Duplex): void {
  stream.on("data", (chunk: Uint8Array) => void stream.write(chunk));
  stream.on("error", () => stream.destroy()); // the client went in the middle of a message
}

const room = new Memory(ROOM);
const out = new Memory(ROOM);

class Bare extends Duplex {
  readonly fd: number;
  constructor(fd: number) {
    super();
    this.fd = fd;
  }
  override _read(): void {}
  override _write(chunk: Uint8Array, _encoding: unknown, done: () => void): void {
    out.bytes.set(chunk);
    libc.send(this.fd, out.address, chunk.length, FLAGS);
    done();
  }
}

async function bare(): Promise<void> {
  const listener = listen(path);
  const epfd = epollCreate();
  const events = new Memory(epollEvent.size);
  const streams = new Map<number, Bare>();
  const watch = (fd: number): unknown =>
    epollCtl(epfd, epoll.EPOLL_CTL_ADD ?? 0, { fd, events: epoll.EPOLLIN ?? 0 });
  watch(listener.fd);
  for (;;) {
    if (libc.epoll_wait(epfd, events.address, 1, -1) !== 1) continue;
    const fd = events.view.getInt32(epollEvent.at.data, true);
    const stream = streams.get(fd);
    if (stream === undefined) {
      const one = new Bare(accept(fd));
      streams.set(one.fd, one);
      watch(one.fd);
      echo(one);
    } else {
      const got = libc.recv(fd, room.address, ROOM, FLAGS);
      if (got === 0) process.exit();
      if (got > 0) stream.push(Buffer.from(room.bytes.slice(0, got)));
    }
    await new Promise<void>((done) => void process.nextTick(done)); // node:stream's own ticks
  }
}

if (form === "bare") await bare();
else if (form === "net") createServer(echo).listen(path);
else for await (const socket of listen(path)) echo(socket.toDuplex());
