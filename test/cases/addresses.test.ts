// Names of sockets, byte by byte: where the kernel surprises, and what the API makes of it.

import { describe, expect, test } from "bun:test";
import { lstatSync } from "node:fs";
import { socket as numbers, sockaddrUn } from "../../native/socket.ts";
import { connect, listen, openDatagram, probe } from "../../src/index.ts";
import { libc } from "../../src/syscalls/libc.ts";
import { Memory } from "../../src/syscalls/memory.ts";
import { result } from "../../src/syscalls/result.ts";
import { bind, connect as connectTo, listen as listenOn } from "../../src/syscalls/socket.ts";
import { freshAddress, freshPath, kinds } from "../api/pairs.ts";
import { codeOf, eventually, thrown } from "../api/tools.ts";
import { SOCK_DGRAM, SOCK_SEQPACKET, SOCK_STREAM } from "../syscalls/sockets.ts";
import { connections, done, fresh, Raw, rawVariants, said, type Where } from "./raw.ts";

const types = [
  ["stream", SOCK_STREAM],
  ["seqpacket", SOCK_SEQPACKET],
  ["datagram", SOCK_DGRAM],
] as const;

/** A sockaddr_un with these bytes for sun_path, in room for a longer one. */
function sockaddr(path: string | Uint8Array, family: number = numbers.AF_UNIX): Memory {
  const made = new Memory(256);
  made.view.setUint16(0, family, true);
  made.bytes.set(Buffer.from(path), 2);
  return made;
}

/** The name of no bytes is one for everybody: wait until no other test has it. */
async function whenFree<T>(open: () => T): Promise<T> {
  let opened: T | undefined;
  const tryIt = (): boolean => {
    try {
      opened = open();
    } catch (error) {
      if ((error as { code?: string }).code !== "EADDRINUSE") throw error;
    }
    return opened !== undefined;
  };
  await eventually(tryIt, "the name of no bytes is free");
  return opened!;
}

const bindRaw = (fd: number, name: Memory, length: number): number | string =>
  said(result(libc.bind(fd, name.address, length)));

const connectRaw = (fd: number, name: Memory, length: number): number | string =>
  said(result(libc.connect(fd, name.address, length)));

/** What getsockname writes into a buffer of `room` bytes, and the length that it says. */
function nameOf(fd: number, room: number, call: "getsockname" | "getpeername" = "getsockname") {
  const name = new Memory(256);
  const length = new Memory(8);
  name.bytes.fill(0xaa);
  length.words[0] = room;
  const answer = said(result(libc[call](fd, name.address, length.address)));
  return { answer, length: length.words[0]!, bytes: Buffer.from(name.bytes) };
}

describe.each(types)("%s", (kind, type) => {
  test("lengths that no address has: EINVAL, to bind and to connect (ADR-03)", () => {
    using raw = new Raw();
    for (const length of [111, 128, 1, -1]) {
      expect(bindRaw(raw.socket(type), sockaddr("x".repeat(150)), length)).toBe("EINVAL");
      expect(connectRaw(raw.socket(type), sockaddr("x".repeat(150)), length)).toBe("EINVAL");
    }
  });

  test("a path without its NUL: getsockname adds it (ADR-05)", () => {
    using raw = new Raw();
    const path = freshPath();
    const fd = raw.socket(type);
    expect(bindRaw(fd, sockaddr(`${path}ZZ`), 2 + path.length)).toBe(0);
    const { length, bytes } = nameOf(fd, 200);
    expect(length).toBe(2 + path.length + 1);
    expect(bytes.toString("latin1", 2, length)).toBe(`${path}\0`);
    expect(lstatSync(path).isSocket()).toBe(true);
  });

  test("too little room: cut, and the whole length all the same; −1 is EINVAL (ADR-06)", () => {
    using raw = new Raw();
    const path = freshPath();
    const fd = raw.at({ kind: "path", path }, type);
    const whole = 2 + path.length + 1;
    for (const room of [0, 1, 6, whole - 1]) {
      const { answer, length, bytes } = nameOf(fd, room);
      expect([answer, length]).toEqual([0, whole]);
      expect(bytes[room]).toBe(0xaa);
      if (room === 6) expect(bytes.toString("latin1", 2, 6)).toBe(path.slice(0, 4));
    }
    expect(nameOf(fd, -1).answer).toBe("EINVAL");
  });

  test("a NUL ends a path for the kernel: two such paths are one (ADR-07, ADR-11)", () => {
    using raw = new Raw();
    const path = freshPath();
    const length = 2 + path.length + 4;
    expect(bindRaw(raw.socket(type), sockaddr(`${path}\0abc`), length)).toBe(0);
    expect(lstatSync(path).isSocket()).toBe(true);
    expect(bindRaw(raw.socket(type), sockaddr(`${path}\0xyz`), length)).toBe("EADDRINUSE");
  });

  test("asking for a name twice is nothing the second time (ADR-14)", () => {
    using raw = new Raw();
    const fd = raw.at({ kind: "unnamed" }, type);
    const { length, bytes } = nameOf(fd, 128);
    expect(length).toBe(8);
    expect(done(bind(fd, { kind: "unnamed" }))).toBe(0);
    expect(nameOf(fd, 128).bytes.equals(bytes)).toBe(true);
  });

  test("an abstract name of no bytes is a name, not a request for one (ADR-15)", async () => {
    using raw = new Raw();
    const fd = raw.socket(type);
    await eventually(() => bindRaw(fd, sockaddr(""), 3) === 0, "the name of no bytes is free");
    expect(nameOf(fd, 128).length).toBe(3);
    expect(bindRaw(raw.socket(type), sockaddr(""), 3)).toBe("EADDRINUSE");
  });

  test("an abstract name of 107 bytes works, of 108 is refused (ADR-09)", async () => {
    using raw = new Raw();
    const names = [Buffer.alloc(107), Buffer.alloc(107, freshAddress("abstract"))];
    names[0]!.write(freshAddress("abstract"), 50); // NULs before it and after it
    for (const name of names) {
      const fd = raw.at({ kind: "abstract", name }, type);
      expect(nameOf(fd, 128).length).toBe(sockaddrUn.size);
    }
    const abstract = Buffer.alloc(108, 1);
    const open = () => (kind === "datagram" ? openDatagram({ abstract }) : listen({ abstract }));
    expect(await thrown(open)).toBeInstanceOf(RangeError);
  });

  test("an address of another family is EINVAL (ADR-26)", () => {
    using raw = new Raw();
    for (const family of [numbers.AF_INET, numbers.AF_UNSPEC, 99]) {
      expect(bindRaw(raw.socket(type), sockaddr("name", family), 16)).toBe("EINVAL");
    }
    expect(connectRaw(raw.socket(type), sockaddr("name", numbers.AF_INET), 16)).toBe("EINVAL");
  });

  test("getpeername of a socket that is not connected: ENOTCONN (ADR-17)", () => {
    using raw = new Raw();
    expect(nameOf(raw.socket(type), 128, "getpeername").answer).toBe("ENOTCONN");
    expect(nameOf(raw.at(fresh("path"), type), 128, "getpeername").answer).toBe("ENOTCONN");
  });
});

