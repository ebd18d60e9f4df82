// bare.ts PATH [echo | sink TOTAL | accept]: the floor. A server that is nothing but system calls
// through the FFI, and stops the whole thread while it waits, as no program could: none in
// JavaScript is faster. It echoes; or answers one byte after every TOTAL bytes; or accepts, asks
// who it is, and closes.

import { epoll, epollEvent } from "../../native/poll.ts";
import { message, option } from "../../native/socket.ts";
import { listen } from "../../src/index.ts";
import { ucredBytes } from "../../src/structs/credentials.ts";
import { epollCreate, epollCtl } from "../../src/syscalls/epoll.ts";
import { libc } from "../../src/syscalls/libc.ts";
import { Memory } from "../../src/syscalls/memory.ts";
import { accept, getOptionBytes } from "../../src/syscalls/socket.ts";

const ROOM = 256 * 1024;
const EVENTS = 256;
const FLAGS = message.MSG_DONTWAIT | message.MSG_NOSIGNAL;

const [path = "", work = "echo", total = "0"] = process.argv.slice(2);
const listener = listen(path);
const epfd = epollCreate();
const bytes = new Memory(ROOM);
const who = new Memory(ucredBytes);
const events = new Memory(EVENTS * epollEvent.size);

const watch = (fd: number): unknown =>
  epollCtl(epfd, epoll.EPOLL_CTL_ADD ?? 0, { fd, events: epoll.EPOLLIN ?? 0 });

function echo(fd: number): void {
  const got = libc.recv(fd, bytes.address, ROOM, FLAGS);
  if (got > 0) libc.send(fd, bytes.address, got, FLAGS);
  else if (got === 0) libc.close(fd);
}

let left = Number(total);

/** One connection at a time. */
function sink(fd: number): void {
  const got = libc.recv(fd, bytes.address, ROOM, FLAGS);
  if (got === 0) libc.close(fd);
  left -= Math.max(0, got);
  if (left > 0) return;
  left += Number(total);
  libc.send(fd, bytes.address, 1, FLAGS);
}

function see(fd: number): void {
  if (getOptionBytes(fd, { which: option.SO_PEERCRED ?? 0, room: who }) < 0) process.exit(1);
  libc.close(fd);
}

const serve = work === "sink" ? sink : echo;
const welcome = work === "accept" ? see : watch;
watch(listener.fd);
for (;;) {
  const count = libc.epoll_wait(epfd, events.address, EVENTS, -1);
  for (let i = 0; i < count; i++) {
    const fd = events.view.getInt32(i * epollEvent.size + epollEvent.at.data, true);
    if (fd !== listener.fd) serve(fd);
    else for (let one = accept(fd); one >= 0; one = accept(fd)) welcome(one);
  }
}
