// Addresses: every form that users write, through bind, connect, send and back.

import { describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, renameSync } from "node:fs";
import fc from "fast-check";
import {
  type Address,
  type AddressInput,
  connect,
  connectSync,
  formatAddress,
  listen,
  openDatagram,
  parseAddress,
  socketPair,
} from "../../src/index.ts";
import { tempDir } from "../support/tmp.ts";
import { lacking, testUnless } from "../support/unless.ts";
import { addressRoutes, connectionTypes, freshAddress, freshPath } from "./pairs.ts";
import { callsOf, codeOf, eventually, failure, leakFree, must } from "./tools.ts";

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, "latin1"));
const path = (value: string | Uint8Array): Address => ({ kind: "path", path: value });
const noNames = lacking("abstractNames");
const abstract = (name: string): Address => ({ kind: "abstract", name: bytes(name) });

describe("what is written and what it means", () => {
  const cases: readonly [AddressInput, Address, text: string][] = [
    ["/run/x.sock", path("/run/x.sock"), "/run/x.sock"],
    ["relative", path("relative"), "relative"],
    ["./@odd", path("./@odd"), "./@odd"],
    [{ path: "@odd" }, path("@odd"), "./@odd"],
    ["@name", abstract("name"), "@name"],
    ["\0name", abstract("name"), "@name"],
    ["@", abstract(""), "@"],
    ["\0", abstract(""), "@"],
    ["@@", abstract("@"), "@@"],
    [{ abstract: "name" }, abstract("name"), "@name"],
    [{ abstract: "@name" }, abstract("@name"), "@@name"],
    [{ abstract: bytes("a\0b\xff") }, abstract("a\0b\xff"), "@a\\x00b\\xff"],
    ["@a\\x00b\\xff", abstract("a\0b\xff"), "@a\\x00b\\xff"],
    ["@a\0b", abstract("a\0b"), "@a\\x00b"],
    [{ path: bytes("/\xff\xfe") }, path(bytes("/\xff\xfe")), "/\\xff\\xfe"],
    ["/\\xff\\xfe", path(bytes("/\xff\xfe")), "/\\xff\\xfe"],
    ["/with space and é", path("/with space and é"), "/with space and é"],
    [{ path: "/\\x41" }, path("/\\x41"), "/\\x5cx41"],
    [{ autobind: true }, { kind: "unnamed" }, ""],
    [path("/p"), path("/p"), "/p"],
    [abstract("n"), abstract("n"), "@n"],
  ];
  for (const [input, address, text] of cases) {
    test(`${JSON.stringify(input)} is ${JSON.stringify(text)}`, () => {
      expect(parseAddress(input)).toEqual(address);
      expect(formatAddress(address)).toBe(text);
    });
  }

  test("what is no address is refused before any system call", async () => {
    const wrong = ["", { path: "" }, { path: "a\0b" }, "/a\0b", 7, null, undefined, {}, []];
    const calls = await callsOf(() => {
      for (const input of wrong) {
        expect(() => parseAddress(input as AddressInput), String(input)).toThrow(TypeError);
        if (input !== undefined) {
          expect(() => openDatagram(input as AddressInput)).toThrow(TypeError);
        }
        expect(() => listen(input as AddressInput)).toThrow(TypeError);
        expect(() => connectSync(input as AddressInput)).toThrow(TypeError);
      }
      const tooLong = ["@".repeat(109), { abstract: new Uint8Array(108) }];
      for (const long of noNames === null ? tooLong : []) {
        expect(() => listen(long)).toThrow(RangeError);
      }
    });
    expect(calls).toEqual([]);
  });

  test("format and parse are inverse for any bytes", () => {
    const name = fc.uint8Array({ maxLength: 107 });
    const pathBytes = fc.uint8Array({ minLength: 1, maxLength: 300 }).map(withoutNul);
    const text = fc
      .string({ minLength: 1, unit: "binary" })
      .map((s) => s.replaceAll("\0", "x").replace(/\/$/, "x"));
    const names = name.map((value): Address => ({ kind: "abstract", name: value }));
    const address = fc.oneof(
      ...(noNames === null ? [names] : []),
      pathBytes.map((value) => parseAddress({ path: value })),
      text.map((value) => parseAddress({ path: value })),
    );
    fc.assert(
      fc.property(address, (given) => {
        const back = parseAddress(formatAddress(given));
        // "@x" as a path is written "./@x": the same file
        expect(normal(back)).toEqual(normal(given));
        expect(formatAddress(back)).toBe(formatAddress(given));
      }),
      { numRuns: 1000 },
    );
  });
});

/** A NUL, or a slash at the end, is refused. */
const withoutNul = (value: Uint8Array): Uint8Array =>
  value.map((byte, i) => (byte === 0 || (byte === 0x2f && i === value.length - 1) ? 1 : byte));

