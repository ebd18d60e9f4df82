// EINTR: a call that may be made again is, as often as it takes: bursts of 64 have been seen
// (facts: #eintr-in-bursts); one that may not be is not; one with a deadline keeps it.

import { describe, expect, test } from "bun:test";
import { errno } from "../../native/errno.ts";
import { file } from "../../native/file.ts";
import { poll as events } from "../../native/poll.ts";
import { connect as connectApi, connectSync, listen } from "../../src/index.ts";
import { addressRoom } from "../../src/structs/sockaddr-un.ts";
import { EpollEvents } from "../../src/syscalls/epoll.ts";
import {
  chmod,
  chown,
  close,
  duplicateOnto,
  fchmod,
  open,
  poll,
  read,
  tryLock,
  tryShareLock,
  unlock,
  write,
} from "../../src/syscalls/fd.ts";
import { mkfifo } from "../../src/syscalls/fifo.ts";
import { controlRoom } from "../../src/syscalls/header.ts";
import { isMusl, type Libc } from "../../src/syscalls/libc.ts";
import { truncate } from "../../src/syscalls/mapping.ts";
import { cells, lend, Memory } from "../../src/syscalls/memory.ts";
import { recvmmsg, recvmsg, send, sendmmsg, sendmsg } from "../../src/syscalls/message.ts";
import { mqOpen, mqReceive, mqSend } from "../../src/syscalls/message-queue.ts";
import { accept, bind, connect } from "../../src/syscalls/socket.ts";
import { failures, fake, fakeClock, forever, type Step } from "../support/seam.ts";
import { tempDir } from "../support/tmp.ts";
import { at, batch, envelope, Scope, SOCK_STREAM } from "./sockets.ts";

const BURST = 64;
const FD = 77;
const byte = new Uint8Array(1);
const room = new Memory(8);
const path = new TextEncoder().encode("/none");
const MODE = 0o600;

const again: Readonly<Record<string, readonly [keyof Libc, () => number]>> = {
  send: ["send", () => send(FD, lend(byte, 1), 1)],
  sendmsg: ["sendmsg", () => sendmsg(FD, envelope())],
  sendmmsg: [isMusl() ? "syscall" : "sendmmsg", () => sendmmsg(FD, batch(1), 1)],
  recvmsg: ["recvmsg", () => recvmsg(FD, envelope(), true)],
  recvmmsg: ["recvmmsg", () => recvmmsg(FD, batch(1), 1, true)],
  accept: ["accept4", () => accept(FD)],
  open: ["open", () => open("/dev/null", file.O_RDONLY)],
  read: ["read", () => read(FD, cells.address, 1)],
  write: ["write", () => write(FD, cells.address, 1)],
  connect: ["connect", () => connect(FD, at("/none"))],
  bind: ["bind", () => bind(FD, at("/none"))],
  mkfifo: ["mkfifo", () => mkfifo(path, MODE)],
  chmod: ["chmod", () => chmod("/none", MODE)],
  fchmod: ["fchmod", () => fchmod(FD, MODE)],
  chown: ["chown", () => chown("/none", 0, 0)],
  flock: ["flock", () => tryLock(FD)],
  "flock, shared": ["flock", () => tryShareLock(FD)],
  "flock, given back": ["flock", () => unlock(FD)],
  dup3: ["dup3", () => duplicateOnto(FD, FD + 1)],
  ftruncate: ["ftruncate", () => truncate(FD, 1)],
  mq_open: ["mq_open", () => mqOpen("/none", 0)],
  mq_timedsend: ["mq_timedsend", () => mqSend(FD, byte, 0)],
  mq_timedreceive: ["mq_timedreceive", () => mqReceive(FD, room)],
  "epoll_wait, which does not wait": ["epoll_wait", () => new EpollEvents(1).wait(FD)],
};

describe("made again", () => {
  for (const [name, [call, fn]] of Object.entries(again)) {
    test(name, () => {
      using calls = fake(call, [...failures(errno.EINTR, BURST), () => 5]);
      expect(fn()).toBe(5);
      expect(calls.calls).toHaveLength(BURST + 1);
    });

    test(`${name}: another errno ends it`, () => {
      const steps = [...failures(errno.EINTR, 2), ...failures(errno.ENOMEM, 1)];
      using calls = fake(call, steps);
      expect(fn()).toBe(-errno.ENOMEM);
      expect(calls.calls).toHaveLength(3);
    });
  }
});

describe("not made again", () => {
  test("close: Linux has freed the number already, and it may be another's by now", () => {
    using calls = fake("close", failures(errno.EINTR, 2));
    expect(close(FD)).toBe(-errno.EINTR);
    expect(calls.calls).toEqual([[FD]]);
  });
});

