// bare.ts PATH: the floor. An echo server that is nothing but system calls through the FFI, and
// stops the whole thread while it waits, as no program could: none in JavaScript is faster.

import { epoll, epollEvent } from "../../native/poll.ts";
import { message } from "../../native/socket.ts";
import { listen } from "../../src/index.ts";
import { epollCreate, epollCtl } from "../../src/syscalls/epoll.ts";
import { libc } from "../../src/syscalls/libc.ts";
import { Memory } from "../../src/syscalls/memory.ts";
import { accept } from "../../src/syscalls/socket.ts";

const ROOM = 65536;
const EVENTS = 256;
const FLAGS = message.MSG_DONTWAIT | message.MSG_NOSIGNAL;

const listener = listen(process.argv[2] ?? "");
const epfd = epollCreate();
const bytes = new Memory(ROOM);
const events = new Memory(EVENTS * epollEvent.size);

const watch = (fd: number): unknown =>
  epollCtl(epfd, epoll.EPOLL_CTL_ADD ?? 0, { fd, events: epoll.EPOLLIN ?? 0 });

function echo(fd: number): void {
  const got = libc.recv(fd, bytes.address, ROOM, FLAGS);
  if (got > 0) libc.send(fd, bytes.address, got, FLAGS);
  else if (got === 0) libc.close(fd);
}

watch(listener.fd);
for (;;) {
  const count = libc.epoll_wait(epfd, events.address, EVENTS, -1);
  for (let i = 0; i < count; i++) {
    const fd = events.view.getInt32(i * epollEvent.size + epollEvent.at.data, true);
    if (fd !== listener.fd) echo(fd);
    else for (let one = accept(fd); one >= 0; one = accept(fd)) watch(one);
  }
}