function normal(address: Address): unknown {
  if (address.kind !== "path") return address;
  const given = Buffer.from(address.path as string).toString("latin1");
  return given.startsWith("./@") ? given.slice(2) : given;
}

/** A connection to `address` and a datagram to it, and what the other side calls it. */
async function reach(address: AddressInput): Promise<void> {
  for (const type of connectionTypes) {
    using server = listen(address, { type });
    using client = await connect(address, { type });
    using blocking = connectSync(server.address, { type });
    using accepted = await server.accept();
    using second = await server.accept();
    await client.send("hello");
    expect(must(await accepted.receive()).text()).toBe("hello");
    await second.send("again");
    expect(must(await blocking.receive()).text()).toBe("again");
  }
  using receiver = openDatagram(address);
  using connected = openDatagram(undefined, { connect: address });
  using loose = openDatagram();
  connected.sendSync("one");
  await loose.send("two", { to: receiver.localAddress });
  loose.sendSync("three", { to: address });
  loose.trySend("four", { to: address });
  await loose.sendBatch([{ data: "five", to: address }]);
  const texts = must(receiver.tryReceive()).text();
  expect([texts, ...(receiver.tryReceiveBatch() ?? []).map((m) => m.text())]).toEqual([
    "one",
    "two",
    "three",
    "four",
    "five",
  ]);
}

function isFree(address: AddressInput): boolean {
  try {
    openDatagram(address).close();
    listen(address, { type: "seqpacket" }).close();
    listen(address).close();
    return true;
  } catch {
    return false;
  }
}

describe("addresses that work", () => {
  const names: [string, AddressInput][] = [
    ["abstract", freshAddress("abstract")],
    ["abstract with NULs and 0xff", { abstract: bytes(`bx-${process.pid}\0\0\xff\0`) }],
    ["abstract of 107 bytes", { abstract: bytes(`bx${process.pid}`.padEnd(107, "n")) }],
    ["abstract of 107 NULs", { abstract: new Uint8Array(107) }],
    ["the empty abstract name", "@"],
  ];
  for (const [name, address] of names) {
    testUnless(noNames, name, async () => {
      // another run of these tests on this machine may have the few names that are not our own
      await eventually(() => isFree(address), "the name is free");
      await leakFree(() => reach(address));
    });
  }

  const files: [string, (dir: string) => AddressInput][] = [
    ["a path", (dir) => `${dir}/plain`],
    ["a path with spaces and é", (dir) => `${dir}/with space é`],
    ["a path that is no UTF-8", (dir) => ({ path: bytes(`${dir}/\xff\xfe\x80`) })],
    ["a path of exactly 107 bytes", (dir) => `${dir}/`.padEnd(107, "p")],
    ["a path of 108 bytes", (dir) => `${dir}/${"d".repeat(40)}/`.padEnd(108, "p")],
    ["a path of 300 bytes", (dir) => `${dir}/${"d".repeat(40)}/`.padEnd(300, "./").concat("s")],
  ];
  const noLongPaths = lacking("longPaths");
  for (const [name, make] of files) {
    const why = /\d bytes/.test(name) ? noLongPaths : null;
    testUnless(why, name, () =>
      leakFree(async () => {
        using dir = tempDir();
        mkdirSync(dir.file("d".repeat(40)));
        await reach(make(dir.path));
        expect(readdirSync(dir.path)).toEqual(["d".repeat(40)]); // every socket's file is removed
      }),
    );
  }

  testUnless(noLongPaths, "a very long path, made of many directories", () =>
    leakFree(async () => {
      using dir = tempDir();
      const deep = `${dir.path}/${Array.from({ length: 20 }, () => "x".repeat(100)).join("/")}`;
      mkdirSync(deep, { recursive: true });
      await reach(`${deep}/socket`);
      expect(readdirSync(deep)).toEqual([]);
    }),
  );

  test("relative paths mean the directory of the moment, also after a chdir", async () => {
    using dir = tempDir();
    const home = process.cwd();
    process.chdir(dir.path);
    try {
      using server = listen("./@odd");
      expect(readdirSync(dir.path)).toEqual(["@odd"]);
      expect(server.address).toEqual(path(dir.file("@odd")));
      process.chdir(home);
      using client = await connect(server.address);
      expect(client.closed).toBe(false);
      server.close();
      expect(readdirSync(dir.path)).toEqual([]);
    } finally {
      process.chdir(home);
    }
  });

  const linked = "a file with a basename over the limit can be connected to, through a link";
  testUnless(noLongPaths, linked, async () => {
    using dir = tempDir();
    using server = listen(dir.file("s"));
    const long = dir.file("b".repeat(200));
    renameSync(dir.file("s"), long);
    using client = await connect(long);
    using accepted = await server.accept();
    await client.send("x");
    expect(must(await accepted.receive()).text()).toBe("x");
  });
});

