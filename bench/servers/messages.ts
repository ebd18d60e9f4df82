// messages.ts PATH handler|promise: the floor of an echo server that hands over messages inside a
// program, whose loop is Bun's. bare.ts with what such a library cannot do without: recvmsg with
// room for descriptors, a message with bytes of its own, a send that checks its data; an object and
// a handler for each connection, or with "promise" a promise for each message, which an async
// function awaits; and a wake through Bun's loop now and then, so that timers have their turn. No
// queue of waiters, no order of outcomes, no owner, no signal, nothing that is told when it ends.

import { epoll } from "../../native/poll.ts";
import { listen, type Message } from "../../src/index.ts";
import { AioWaker } from "../../src/loop/aio-waker.ts";
import { overdue, turnBegins } from "../../src/loop/turn.ts";
import { type ReceivePolicy, receiveBytes, receiveOnce } from "../../src/socket/receive.ts";
import { sendPlain } from "../../src/socket/send.ts";
import { EpollEvents, epollCreate, epollCtl } from "../../src/syscalls/epoll.ts";
import { close } from "../../src/syscalls/fd.ts";
import { accept } from "../../src/syscalls/socket.ts";

const EVENTS = 256;
const NAP_NS = 100_000;
/** As src/loop/rounds.ts. */
const ROUNDS = 16;
const RULES: ReceivePolicy = { place: "", acceptFds: 253, wantSender: false, zeroBytes: "end" };

const [path = "", form = "handler"] = process.argv.slice(2);
const listener = listen(path);
const epfd = epollCreate();
const events = new EpollEvents(EVENTS);
const done = Promise.resolve();

/** The kernel has room for these few bytes. */
function send(fd: number, data: Uint8Array): Promise<void> {
  sendPlain(fd, data);
  return done;
}

/** A connection, and who is told of its messages. */
class Connection {
  readonly fd: number;
  readonly handler: (message: Message) => unknown;

  constructor(fd: number, handler: (message: Message) => unknown) {
    this.fd = fd;
    this.handler = handler;
  }
}

const connections: Connection[] = [];

function answer(fd: number): void {
  const connection = connections[fd]!;
  const message = receiveOnce(connection.fd, RULES, receiveBytes);
  if (message) connection.handler(message);
  else if (message === null) close(connection.fd);
}

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

async function awaiting(fd: number): Promise<void> {
  for (;;) {
    const message = await receive(fd);
    if (message === null) break;
    await send(fd, message.data);
  }
  close(fd);
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
  else connections[fd] = new Connection(fd, ({ data }) => sendPlain(fd, data));
}

const serve = form === "promise" ? settle : answer;

/** One look and what it brought: how much. */
function round(): number {
  const count = events.waitFor(epfd, NAP_NS);
  for (let i = 0; i < count; i++) {
    const fd = events.fd(i);
    if (fd !== listener.fd) serve(fd);
    else for (let one = accept(fd); one >= 0; one = accept(fd)) welcome(one);
  }
  return count;
}

function wakerOf(onWake: () => void): AioWaker {
  const made = AioWaker.create(epfd, onWake);
  if (typeof made === "string") throw new Error(made);
  return made;
}

const waker = wakerOf(() => void wake());

async function wake(): Promise<void> {
  turnBegins();
  for (let rounds = 0; rounds < ROUNDS && round() > 0 && !overdue(); rounds++) {
    if (form !== "promise") continue;
    for (let turns = 0; turns < 3; turns++) await done; // the answers, and the next `receive`
  }
  waker.arm();
}

watch(listener.fd);
waker.arm();
