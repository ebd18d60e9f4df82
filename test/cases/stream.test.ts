// Bytes without boundaries: what one receive returns, what a peek sees, what fills the buffer.

import { describe, expect, test } from "bun:test";
import { epoll } from "../../native/poll.ts";
import { option } from "../../native/socket.ts";
import { libc } from "../../src/syscalls/libc.ts";
import { result } from "../../src/syscalls/result.ts";
import { bind, getOption, setOption, shutdown } from "../../src/syscalls/socket.ts";
import {
  connections,
  edges,
  fresh,
  ioctl,
  MSG_PEEK,
  MSG_TRUNC,
  more,
  ofKind,
  polled,
  Raw,
  rawVariants,
  said,
  send,
  setRaw,
  UNTOUCHED,
} from "./raw.ts";

const { SO_SNDBUF } = option;
const SHUT_WR = 1;
const int = (value: number): Uint8Array => new Uint8Array(new Int32Array([value]).buffer);

/** Send bytes one by one until there is no room; how many went. */
function fillWithBytes(fd: number): number {
  for (let sent = 0; ; sent++) if (send(fd) === "EAGAIN") return sent;
}

describe.each(ofKind("stream"))("$name", ({ open }) => {
  test("two sends come with one receive, one send with two (STR-01)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    send(near, { data: "a".repeat(20) });
    send(near, { data: "b".repeat(20) });
    expect(raw.text(far, { bytes: 40 })).toBe("a".repeat(20) + "b".repeat(20));
    send(near, { data: "0123456789" });
    expect([raw.text(far, { bytes: 4 }), raw.text(far)]).toEqual(["0123", "456789"]);
  });

  test("MSG_TRUNC does not say the length, and is never said (STR-02)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    send(near, { data: "0123456789" });
    const flags = MSG_TRUNC | MSG_PEEK;
    const peeked = raw.receive(far, { bytes: 4, flags });
    expect([peeked.result, peeked.cut]).toEqual([4, false]);
    const got = raw.receive(far, { bytes: 4 });
    expect([got.text, got.cut, raw.text(far)]).toEqual(["0123", false, "456789"]);
  });

  test("no room for data: nothing is taken, EAGAIN where there is nothing (STR-03)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    for (const flags of [0, MSG_PEEK, MSG_TRUNC]) {
      expect(raw.receive(far, { bytes: 0, flags }).result).toBe("EAGAIN");
      send(near, { data: "kept" });
      expect(raw.receive(far, { bytes: 0, flags }).result).toBe(0);
      expect(raw.text(far)).toBe("kept");
    }
    shutdown(near, SHUT_WR);
    expect(raw.receive(far, { bytes: 0 }).result).toBe(0);
  });

  test("a connected one sends to nobody else: EISCONN (STR-04)", () => {
    using raw = new Raw();
    const [near] = open(raw);
    expect(send(near, { to: fresh("path") })).toBe("EISCONN");
  });

  test("a send of many times the buffer is taken in part; then EPIPE (STR-05, STR-06)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    const big = new Uint8Array(4 << 20);
    const first = send(near, { data: big });
    expect(first).toBeGreaterThan(1_000);
    expect(first).toBeLessThan(big.length);
    raw.close(far);
    expect(send(near, { data: big })).toBe("EPIPE");
  });

  test("the send buffer is doubled; made smaller it refuses, larger it takes (STR-07)", () => {
    using raw = new Raw();
    const [near] = open(raw);
    setOption(near, SO_SNDBUF, 50_000);
    expect(getOption(near, SO_SNDBUF)).toBe(100_000);
    while (send(near, { data: new Uint8Array(4_000) }) !== "EAGAIN");
    setOption(near, SO_SNDBUF, 5_000);
    expect(send(near)).toBe("EAGAIN");
    setOption(near, SO_SNDBUF, 200_000);
    expect(send(near)).toBe(1);
  });

  test("MSG_WAITALL, where nothing blocks, waits for nothing (STR-08)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    send(near, { data: "abc" });
    expect(raw.text(far, { bytes: 10, flags: more.MSG_WAITALL })).toBe("abc");
    send(near, { data: "defg" });
    raw.close(near);
    expect(raw.text(far, { bytes: 10, flags: more.MSG_WAITALL })).toBe("defg");
  });

  test("an empty send is nothing (STR-10)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    expect(send(near, { data: "" })).toBe(0);
    expect(raw.text(far)).toBe("EAGAIN");
  });

  test("a name given between two sends is that of a receive of both (STR-13)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    send(near, { data: "a" });
    if (bind(near, fresh("path")) !== 0) return expect(raw.text(far)).toBe("a"); // has one already
    send(near, { data: "b" });
    const got = raw.receive(far);
    expect([got.text, got.nameBytes > 2]).toEqual(["ab", true]);
  });

  test("a peek spans sends (STR-14)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    for (const data of ["aaaa", "bbbb", "cccc"]) send(near, { data });
    expect(raw.text(far, { bytes: 12, flags: MSG_PEEK })).toBe("aaaabbbbcccc");
    expect(raw.text(far)).toBe("aaaabbbbcccc");
  });

  test("SO_RCVLOWAT holds neither poll nor a receive back (STR-15)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    expect(setRaw(far, more.SO_RCVLOWAT, int(10))).toBe(0);
    send(near, { data: "abc" });
    expect(polled(far)).toBe("IN OUT");
    expect(raw.text(far)).toBe("abc");
  });

  test("FIONREAD counts bytes, TIOCOUTQ the kernel's memory (STR-16)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    send(near, { data: "abc" });
    expect(ioctl(far, more.FIONREAD)).toBe(3);
    expect(ioctl(near, more.TIOCOUTQ)).toBeGreaterThan(3);
    raw.text(far);
    expect([ioctl(far, more.FIONREAD), ioctl(near, more.TIOCOUTQ)]).toEqual([0, 0]);
  });

  test("a bad buffer is EFAULT, and the bytes stay (STR-17)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    send(near, { data: "kept" });
    expect(said(result(libc.recv(far, 8 as never, 4, 0)))).toBe("EFAULT");
    expect(raw.text(far)).toBe("kept");
    expect(said(result(libc.send(near, 8 as never, 4, 0)))).toBe("EFAULT");
    expect(raw.text(far)).toBe("EAGAIN");
  });

  test("each end is told, as often as it is asked (STR-20)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    raw.close(near);
    for (let i = 0; i < 3; i++) expect(raw.text(far)).toBe("");
    expect(polled(far)).toBe("IN OUT HUP RDHUP");
  });
});

