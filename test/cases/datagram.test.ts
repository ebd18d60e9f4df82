// Messages: what is cut, what an address does, and when there is room.

import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { epoll } from "../../native/poll.ts";
import { socket as numbers, option } from "../../native/socket.ts";
import { openDatagram } from "../../src/index.ts";
import { libc } from "../../src/syscalls/libc.ts";
import { Memory } from "../../src/syscalls/memory.ts";
import { result } from "../../src/syscalls/result.ts";
import { connect, getOption, setOption, shutdown } from "../../src/syscalls/socket.ts";
import { freshPath } from "../api/pairs.ts";
import { eventually } from "../api/tools.ts";
import { longQueues, testUnless } from "../support/unless.ts";
import { SOCK_DGRAM, SOCK_STREAM } from "../syscalls/sockets.ts";
import {
  done,
  edges,
  fresh,
  ioctl,
  MSG_PEEK,
  MSG_TRUNC,
  more,
  ofKind,
  packets,
  polled,
  Raw,
  said,
  send,
  translated,
} from "./raw.ts";

const QUEUE = Number(readFileSync("/proc/sys/net/unix/max_dgram_qlen", "latin1"));

/** Bytes of a message that the kernel keeps for itself. */
const OVERHEAD = 32;
const { SO_SNDBUF } = option;
const { SHUT_RD, SHUT_WR, SHUT_RDWR } = numbers;

/** A receiver with an address, and a sender that is not connected to it. */
function strangers(raw: Raw, where: "path" | "abstract") {
  const to = fresh(where);
  return { to, receiver: raw.at(to, SOCK_DGRAM), sender: raw.socket(SOCK_DGRAM) };
}

/** Dissolve a connection. */
function disconnect(fd: number): number | string {
  const name = new Memory(16); // AF_UNSPEC
  return said(result(libc.connect(fd, name.address, 16)));
}

describe.each(packets)("$name", ({ open, type }) => {
  test("what is cut off is gone, and the flags say so (DGR-01)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    send(near, { data: "0123456789" });
    const got = raw.receive(far, { bytes: 4 });
    expect([got.text, got.result, got.cut]).toEqual(["0123", 4, true]);
    expect(raw.text(far)).toBe("EAGAIN");
  });

  test("MSG_TRUNC returns the whole length; with MSG_PEEK and no room too (DGR-02, DGR-03)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    send(near, { data: "0123456789" });
    const sized = raw.receive(far, { bytes: 0, flags: MSG_PEEK | MSG_TRUNC });
    expect([sized.result, sized.cut]).toEqual([10, true]);
    expect(raw.receive(far, { bytes: 4, flags: MSG_TRUNC }).result).toBe(10);
    expect(raw.text(far)).toBe("EAGAIN");
  });

  test("one message to a receive, one to a peek (DGR-04)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    send(near, { data: "a" });
    send(near, { data: "b" });
    expect(raw.text(far, { flags: MSG_PEEK })).toBe("a");
    expect([raw.text(far), raw.text(far)]).toEqual(["a", "b"]);
  });

  test("an empty message is a message; no room takes a whole one (DGR-05, DGR-06)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    send(near, { data: "" });
    send(near, { data: "lost" });
    send(near, { data: "next" });
    expect(raw.receive(far).result).toBe(0);
    const none = raw.receive(far, { bytes: 0 });
    expect([none.result, none.cut]).toEqual([0, true]);
    expect(raw.text(far)).toBe("next");
  });

  test("the longest message is the send buffer less 32 bytes (DGR-07, SEQ-11)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    for (const buffer of [0, 1 << 20]) {
      if (buffer > 0) setOption(near, SO_SNDBUF, buffer);
      const max = getOption(near, SO_SNDBUF) - OVERHEAD;
      expect(send(near, { data: new Uint8Array(max + 1) })).toBe("EMSGSIZE");
      expect(send(near, { data: new Uint8Array(max) })).toBe(max);
      expect(raw.receive(far, { bytes: max }).result).toBe(max);
    }
  });

  test("a message may come from many parts, and go into one (SEQ-07)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    expect(send(near, { data: "0123456789", parts: 5 })).toBe(10);
    expect(raw.text(far)).toBe("0123456789");
  });

  test("FIONREAD counts the first message only (DGR-24)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    send(near, { data: "abc" });
    send(near, { data: "12345678" });
    const both = type === SOCK_DGRAM ? 3 : 11;
    expect(ioctl(far, more.FIONREAD)).toBe(both);
    raw.text(far);
    expect(ioctl(far, more.FIONREAD)).toBe(8);
  });

  testUnless(translated(), "a bad buffer is EFAULT, and the message is lost (STR-17)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    send(near, { data: "lost" });
    send(near, { data: "next" });
    expect(said(result(libc.recv(far, 8 as never, 4, 0)))).toBe("EFAULT");
    expect(raw.text(far)).toBe("next");
  });
});

