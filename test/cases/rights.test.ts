// Descriptors in control data, on every kind of socket: how many arrive, with which bytes, and
// where they go when nobody has room for them. What Raw receives it closes; the leak check counts.

import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { errno } from "../../native/errno.ts";
import { file } from "../../native/file.ts";
import { cmsghdr, message as flag, option, scm } from "../../native/socket.ts";
import { cmsgLength, cmsgSpace, encodeControl } from "../../src/structs/cmsg.ts";
import { close, descriptorFlags } from "../../src/syscalls/fd.ts";
import { libc } from "../../src/syscalls/libc.ts";
import { cString, Memory } from "../../src/syscalls/memory.ts";
import { result } from "../../src/syscalls/result.ts";
import { getOption, setOption, shutdown } from "../../src/syscalls/socket.ts";
import { openAtMost, openFds } from "../api/tools.ts";
import { noWrongControl, testUnless } from "../support/unless.ts";
import {
  done,
  MSG_CTRUNC,
  MSG_PEEK,
  more,
  packets,
  Raw,
  rawVariants,
  said,
  send,
  translated,
} from "./raw.ts";

const INT = 4;
const SHUT_RD = 0;
const self = fileURLToPath(import.meta.url);

/** SCM_RIGHTS, as `bytes` of payload that start with descriptor 0, and whatever length it says. */
function rights(bytes: number, length = cmsgLength(bytes), level: number = option.SOL_SOCKET) {
  const view = new DataView(new ArrayBuffer(Math.max(cmsgLength(bytes), cmsghdr.size)));
  view.setUint32(0, length, true);
  view.setInt32(cmsghdr.at.cmsg_level, level, true);
  view.setInt32(cmsghdr.at.cmsg_type, scm.SCM_RIGHTS, true);
  return new Uint8Array(view.buffer);
}

/** Two control messages of so many descriptors each. */
function twice(first: number, second: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(cmsgSpace(INT * first) + cmsgSpace(INT * second)));
  const at = encodeControl(view, { fds: new Array(first).fill(0) });
  encodeControl(new DataView(view.buffer, at), { fds: new Array(second).fill(0) });
  return new Uint8Array(view.buffer);
}

/** Why `call` cannot be made here; null where it can. */
function reason(call: () => number, name: string): string | null {
  const value = call();
  return value < 0 ? `${name}: ${said(value)}` : null;
}

/** A new io_uring, or a negative errno. */
function ioUring(): number {
  const SETUP = 425;
  const parameters = new Memory(120);
  return result(Number(libc.syscall(SETUP, 1, parameters.address, 0, 0, 0, 0)));
}

const noIoUring = reason(() => {
  const fd = ioUring();
  if (fd >= 0) close(fd);
  return fd;
}, "io_uring_setup");

const noRefusing = reason(() => {
  using raw = new Raw();
  const fd = raw.socket(1);
  const set = setOption(fd, option.SO_PASSRIGHTS ?? -1, 0);
  return set < 0 || getOption(fd, option.SO_PASSRIGHTS!) === 0 ? set : -errno.ENOPROTOOPT;
}, "SO_PASSRIGHTS");

const many = (count: number): number[] => new Array(count).fill(0);

