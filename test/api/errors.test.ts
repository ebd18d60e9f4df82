// Errors: every one says which call, which code, what that means and where; misuse is told before
// any system call.

import { describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { errno } from "../../native/errno.ts";
import {
  connect,
  connectSync,
  Fd,
  listen,
  openDatagram,
  type Payload,
  receiveMessage,
  sendMessage,
  socketPair,
  UnixError,
  UnsupportedError,
} from "../../src/index.ts";
import { libc } from "../../src/syscalls/libc.ts";
import { tempDir } from "../support/tmp.ts";
import { forms, freshPath, pairVariants } from "./pairs.ts";
import { callsOf, closeAll, failure, leakFree, thrown, withLibc } from "./tools.ts";

type Own = <T extends { close(): void }>(socket: T) => T;

interface Case {
  /** `own` closes what it is given, afterwards. */
  readonly call: (dir: string, own: Own) => unknown;
  readonly code: string;
  readonly syscall: string;
  readonly says: string;
  /** The name of its file in the directory, or a path. */
  readonly at?: string;
}

/** Where nobody is any more. */
const nobody = freshPath();
listen(nobody, { unlinkOnClose: false }).close();
const closed = (): UnixError => new UnixError("test", -9);

const cases: readonly Case[] = [
  {
    call: (dir) => connect(`${dir}/missing`),
    code: "ENOENT",
    syscall: "connect",
    says: "no such file or directory",
    at: "missing",
  },
  {
    call: () => connectSync(nobody),
    code: "ECONNREFUSED",
    syscall: "connect",
    says: "connection refused",
    at: nobody,
  },
  {
    call: (dir) => connect(`${dir}/file`),
    code: "ECONNREFUSED",
    syscall: "connect",
    says: "connection refused",
    at: "file",
  },
  {
    call: (dir) => connect(`${dir}/file/x`),
    code: "ENOTDIR",
    syscall: "connect",
    says: "not a directory",
    at: "file/x",
  },
  {
    call: (dir) => listen(`${dir}/file`),
    code: "EADDRINUSE",
    syscall: "bind",
    says: "address already in use",
    at: "file",
  },
  {
    call: (dir) => openDatagram(`${dir}/no/s`),
    code: "ENOENT",
    syscall: "bind",
    says: "no such file or directory",
    at: "no/s",
  },
  {
    call: (dir) => openDatagram(undefined, { connect: `${dir}/missing` }),
    code: "ENOENT",
    syscall: "connect",
    says: "no such file or directory",
    at: "missing",
  },
  {
    call: (dir, own) => own(openDatagram()).send("x", { to: `${dir}/missing` }),
    code: "ENOENT",
    syscall: "sendmsg",
    says: "no such file or directory",
    at: "missing",
  },
  {
    call: (_dir, own) => own(openDatagram()).trySend("x", { to: nobody }),
    code: "ECONNREFUSED",
    syscall: "sendmsg",
    says: "connection refused",
    at: nobody,
  },
  {
    call: (_dir, own) => own(openDatagram()).trySend("x"),
    code: "ENOTCONN",
    syscall: "sendmsg",
    says: "not connected",
  },
  {
    call: (_dir, own) => own(openDatagram()).peerAddress,
    code: "ENOTCONN",
    syscall: "getpeername",
    says: "not connected",
  },
  {
    call: (_dir, own) =>
      socketPair("datagram")
        .map(own)[0]!
        .trySend(new Uint8Array(8 * 2 ** 20)),
    code: "EMSGSIZE",
    syscall: "sendmsg",
    says: "sendBufferBytes",
  },
  {
    call: () => Fd.duplicate(99_999),
    code: "EBADF",
    syscall: "fcntl",
    says: "bad file descriptor",
  },
  {
    call: () => sendMessage(0, "x"),
    code: "ENOTSOCK",
    syscall: "sendmsg",
    says: "not a socket",
  },
  {
    call: () => receiveMessage(99_999),
    code: "EBADF",
    syscall: "getsockopt",
    says: "bad file descriptor",
  },
];

for (const { call, code, syscall, says, at } of cases) {
  test(`${syscall} ${code}${at === undefined ? "" : " with its address"}: ${call}`, async () => {
    using dir = tempDir();
    writeFileSync(dir.file("file"), "");
    const owned: { close(): void }[] = [];
    const own: Own = (socket) => {
      owned.push(socket);
      return socket;
    };
    const error = await failure(() => call(dir.path, own));
    closeAll(owned);
    expect(error).toBeInstanceOf(UnixError);
    expect(error).toBeInstanceOf(Error);
    expect([error.name, error.code, error.errno, error.syscall]).toEqual([
      "UnixError",
      code,
      -(errno[code as keyof typeof errno] ?? 0),
      syscall,
    ]);
    expect(error.message).toStartWith(`${syscall} ${code}: `);
    expect(error.message).toContain(says);
    const address = at === undefined || at.startsWith("/") ? at : dir.file(at);
    expect(error.address).toBe(address);
    expect(error.path).toBe(address);
    if (address !== undefined) expect(error.message).toContain(address);
  });
}

test("a datagram to one who takes from another only: EPERM says so", async () => {
  using dir = tempDir();
  using taken = openDatagram(dir.file("taken"));
  using friend = openDatagram(dir.file("friend"), { connect: dir.file("taken") });
  taken.connect(dir.file("friend"));
  using stranger = openDatagram();
  for (const form of forms) {
    const send = { to: dir.file("taken") };
    const error = await failure(() =>
      form.name === "async" ? stranger.send("x", send) : stranger.trySend("x", send),
    );
    expect([error.code, error.address]).toEqual(["EPERM", dir.file("taken")]);
    expect(error.message).toContain("connected to another socket");
  }
  friend.trySend("from the friend");
  expect(taken.tryReceive()?.text()).toBe("from the friend");
});

describe.each(pairVariants)("$name", ({ open }) => {
  test("misuse is a TypeError or RangeError before any system call", async () => {
    using pair = await open();
    const { near } = pair;
    const wrongData = [1, null, undefined, {}, [1], [["nested"]], Symbol("s"), () => {}];
    const wrongBuffers = [null, "text", [], new ArrayBuffer(8)];
    const calls = await callsOf(async () => {
      for (const data of wrongData) {
        for (const form of forms) {
          const error = await thrown(() => form.send(near, data as Payload));
          expect(error, String(data)).toBeInstanceOf(TypeError);
        }
      }
      for (const buffer of wrongBuffers) {
        const bad = buffer as unknown as Uint8Array;
        expect(() => near.tryReceiveInto(bad)).toThrow(TypeError);
        expect(await thrown(() => near.receiveInto(bad))).toBeInstanceOf(TypeError);
      }
      expect(() => near.tryReceiveInto(new Uint8Array(0))).toThrow(RangeError);
      for (const maxBytes of [0, -1, 1.5, Number.NaN, 2 ** 31]) {
        expect(() => near.tryReceive({ maxBytes })).toThrow(RangeError);
        expect(await thrown(() => near.receive({ maxBytes }))).toBeInstanceOf(RangeError);
        expect(() => near.receiveSync({ maxBytes })).toThrow(RangeError);
      }
      expect(() => near.tryReceive({ maxBytes: "1" as unknown as number })).toThrow(TypeError);
      expect(() => near.receiveSync({ timeoutMs: -1 })).toThrow(RangeError);
      expect(() => near.sendSync("x", { timeoutMs: 0.5 })).toThrow(RangeError);
    });
    expect(calls).toEqual([]);
    expect(pair.far.tryReceive()).toBeUndefined();
  });
});

test("options of a wrong kind are refused before any system call", async () => {
  const calls = await callsOf(() => {
    expect(() => socketPair("raw" as "stream")).toThrow(TypeError);
    expect(() => socketPair("toString" as "stream")).toThrow(TypeError);
    expect(() => openDatagram("/x", { maxMessageBytes: 0 })).toThrow(RangeError);
    expect(() => openDatagram("/x", { receiveBufferBytes: "1" as unknown as number })).toThrow(
      TypeError,
    );
    expect(() => openDatagram("/x", { maxQueuedBytes: -1 })).toThrow(RangeError);
    expect(() => openDatagram("/x", { connect: "" })).toThrow(TypeError);
  });
  expect(calls).toEqual([]);
});

test("a failing setsockopt leaves no descriptor behind", () =>
  leakFree(async () => {
    using dir = tempDir();
    const makers: (() => unknown)[] = [
      () => socketPair("stream", { sendBufferBytes: 4096 }),
      () => openDatagram(dir.file("d"), { sendBufferBytes: 4096 }),
      () => listen(dir.file("l"), { sendBufferBytes: 4096 }),
      () => connectSync(dir.file("c"), { sendBufferBytes: 4096 }),
    ];
    // a descriptor that is no socket: the kernel's own ENOTSOCK, with its own errno
    const broken: typeof libc.setsockopt = (_fd, ...rest) => real(0, ...rest);
    const real = libc.setsockopt;
    await withLibc({ setsockopt: broken }, async () => {
      for (const make of makers) {
        const error = await failure(make);
        expect([error.code, error.syscall]).toEqual(["ENOTSOCK", "setsockopt"]);
      }
    });
  }));

test("a missing socket option is an UnsupportedError with its capability", () =>
  leakFree(async () => {
    const real = libc.setsockopt;
    const unknownOption = 9999; // the kernel says ENOPROTOOPT
    const broken: typeof libc.setsockopt = (fd, level, _which, ...rest) =>
      real(fd, level, unknownOption, ...rest);
    await withLibc({ setsockopt: broken }, async () => {
      for (const capability of ["passCredentials", "passPidfd"] as const) {
        const error = await thrown(() => socketPair("stream", { [capability]: true }));
        expect(error).toBeInstanceOf(UnsupportedError);
        expect((error as UnsupportedError).capability).toBe(capability);
        expect((error as UnsupportedError).code).toBe("ERR_UNSUPPORTED");
        expect((error as UnsupportedError).message).toContain(capability);
      }
    });
  }));

test("an unknown errno keeps its number", () => {
  expect(new UnixError("test", -9999).code).toBe("E9999");
  expect(closed().message).toBe("test EBADF: bad file descriptor");
});