describe("connect", () => {
  test("made when it was interrupted: the second call says so, and it is connected", () => {
    const steps = [...failures(errno.EINTR, 2), ...failures(errno.EISCONN, 1)];
    using calls = fake("connect", steps);
    expect(connect(FD, at("/none"))).toBe(0);
    expect(calls.calls).toHaveLength(3);
  });

  test("EISCONN at once is an error", () => {
    using _ = fake("connect", failures(errno.EISCONN, 1));
    expect(connect(FD, at("/none"))).toBe(-errno.EISCONN);
  });

  test("interrupted at its first to third call, with a real listener", async () => {
    using dir = tempDir();
    using server = listen(dir.file("s"));
    for (let burst = 1; burst <= 3; burst++) {
      for (const open of [connectApi, connectSync]) {
        using calls = fake("connect", failures(errno.EINTR, burst));
        using client = await open(dir.file("s"));
        expect(client.closed).toBe(false);
        expect(calls.calls).toHaveLength(burst + 1);
        (await server.accept()).close();
      }
    }
  });
});

describe("what a receive needs is there for every try", () => {
  test("recvmsg, although an interrupted try has changed the header", () => {
    const message = envelope();
    const seen: number[][] = [];
    function* steps(): Generator<Step> {
      for (let i = 0; i < 3; i++) {
        seen.push([message.nameBytes, message.controlBytes]);
        message.nameBytes = 0;
        message.controlBytes = 0;
        yield { errno: errno.EINTR };
      }
      seen.push([message.nameBytes, message.controlBytes]);
      yield () => 1;
    }
    using _ = fake("recvmsg", steps());
    expect(recvmsg(FD, message, true)).toBe(1);
    expect(seen).toEqual(new Array(4).fill([addressRoom, controlRoom]));
  });

  test("recvmmsg, for each of the batch", () => {
    const messages = batch(3);
    const seen: number[][] = [];
    function* steps(): Generator<Step> {
      for (const one of messages) one.controlBytes = 0;
      yield { errno: errno.EINTR };
      seen.push(messages.map((one) => one.controlBytes));
      yield () => 3;
    }
    using _ = fake("recvmmsg", steps());
    expect(recvmmsg(FD, messages, 3, false)).toBe(3);
    expect(seen).toEqual([new Array(3).fill(controlRoom)]);
  });
});

describe("poll's deadline", () => {
  /** A clock that goes on by `stepMs` each time it is asked. */
  function clock(stepMs: number): Disposable {
    let now = 1_000;
    return fakeClock(() => (now += stepMs));
  }

  const timeouts = (calls: readonly (readonly number[])[]): number[] => calls.map((c) => c[2]!);

  test("interruptions shorten the wait by the time that has passed", () => {
    using _ = clock(10);
    using calls = fake("poll", [...failures(errno.EINTR, 3), () => 0]);
    expect(poll(FD, events.POLLIN, 100)).toBe(0);
    expect(timeouts(calls.calls)).toEqual([100, 90, 80, 70]);
  });

  test("part of a millisecond is rounded up: never early", () => {
    using _ = clock(0.4);
    using calls = fake("poll", [...failures(errno.EINTR, 3), () => 0]);
    expect(poll(FD, events.POLLIN, 2)).toBe(0);
    expect(timeouts(calls.calls)).toEqual([2, 2, 2, 1]);
  });

  test("without one it waits for ever each time", () => {
    using _ = clock(10);
    using calls = fake("poll", [...failures(errno.EINTR, 3), () => 0]);
    expect(poll(FD, events.POLLIN, -1)).toBe(0);
    expect(timeouts(calls.calls)).toEqual([-1, -1, -1, -1]);
  });

  test("a storm that does not end does not put it off", () => {
    using _ = clock(10);
    using calls = fake("poll", forever(errno.EINTR));
    expect(poll(FD, events.POLLIN, 100)).toBe(0);
    expect(Math.min(...timeouts(calls.calls))).toBeGreaterThanOrEqual(0);
  });

  test("another errno ends the wait", () => {
    using calls = fake("poll", [...failures(errno.EINTR, BURST), ...failures(errno.ENOMEM, 1)]);
    expect(poll(FD, events.POLLIN, -1)).toBe(-errno.ENOMEM);
    expect(calls.calls).toHaveLength(BURST + 1);
  });

  test("events that were written before an interruption are forgotten", () => {
    using scope = new Scope();
    const [a] = scope.pair(SOCK_STREAM);
    using _ = fake("poll", failures(errno.EINTR, BURST)); // then the kernel itself
    expect(poll(a, events.POLLIN, 5)).toBe(0);
    expect(poll(a, events.POLLOUT, -1)).toBe(events.POLLOUT);
  });
});