describe.each(rawVariants)("$name", ({ open, stream }) => {
  test("253 go, 254 are EINVAL, and nothing of that message is sent (RTS-02, RTS-03)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    expect(send(near, { data: "all", fds: many(253) })).toBe(3);
    const got = raw.receive(far);
    expect([got.text, got.fds.length, got.controlBytes]).toEqual([
      "all",
      253,
      cmsgSpace(INT * 253),
    ]);
    expect(send(near, { data: "none", fds: many(254) })).toBe("EINVAL");
    expect(raw.text(far)).toBe("EAGAIN");
  });

  test("two control messages become one; the limit is the message's (RTS-04)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    expect(send(near, { control: twice(130, 123) })).toBe(1);
    const got = raw.receive(far);
    expect([got.fds.length, got.controlBytes]).toEqual([253, cmsgSpace(INT * 253)]);
    expect(send(near, { control: twice(130, 124) })).toBe("EINVAL");
    expect(raw.text(far)).toBe("EAGAIN");
  });

  testUnless(
    translated(),
    "room for control data decides how many of 3 arrive; none leaks (RTS-06 to RTS-09)",
    async () => {
      for (let room = 0; room <= 48; room++) {
        using raw = new Raw();
        const [near, far] = open(raw);
        send(near, { data: "data", fds: [0, 1, 2] });
        const before = openFds();
        const got = raw.receive(far, { room });
        const fit = Math.max(0, Math.floor((room - cmsgLength(0)) / INT));
        expect([got.text, got.fds.length]).toEqual(["data", Math.min(3, fit)]);
        expect([room, got.controlCut]).toEqual([room, fit < 3]);
        await openAtMost(before, got.fds.length);
      }
    },
  );

  test("read(2) gets the data, and the descriptors are closed (RTS-10)", async () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    const before = openFds();
    send(near, { data: "1234", fds: [0] });
    const room = new Memory(16);
    expect(said(result(libc.read(far, room.address, 16)))).toBe(4);
    await openAtMost(before);
    expect(raw.receive(far).result).toBe("EAGAIN");
  });

  test("each peek brings new ones, and the receive too (RTS-17)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    send(near, { data: "x", fds: [0] });
    const seen = [MSG_PEEK, MSG_PEEK, 0].map((flags) => raw.receive(far, { flags }));
    expect(seen.map(({ text, fds }) => [text, fds.length])).toEqual(Array(3).fill(["x", 1]));
    expect(new Set(seen.map(({ fds }) => fds[0])).size).toBe(3);
  });

  test("bad numbers: EBADF, nothing is sent (RTS-22)", async () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    const before = openFds();
    for (const fds of [[-1], [999_999], [0, 999_999, 1]]) {
      expect(send(near, { fds })).toBe("EBADF");
    }
    expect(raw.text(far)).toBe("EAGAIN");
    await openAtMost(before);
  });

  testUnless(noWrongControl(), "lengths that cannot be: EINVAL (RTS-23)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    for (const length of [0, 1, cmsgLength(0) - 1, 1_000]) {
      expect(send(near, { control: rights(INT, length) })).toBe("EINVAL");
    }
    expect(raw.text(far)).toBe("EAGAIN");
  });

  test("none, or three bytes of one: sent, and nothing beside it comes (RTS-24, RTS-25)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    for (const control of [rights(0), rights(3)]) {
      expect(send(near, { data: "plain", control })).toBe(5);
      const got = raw.receive(far);
      expect([got.text, got.controlBytes, got.controlCut]).toEqual(["plain", 0, false]);
    }
  });

  test("the last one needs no padding behind it (RTS-26)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    expect(rights(INT).length).toBe(20);
    expect(send(near, { control: rights(INT) })).toBe(1);
    expect(raw.receive(far).fds.length).toBe(1);
  });

  test("another level is not looked at, another type of SOL_SOCKET is EINVAL (RTS-27)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    expect(send(near, { control: rights(INT, 20, 99) })).toBe(1);
    expect(raw.receive(far).controlBytes).toBe(0);
    const unknown = rights(INT);
    unknown[cmsghdr.at.cmsg_type] = 77;
    expect(send(near, { control: unknown })).toBe("EINVAL");
  });

  test("close-on-exec only where it is asked for, and the flag comes back (RTS-28)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    for (const flags of [0, flag.MSG_CMSG_CLOEXEC!]) {
      send(near, { fds: [0] });
      const got = raw.receive(far, { flags });
      const asked = flags === 0 ? 0 : file.FD_CLOEXEC;
      expect(descriptorFlags(got.fds[0]!) & file.FD_CLOEXEC).toBe(asked);
      expect(got.flags & flags).toBe(flags);
    }
  });

  test("the sender closes all before they are received: they arrive (RTS-31)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    const [inside, outside] = raw.pair(1);
    send(near, { fds: [inside] });
    raw.close(inside);
    raw.close(near);
    const [arrived] = raw.receive(far).fds;
    expect([send(arrived!, { data: "alive" }), raw.text(outside)]).toEqual([5, "alive"]);
  });

  test("both ends closed: what was in flight is closed (RTS-32)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    const [inside, outside] = raw.pair(1);
    send(near, { fds: [inside] });
    raw.close(inside);
    expect(raw.text(outside)).toBe("EAGAIN");
    raw.close(near);
    raw.close(far);
    expect(raw.text(outside)).toBe("");
  });

  test("shut down for reading, the receiver still gets what is queued (RTS-33)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    send(near, { data: "before", fds: [0] });
    done(shutdown(far, SHUT_RD));
    const got = raw.receive(far);
    expect([got.text, got.fds.length]).toEqual(["before", 1]);
  });

  test("a socket goes over itself, and so does its peer (RTS-34)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    send(near, { fds: [near, far] });
    const [first, second] = raw.receive(far).fds;
    expect(send(first!, { data: "round" })).toBe(5);
    expect(raw.text(second!)).toBe("round");
  });

  test("sockets in sockets in sockets, 60 deep (RTS-38)", () => {
    using raw = new Raw();
    let inner = open(raw);
    send(inner[0], { data: "core" });
    for (let depth = 0; depth < 60; depth++) {
      const outer = open(raw);
      expect(send(outer[0], { fds: inner })).toBe(1);
      for (const fd of inner) raw.close(fd);
      inner = outer;
    }
    for (let depth = 0; depth < 60; depth++) {
      const { fds } = raw.receive(inner[1]);
      for (const fd of inner) raw.close(fd);
      inner = [fds[0]!, fds[1]!];
    }
    expect(raw.text(inner[1])).toBe("core");
  });

  test("MSG_WAITALL stops at each message with descriptors (RTS-50)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    for (let i = 0; i < 3; i++) send(near, { data: "ab", fds: [0] });
    const flags = more.MSG_WAITALL;
    const seen = [0, 1, 2].map(() => raw.receive(far, { bytes: 6, flags }));
    expect(seen.map(({ text, fds }) => [text, fds.length])).toEqual(Array(3).fill(["ab", 1]));
  });

  test("MSG_CTRUNC asked for is nothing (RTS-53)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    send(near, { fds: [0] });
    const got = raw.receive(far, { flags: MSG_CTRUNC });
    expect([got.fds.length, got.controlCut]).toEqual([1, false]);
  });

  testUnless(
    noRefusing,
    "a receiver that refuses: EPERM; what is queued still comes (RTS-42)",
    () => {
      using raw = new Raw();
      const [near, far] = open(raw);
      expect(getOption(far, option.SO_PASSRIGHTS!)).toBe(1);
      send(near, { data: "queued", fds: [0] });
      done(setOption(far, option.SO_PASSRIGHTS!, 0));
      expect(send(near, { fds: [0] })).toBe("EPERM");
      expect(send(near, { data: "plain" })).toBe(5);
      expect(raw.receive(far, { bytes: 6 }).fds.length).toBe(1);
      expect(raw.text(far)).toBe("plain");
    },
  );

  test("no room for data: the descriptor comes; a stream keeps the byte (RTS-19)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    send(near, { data: "x", fds: [0] });
    const got = raw.receive(far, { bytes: 0 });
    expect([got.result, got.fds.length, got.cut]).toEqual([0, 1, !stream]);
    expect(raw.text(far)).toBe(stream ? "x" : "EAGAIN");
  });

  test("no data: a stream drops them in silence, packets bring them (RTS-20, RTS-21)", async () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    const before = openFds();
    expect(send(near, { data: "", fds: [0] })).toBe(0);
    const got = raw.receive(far);
    expect([got.result, got.fds.length]).toEqual(stream ? ["EAGAIN", 0] : [0, 1]);
    await openAtMost(before, stream ? 0 : 1);
  });

  testUnless(noIoUring, "an io_uring cannot be sent: EINVAL (RTS-44)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    expect(send(near, { fds: [raw.own(ioUring())] })).toBe("EINVAL");
    expect(raw.text(far)).toBe("EAGAIN");
  });
});

describe.each(packets)("$name", ({ open }) => {
  test("a message that is cut brings all of its descriptors (RTS-06)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    send(near, { data: "0123456789", fds: [0, 1, 2] });
    const got = raw.receive(far, { bytes: 2 });
    expect([got.text, got.fds.length, got.cut, got.controlCut]).toEqual(["01", 3, true, false]);
  });
});

test("a file that is passed shares its position (RTS-46)", () => {
  using raw = new Raw();
  const [near, far] = raw.pair(1);
  const fd = raw.own(result(libc.open(cString(self).address, file.O_RDONLY, 0)));
  const room = new Memory(16);
  done(Number(libc.read(fd, room.address, 5)));
  send(near, { fds: [fd] });
  const [arrived] = raw.receive(far).fds;
  expect(Number(libc.read(arrived!, room.address, 5))).toBe(5);
  const text = readFileSync(self, "latin1");
  expect(Buffer.from(room.bytes.subarray(0, 5)).toString("latin1")).toBe(text.slice(5, 10));
});
