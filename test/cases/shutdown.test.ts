// Ends: shut down, closed, reset, seen from both sides; and calls that give up after a time.

import { describe, expect, test } from "bun:test";
import { socket as numbers } from "../../native/socket.ts";
import { waitReadable } from "../../src/index.ts";
import { duplicate, setNonBlocking } from "../../src/syscalls/fd.ts";
import { accept, connect as connectTo, shutdown } from "../../src/syscalls/socket.ts";
import { variants } from "../api/pairs.ts";
import { codeOf, turns } from "../api/tools.ts";
import {
  connections,
  done,
  fresh,
  more,
  polled,
  Raw,
  rawVariants,
  said,
  send,
  setRaw,
  timeval,
} from "./raw.ts";

const { SHUT_RD, SHUT_WR, SHUT_RDWR } = numbers;

describe.each(rawVariants)("$name", ({ open, kind }) => {
  const end = kind === "datagram" ? "EAGAIN" : "";

  test("shut down for writing: what is queued, then the end (SHD-01)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    send(near, { data: "last" });
    done(shutdown(near, SHUT_WR));
    expect(send(near)).toBe("EPIPE");
    expect([raw.text(far), raw.text(far), raw.text(far)]).toEqual(["last", end, end]);
    expect(send(far, { data: "answer" })).toBe(6);
    expect(raw.text(near)).toBe("answer");
  });

  test("shut down for reading: the peer gets EPIPE, and this end the end (SHD-02, SHD-03)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    done(shutdown(far, SHUT_RD));
    expect(send(near)).toBe("EPIPE");
    expect(raw.text(far)).toBe(end);
    expect(send(far, { data: "still" })).toBe(5);
    expect(raw.text(near)).toBe("still");
  });

  test("shut down both ways: what is queued is still read (SHD-04)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    send(near, { data: "queued" });
    done(shutdown(far, SHUT_RDWR));
    expect([raw.text(far), raw.text(far)]).toEqual(["queued", end]);
  });

  test("poll says who is told of a shutdown (SHD-05)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    done(shutdown(near, SHUT_WR));
    expect(polled(far)).toBe(kind === "datagram" ? "OUT" : "IN OUT RDHUP");
    done(shutdown(near, SHUT_RDWR));
    expect(polled(near)).toBe("IN OUT HUP RDHUP");
    expect(polled(far)).toBe(kind === "datagram" ? "OUT" : "IN OUT HUP RDHUP");
  });

  test("closed with nothing unread: the end; with something: reset (SHD-06)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    raw.close(near);
    expect(raw.text(far)).toBe(end);
    const [a, b] = open(raw);
    send(b, { data: "unread" });
    raw.close(a);
    const reset = kind === "datagram" ? ["EAGAIN", "EAGAIN"] : ["ECONNRESET", ""];
    expect([raw.text(b), raw.text(b)]).toEqual(reset);
  });

  test("a duplicate keeps it open; shutdown of any one counts for all (SHD-11)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    const copy = raw.own(duplicate(near));
    raw.close(near);
    expect(raw.text(far)).toBe("EAGAIN");
    const other = raw.own(duplicate(copy));
    done(shutdown(other, SHUT_WR));
    expect([raw.text(far), send(copy)]).toEqual([end, "EPIPE"]);
  });

  test("to send to a peer that is closed (SHD-13)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    raw.close(far);
    const gone = kind === "datagram" ? ["ECONNREFUSED", "ENOTCONN"] : ["EPIPE", "EPIPE"];
    expect([send(near), send(near)]).toEqual(gone);
  });

  test("SO_SNDTIMEO and SO_RCVTIMEO: EAGAIN; 1,500,000 microseconds: EDOM (BCK-02, BCK-03)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    while (send(near) === 1);
    for (const fd of [near, far]) done(setNonBlocking(fd, false));
    for (const which of [more.SO_SNDTIMEO, more.SO_RCVTIMEO]) {
      expect(setRaw(near, which, timeval(0, 1_500_000))).toBe("EDOM");
      expect(setRaw(near, which, timeval(0, 10))).toBe(0);
    }
    expect(send(near)).toBe("EAGAIN");
    expect(raw.text(near)).toBe("EAGAIN");
  });
});