describe.each(ofKind("datagram"))("$name", ({ open }) => {
  testUnless(longQueues(), "connected to each other they fill a buffer, no queue (DGR-11)", () => {
    using raw = new Raw();
    const [near] = open(raw);
    let sent = 0;
    while (send(near) === 1) sent++;
    expect(sent).toBeGreaterThan(QUEUE + 1);
  });

  test("the end of a peer is no end: ECONNREFUSED, then ENOTCONN (DGR-13, DGR-14)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    raw.close(far);
    expect(raw.text(near)).toBe("EAGAIN");
    expect([send(near), send(near)]).toEqual(["ECONNREFUSED", "ENOTCONN"]);
    expect(raw.text(near)).toBe("EAGAIN");
  });

  test("shut down, it hangs up here, and the peer sees nothing (DGR-20, SHD-05)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    done(shutdown(near, SHUT_RDWR));
    expect(polled(near)).toBe("IN OUT HUP RDHUP");
    expect(polled(far)).not.toContain("HUP");
  });

  test("full and shut down for writing: writable when there is room (DGR-12)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    while (send(near) === 1);
    expect(polled(near)).toBe("");
    done(shutdown(near, SHUT_WR));
    expect(polled(near)).toBe("");
    while (raw.text(far) === "x");
    expect(polled(near)).toBe("OUT");
  });

  test("connect to no family dissolves the connection (DGR-16)", () => {
    using raw = new Raw();
    const [near] = open(raw);
    expect(disconnect(near)).toBe(0);
    expect(send(near)).toBe("ENOTCONN");
  });
});

test("a stream stays connected: connect to no family is EINVAL (DGR-16)", () => {
  using raw = new Raw();
  expect(disconnect(raw.pair(SOCK_STREAM)[0])).toBe("EINVAL");
});