describe.each(connections)("$name", ({ open }) => {
  test("full, it is writable again only when most has been read (STR-11, BCK-04)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    const sent = fillWithBytes(near);
    expect(polled(near)).toBe("");
    let read = 0;
    while (polled(near) === "" && raw.text(far, { bytes: 1 }) === "x") read++;
    expect(polled(near)).toBe("OUT");
    expect(read / sent).toBeGreaterThan(0.5);
    expect(read).toBeLessThan(sent);
  });
});

describe.each(rawVariants)("$name", ({ open }) => {
  test("edge-triggered: each message is an event, also before the last was read (STR-12)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    const events = edges(raw, far, epoll.EPOLLIN!);
    send(near);
    expect([events(), events()]).toEqual([1, 0]);
    send(near);
    expect([events(), events()]).toEqual([1, 0]);
    raw.text(far, { bytes: 1 });
    expect(events()).toBe(0);
  });

  test("a receive that fails leaves the flags as they were (STR-09)", () => {
    using raw = new Raw();
    const [, far] = open(raw);
    const { result: answer, flags } = raw.receive(far);
    expect([answer, flags]).toEqual(["EAGAIN", UNTOUCHED]);
  });

  test("nothing there is EAGAIN, to a receive and a peek; poll agrees (BCK-01)", () => {
    using raw = new Raw();
    const [, far] = open(raw);
    expect([raw.text(far), raw.text(far, { flags: MSG_PEEK })]).toEqual(["EAGAIN", "EAGAIN"]);
    expect(polled(far)).toBe("OUT");
  });

  test("until it is full: EAGAIN, never a message torn or lost (BCK-07)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    const sent = fillWithBytes(near);
    expect(sent).toBeGreaterThan(5);
    let got = 0;
    while (raw.text(far, { bytes: 1 }) === "x") got++;
    expect(got).toBe(sent);
  });
});