describe("addresses that cannot work", () => {
  test("a basename over the limit cannot be bound: ENAMETOOLONG says the limit", () =>
    leakFree(async () => {
      using dir = tempDir();
      const long = dir.file("b".repeat(150));
      for (const open of [() => listen(long), () => openDatagram(long)]) {
        const error = await failure(open);
        expect([error.code, error.address, error.path]).toEqual(["ENAMETOOLONG", long, long]);
        expect(error.message).toMatch(/at most \d+ bytes/);
      }
      expect(existsSync(long)).toBe(false);
    }));

  test("nobody there, on long paths too", () =>
    leakFree(async () => {
      using dir = tempDir();
      const long = lacking("longPaths") === null ? "ENOENT" : "ENAMETOOLONG";
      for (const [missing, code] of [
        [dir.file("nothing"), "ENOENT"],
        [dir.file("n".repeat(150)), long],
        [dir.file(`no/${"n".repeat(150)}`), long],
      ] as const) {
        expect(await codeOf(() => connect(missing))).toBe(code);
        expect(await codeOf(() => connectSync(missing))).toBe(code);
        expect(await codeOf(() => openDatagram(undefined, { connect: missing }))).toBe(code);
      }
      if (noNames === null) {
        expect(await codeOf(() => connect(freshAddress("abstract")))).toBe("ECONNREFUSED");
      }
      expect(await codeOf(() => listen(dir.file(`no/${"n".repeat(50)}`)))).toBe("ENOENT");
    }));
});

describe("names that the kernel reports", () => {
  testUnless(noNames, "autobind gives each socket a name of its own", async () => {
    using first = openDatagram({ autobind: true });
    using second = openDatagram({ autobind: true });
    using server = listen({ autobind: true });
    const names = [first.localAddress, second.localAddress, server.address];
    for (const name of names) expect(formatAddress(name)).toMatch(/^@[0-9a-f]{5}$/);
    expect(new Set(names.map(formatAddress)).size).toBe(3);
    expect(await codeOf(() => openDatagram(first.localAddress))).toBe("EADDRINUSE");
    using client = await connect(server.address);
    using accepted = await server.accept();
    await client.send("x");
    expect(must(await accepted.receive()).text()).toBe("x");
  });

  testUnless(noNames, "names that differ only after a NUL, or only in length, differ", () => {
    const name = `bx-${process.pid}-dup`;
    using _a = openDatagram({ abstract: name });
    using _b = openDatagram({ abstract: `${name}\0` });
    using _c = openDatagram({ abstract: `${name}\0a` });
    using _d = openDatagram({ abstract: `${name}\0b` });
  });

  test("local and peer address of both ends, bound and not", async () => {
    const [to, from] = [freshPath(), freshPath()];
    using server = listen(to);
    using plain = await connect(to);
    using named = await connect(to, { from });
    using first = await server.accept();
    using second = await server.accept();
    expect(plain.localAddress).toEqual({ kind: "unnamed" });
    expect([plain.peerAddress, named.peerAddress]).toEqual([path(to), path(to)]);
    expect([first.localAddress, second.localAddress]).toEqual([path(to), path(to)]);
    expect([first.peerAddress, second.peerAddress]).toEqual([{ kind: "unnamed" }, path(from)]);
    using lonely = openDatagram();
    expect(await codeOf(() => lonely.peerAddress)).toBe("ENOTCONN");
    const pair = socketPair("stream");
    expect(pair.map((socket) => socket.localAddress.kind)).toEqual(["unnamed", "unnamed"]);
    for (const socket of pair) socket.close();
  });

  test("a datagram says where it came from, and an answer to there arrives", async () => {
    const odd = { abstract: bytes(`bx-${process.pid}\0\xffodd`) };
    const nameless: AddressInput[] = noNames === null ? [odd, { autobind: true }] : [];
    const senders: (AddressInput | undefined)[] = [freshPath(), ...nameless, undefined];
    using receiver = openDatagram(freshPath());
    for (const address of senders) {
      using sender = openDatagram(address);
      await sender.send("ping", { to: receiver.localAddress });
      const { from } = must(receiver.tryReceive());
      if (address === undefined) {
        expect(from).toBeUndefined();
        continue;
      }
      expect(from).toEqual(sender.localAddress);
      await receiver.send("pong", { to: from! });
      expect(must(sender.tryReceive()).text()).toBe("pong");
      await sender.send("into", { to: receiver.localAddress });
      const received = receiver.tryReceiveInto(new Uint8Array(8));
      expect(received?.from).toEqual(from);
    }
  });

  test("when its socket closes an abstract name is free, a path's file removed", async () => {
    for (const address of addressRoutes.map(freshAddress)) {
      for (let i = 0; i < 3; i++) {
        using _server = listen(address);
        using _datagram = address.startsWith("@") ? openDatagram(address) : openDatagram();
        expect(await codeOf(() => listen(address))).toBe("EADDRINUSE");
      }
    }
  });
});