describe.each(["path", "abstract"] as const)("over %s", (where) => {
  const eight = "the queue of a receiver holds max_dgram_qlen + 1 of everybody (DGR-08, BCK-06)";
  testUnless(longQueues(), eight, () => {
    using raw = new Raw();
    const { to, sender } = strangers(raw, where);
    let sent = 0;
    while (send(sender, { to }) === 1) sent++;
    expect(sent).toBe(QUEUE + 1);
    expect(send(sender, { to })).toBe("EAGAIN");
    expect(send(raw.socket(SOCK_DGRAM), { to })).toBe("EAGAIN");
  });

  const nine = "an unconnected sender polls writable though there is no room (DGR-09)";
  testUnless(longQueues(), nine, () => {
    using raw = new Raw();
    const { to, sender, receiver } = strangers(raw, where);
    const other = raw.socket(SOCK_DGRAM);
    expect(send(other, { to })).toBe(1);
    while (send(sender, { to }) === 1);
    expect(polled(sender)).toBe("OUT");
    const events = edges(raw, sender, epoll.EPOLLOUT!);
    expect(events()).toBe(1);
    raw.text(receiver);
    expect(events()).toBe(0); // it was the other's message: the kernel does not tell of the room
    expect(send(sender, { to })).toBe(1);
    raw.text(receiver);
    expect(events()).toBe(1); // it was its own, which is room in its send buffer
  });

  const ten = "a connected one polls truthfully, after one receive (DGR-10, BCK-05)";
  testUnless(longQueues(), ten, () => {
    using raw = new Raw();
    const { to, sender, receiver } = strangers(raw, where);
    done(connect(sender, to));
    while (send(sender) === 1);
    expect(polled(sender)).toBe("");
    const events = edges(raw, sender, epoll.EPOLLOUT!);
    expect(events()).toBe(0);
    raw.text(receiver);
    expect([polled(sender), events()]).toEqual(["OUT", 1]);
  });

  test("who is connected hears from its peer only: EPERM to send, and to connect (DGR-15)", () => {
    using raw = new Raw();
    const { to, receiver, sender } = strangers(raw, where);
    const friend = fresh(where);
    raw.at(friend, SOCK_DGRAM);
    done(connect(receiver, friend));
    expect(send(sender, { to })).toBe("EPERM");
    expect(said(connect(sender, to))).toBe("EPERM");
  });

  test("connected to itself it hears itself (DGR-17)", () => {
    using raw = new Raw();
    const { to, receiver } = strangers(raw, where);
    done(connect(receiver, to));
    expect(send(receiver, { data: "me" })).toBe(2);
    expect(raw.text(receiver)).toBe("me");
    expect(connect(receiver, to)).toBe(0);
  });

  test("connected to one, it still sends to another (DGR-18)", () => {
    using raw = new Raw();
    const one = strangers(raw, where);
    const other = strangers(raw, where);
    done(connect(one.sender, one.to));
    expect(send(one.sender, { to: other.to, data: "there" })).toBe(5);
    expect([raw.text(other.receiver), raw.text(one.receiver)]).toEqual(["there", "EAGAIN"]);
  });

  test("one sender that is shut down closes nothing for the other (DGR-19)", () => {
    using raw = new Raw();
    const { to, receiver, sender } = strangers(raw, where);
    const second = raw.socket(SOCK_DGRAM);
    for (const fd of [sender, second]) done(connect(fd, to));
    send(sender, { data: "a" });
    done(shutdown(sender, SHUT_WR));
    send(second, { data: "b" });
    expect([0, 1, 2].map(() => raw.text(receiver))).toEqual(["a", "b", "EAGAIN"]);
    expect(send(sender)).toBe("EPIPE");
  });

  test("a sender without a name has none, a peek tells it too (ADR-19, DGR-22)", () => {
    using raw = new Raw();
    const { to, receiver, sender } = strangers(raw, where);
    send(sender, { to });
    expect(raw.receive(receiver).nameBytes).toBe(0);
    const named = raw.at(fresh(where), SOCK_DGRAM);
    send(named, { to });
    const lengths = [MSG_PEEK, 0].map((flags) => raw.receive(receiver, { flags }).nameBytes);
    expect(lengths[0]).toBeGreaterThan(3);
    expect(lengths[1]).toBe(lengths[0]!);
  });

  test("shut down for reading: senders get EPIPE, what is queued stays (SHD-02, SHD-03)", () => {
    using raw = new Raw();
    const { to, receiver, sender } = strangers(raw, where);
    send(sender, { to, data: "before" });
    done(shutdown(receiver, SHUT_RD));
    expect(send(sender, { to })).toBe("EPIPE");
    expect([raw.text(receiver), raw.text(receiver)]).toEqual(["before", "EAGAIN"]);
  });
});

test("the API waits for room where poll lies, without spinning (DGR-09)", async () => {
  const path = freshPath();
  using receiver = openDatagram(path);
  using sender = openDatagram();
  let sent = 0;
  const all = Array.from({ length: 5 * (QUEUE + 1) }, (_, i) =>
    sender.send(`${i}`, { to: path }).then(() => sent++),
  );
  const first = longQueues() === null ? QUEUE : 1; // where a buffer is full before the queue
  await eventually(() => sent >= first, "the first are out");
  for (let i = 0; i < all.length; i++) {
    expect((await receiver.receive())?.text()).toBe(`${i}`);
  }
  await Promise.all(all);
});