describe.each(rawVariants.filter(({ name }) => name.includes("pair")))("$name", ({ open }) => {
  test.each(["path", "abstract"] as const)(
    "an end that is connected can be given a name (%s), and the peer sees it (ADR-18)",
    (where: Where) => {
      using raw = new Raw();
      const [near, far] = open(raw);
      expect(nameOf(far, 128, "getpeername").length).toBe(2);
      const address = fresh(where);
      expect(done(bind(near, address))).toBe(0);
      const seen = nameOf(far, 128, "getpeername");
      const own = nameOf(near, 128);
      expect([seen.length, seen.bytes.equals(own.bytes)]).toEqual([own.length, true]);
      expect(seen.length).toBeGreaterThan(3);
      expect(said(bind(near, fresh(where)))).toBe("EINVAL");
    },
  );
});

describe.each(connections.filter(({ name }) => !name.includes("pair")))("$name", ({ open }) => {
  test("only the listener's end has a name (ADR-16, ADR-20)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    const lengths = [near, far].map((fd) => [
      nameOf(fd, 128).length,
      nameOf(fd, 128, "getpeername").length,
    ]);
    const named = lengths.find(([own]) => own! > 2);
    expect(named?.[1]).toBe(2);
    expect(lengths.find(([own]) => own === 2)?.[1]).toBe(named![0]!);
  });
});

describe.each(["stream", "seqpacket"] as const)("%s, by the API", (type) => {
  test("an abstract name of no bytes listens, and is found again (ADR-15)", async () => {
    using server = await whenFree(() => listen({ abstract: "" }, { type }));
    expect(server.address).toEqual({ kind: "abstract", name: new Uint8Array(0) });
    using client = await connect({ abstract: "" }, { type });
    using accepted = await server.accept();
    expect(client.peerAddress).toEqual(server.address);
    expect(accepted.localAddress).toEqual(server.address);
    expect(await codeOf(() => listen({ abstract: "" }, { type }))).toBe("EADDRINUSE");
  });
});

test("a NUL in a path is refused before any system call (ADR-07)", async () => {
  const path = `${freshPath()}\0ded`;
  const calls = [() => listen(path), () => connect(path), () => openDatagram(path)];
  for (const call of calls) expect(await thrown(call)).toBeInstanceOf(TypeError);
  expect(await thrown(() => openDatagram({ path }))).toBeInstanceOf(TypeError);
});

test("paths of 108 bytes and more work: no suite's limit is ours (ADR-04)", async () => {
  for (const length of [107, 108, 109, 200]) {
    const path = `${freshPath()}-${"p".repeat(20)}`;
    const slash = path.lastIndexOf("/");
    const long = `${path.slice(0, slash)}${"/".repeat(length - path.length)}${path.slice(slash)}`;
    expect(long.length).toBe(length);
    for (const kind of kinds) {
      if (kind === "datagram") {
        using receiver = openDatagram(long);
        using sender = openDatagram();
        await sender.send("x", { to: long });
        expect(receiver.tryReceive()?.text()).toBe("x");
      } else {
        using server = listen(long, { type: kind });
        using _client = await connect(long, { type: kind });
        using _accepted = await server.accept();
        expect(server.address).toEqual({ kind: "path", path: long });
      }
    }
  }
});

test("a path of 108 bytes without a NUL is reached by that path (ADR-02)", async () => {
  using raw = new Raw();
  const short = freshPath();
  const path = short.padEnd(108, "n");
  const fd = raw.socket(SOCK_STREAM);
  expect(bindRaw(fd, sockaddr(path), 110)).toBe(0);
  const { length, bytes } = nameOf(fd, 128);
  expect([length, bytes[110]]).toEqual([111, 0]);
  done(listenOn(fd, 4));
  expect(connectRaw(raw.socket(SOCK_STREAM), sockaddr(path), 110)).toBe(0);
  expect(said(connectTo(raw.socket(SOCK_STREAM), { kind: "path", path: short }))).toBe("ENOENT");
  using client = await connect(path);
  expect(client.type).toBe("stream");
  expect(probe(path).state).toBe("listening");
});
