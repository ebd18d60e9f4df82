// messages.ts PATH callback|promise: the floor of an echo server that hands over messages. bare.ts
// with what this library cannot do without: recvmsg with room for descriptors, a message with bytes
// of its own, a send that checks its data; and with "promise" a promise for each message, which an
// async function awaits. No loop of Bun's, no owner, no watch, no order of outcomes.

import { epoll } from "../../native/poll.ts";
import { listen, type Message } from "../../src/index.ts";
import { type ReceivePolicy, receiveBytes, receiveOnce } from "../../src/socket/receive.ts";
import { sendPlain } from "../../src/socket/send.ts";
import { EpollEvents, epollCreate, epollCtl } from "../../src/syscalls/epoll.ts";
import { close } from "../../src/syscalls/fd.ts";
import { accept } from "../../src/syscalls/socket.ts";

const EVENTS = 256;
const NAP_NS = 100_000;
const RULES: ReceivePolicy = { place: "", acceptFds: 253, wantSender: false, zeroBytes: "end" };

const [path = "", form = "callback"] = process.argv.slice(2);
const listener = listen(path);
const epfd = epollCreate();
const events = new EpollEvents(EVENTS);
const done = Promise.resolve();

type Resolve = (message: Message | null) => void;
const waiting: Resolve[] = [];
let resolveLast: Resolve = () => {};
const capture = (resolve: Resolve): void => {
  resolveLast = resolve;
};

function receive(fd: number): Promise<Message | null> {
  const promise = new Promise<Message | null>(capture);
  waiting[fd] = resolveLast;
  return promise;
}

/** The kernel has room for these few bytes. */
function send(fd: number, data: Uint8Array): Promise<void> {
  sendPlain(fd, data);
  return done;
}

async function awaiting(fd: number): Promise<void> {
  for (;;) {
    const message = await receive(fd);
    if (message === null) break;
    await send(fd, message.data);
  }
  close(fd);
}

function answer(fd: number): void {
  const message = receiveOnce(fd, RULES, receiveBytes);
  if (message) sendPlain(fd, message.data);
  else if (message === null) close(fd);
}

function settle(fd: number): void {
  const message = receiveOnce(fd, RULES, receiveBytes);
  if (message !== undefined) waiting[fd]!(message);
}

const watch = (fd: number): number =>
  epollCtl(epfd, epoll.EPOLL_CTL_ADD ?? 0, {
    fd,
    events: (epoll.EPOLLIN ?? 0) | (epoll.EPOLLET ?? 0),
  });

function welcome(fd: number): void {
  watch(fd);
  if (form === "promise") void awaiting(fd);
}

/** One look and what it brought. */
function round(serve: (fd: number) => void): void {
  const count = events.waitFor(epfd, NAP_NS);
  for (let i = 0; i < count; i++) {
    const fd = events.fd(i);
    if (fd !== listener.fd) serve(fd);
    else for (let one = accept(fd); one >= 0; one = accept(fd)) welcome(one);
  }
}

watch(listener.fd);
if (form === "promise") {
  for (;;) {
    round(settle);
    for (let turns = 0; turns < 3; turns++) await done; // the answers, and the next `receive`
  }
} else {
  for (;;) round(answer);
}