describe.each(connections)("$name", ({ open, stream, type }) => {
  test("shut down with something unread: the reset comes with the close (SHD-07)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    send(near, { data: "unread" });
    done(shutdown(far, SHUT_RDWR));
    expect(raw.text(near)).toBe("");
    raw.close(far);
    expect([raw.text(near), raw.text(near)]).toEqual(["ECONNRESET", ""]);
  });

  test("closed with part of our data read (SHD-08)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    send(near, { data: "abc" });
    expect(raw.text(far, { bytes: 1 })).toBe("a");
    raw.close(far);
    expect(raw.text(near)).toBe(stream ? "ECONNRESET" : ""); // the packet's rest was dropped
  });

  test("to send first: only a stream keeps the reset for the receiver (SHD-10)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    send(near, { data: "unread" });
    raw.close(far);
    const seen = [send(near), raw.text(near), raw.text(near)];
    expect(seen).toEqual(stream ? ["EPIPE", "ECONNRESET", ""] : ["ECONNRESET", "", ""]);
  });

  test("an unread message's descriptor is closed with the reset (SHD-09)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    const [inside, outside] = raw.pair(type);
    send(near, { fds: [inside] });
    raw.close(inside);
    raw.close(far);
    expect([raw.text(outside), raw.text(near)]).toEqual(["", "ECONNRESET"]);
  });
});

describe.each(["path", "abstract"] as const)("over %s", (where) => {
  test("SO_SNDTIMEO and SO_RCVTIMEO of connect and accept: EAGAIN (CON-10, CON-23)", () => {
    using raw = new Raw();
    const address = fresh(where);
    const listener = raw.at(address, 1, 0);
    done(connectTo(raw.socket(1), address));
    const late = raw.socket(1);
    for (const fd of [late, listener]) done(setNonBlocking(fd, false));
    expect(setRaw(late, more.SO_SNDTIMEO, timeval(0, 10))).toBe(0);
    expect(said(connectTo(late, address))).toBe("EAGAIN");
    raw.own(accept(listener));
    expect(setRaw(listener, more.SO_RCVTIMEO, timeval(0, 10))).toBe(0);
    expect(said(accept(listener))).toBe("EAGAIN");
  });
});

describe.each(variants)("$name, by the API", ({ kind, open }) => {
  test("a wait is woken by this end's own shutdown (SHD-05)", async () => {
    using pair = await open();
    const waiting = waitReadable(pair.near);
    await turns();
    done(shutdown(pair.near.fd, SHUT_RDWR));
    await waiting;
    expect(await codeOf(() => pair.near.trySend("x"))).toBe("EPIPE");
    if (kind !== "datagram") expect(await pair.far.receive()).toBeNull();
  });

  test("a peer that reads no more can still send to who waits (SHD-02)", async () => {
    using pair = await open();
    const waiting = pair.far.receive();
    await turns();
    done(shutdown(pair.near.fd, SHUT_RD));
    expect(await codeOf(() => pair.far.trySend("x"))).toBe("EPIPE");
    await pair.near.send("still");
    expect((await waiting)?.text()).toBe("still");
  });
});

describe.each(variants.filter(({ kind }) => kind !== "datagram"))(
  "$name, by the API",
  ({ open, stream }) => {
    test("to send first: what was sent comes, and one call is told (SHD-10)", async () => {
      using pair = await open();
      await pair.near.send("unread");
      await pair.far.send("last words");
      pair.far.close();
      expect(await codeOf(() => pair.near.trySend("x"))).toBe(stream ? "EPIPE" : "ECONNRESET");
      expect(await codeOf(() => pair.near.trySend("x"))).toBe("EPIPE");
      expect((await pair.near.receive())?.text()).toBe("last words");
      if (stream) expect(await codeOf(() => pair.near.receive())).toBe("ECONNRESET");
      expect(await pair.near.receive()).toBeNull();
    });
  },
);
