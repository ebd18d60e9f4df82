// A name means what it meant when it was given, and the same to everybody.

import { describe, expect, test } from "bun:test";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import {
  connect,
  connectSync,
  formatAddress,
  listen,
  makeFifo,
  openDatagram,
  openFifo,
  parseAddress,
  probe,
} from "../../src/index.ts";
import { type TempDir, tempDir } from "../support/tmp.ts";
import { failure, fillReceiver } from "./tools.ts";

/** In the directory `a` of two, with the old one back at the end. */
async function between(act: (dir: TempDir) => Promise<void>): Promise<void> {
  using dir = tempDir();
  for (const name of ["a", "b"]) mkdirSync(dir.file(name));
  const before = process.cwd();
  process.chdir(dir.file("a"));
  try {
    await act(dir);
  } finally {
    process.chdir(before);
  }
}

describe("after a chdir", () => {
  test("a connect that waits reaches the server that was meant", () =>
    between(async (dir) => {
      using meant = listen(dir.file("a/s"), { backlog: 0 });
      using other = listen(dir.file("b/s"));
      using _first = connectSync("s"); // the backlog is full
      const connecting = connect("s");
      process.chdir(dir.file("b"));
      (await meant.accept()).close();
      using client = await connecting;
      using accepted = await meant.accept();
      await client.send("hello");
      expect((await accepted.receive())?.text()).toBe("hello");
      expect(other.tryAccept()).toBeUndefined();
    }));

  for (const how of ["send", "sendBatch"] as const) {
    test(`a ${how} that waits, and one that comes after it`, () =>
      between(async (dir) => {
        using meant = openDatagram(dir.file("a/d"));
        using other = openDatagram(dir.file("b/d"));
        using sender = openDatagram();
        fillReceiver("d");
        const sending =
          how === "send"
            ? sender.send("meant", { to: "d" })
            : sender.sendBatch([
                { data: "x", to: "d" },
                { data: "meant", to: "d" },
              ]);
        process.chdir(dir.file("b"));
        await sender.send("other", { to: "d" }); // another receiver, who has room
        expect((await other.receive())?.text()).toBe("other");
        for (let text = ""; text !== "meant"; ) text = (await meant.receive())?.text() ?? "";
        await sending;
        expect(other.tryReceive()).toBeUndefined();
      }));
  }

  test("the file of a client's own name stays where it was made, a FIFO too", () =>
    between(async (dir) => {
      using server = listen(dir.file("a/s"));
      using client = connectSync("s", { from: "from" });
      makeFifo("fifo");
      using reader = openFifo("fifo", "read");
      process.chdir(dir.file("b"));
      using accepted = await server.accept();
      expect(formatAddress(accepted.peerAddress)).toBe(dir.file("a/from"));
      expect(formatAddress(client.localAddress)).toBe(dir.file("a/from"));
      using writer = openFifo(dir.file("a/fifo"), "write");
      await writer.write("line\n");
      expect(Buffer.from((await reader.read()) ?? []).toString()).toBe("line\n");
    }));

  test('".." behind a link is the link target\'s', () =>
    between(async (dir) => {
      mkdirSync(dir.file("b/deep"));
      symlinkSync(dir.file("b/deep"), dir.file("a/link"));
      using _server = listen("link/../s");
      expect(probe(dir.file("b/s")).state).toBe("listening");
      connectSync("./link//../s").close();
    }));
});

describe("one rule for all", () => {
  const calls: Readonly<Record<string, (address: string) => unknown>> = {
    listen: (address) => listen(address),
    connect: (address) => connect(address),
    connectSync: (address) => connectSync(address),
    from: (address) => connect("@nobody-there", { from: address }),
    openDatagram: (address) => openDatagram(address),
    "openDatagram, connect": (address) => openDatagram(undefined, { connect: address }),
    send: async (address) => {
      using socket = openDatagram();
      await socket.send("x", { to: address });
    },
    probe: (address) => probe(address),
  };

  async function refusal(call: (address: string) => unknown, address: string): Promise<Error> {
    try {
      await call(address);
    } catch (error) {
      if (error instanceof Error) return error;
    }
    throw new Error(`${address} was taken`);
  }

  for (const [name, call] of Object.entries(calls)) {
    test(`${name}: a slash at the end`, async () => {
      using dir = tempDir();
      using _server = listen(dir.file("s"));
      for (const address of [dir.file("s/"), dir.file("none/"), dir.file("s//"), "/"]) {
        const error = await refusal(call, address);
        expect([address, error.name]).toEqual([address, "TypeError"]);
        expect(error.message).toContain('ends in "/"');
      }
    });

    test(`${name}: a prefix that is none of the path`, async () => {
      for (const prefix of ["unix:", "unix://", "UNIX:", "unix:path=", "file://", "http+unix://"]) {
        const error = await refusal(call, `${prefix}/run/x`);
        expect([prefix, error.name]).toEqual([prefix, "TypeError"]);
        expect(error.message).toMatch(/without "[a-z+]+:" before it/i);
      }
    });
  }

  test("a file that has such a name all the same", () =>
    between(async () => {
      using server = listen("./unix:x");
      expect(parseAddress({ path: "unix:x" })).toEqual({ kind: "path", path: "unix:x" });
      expect(formatAddress({ kind: "path", path: "unix:x" })).toBe("./unix:x");
      connectSync(server.address).close();
      connectSync({ path: "unix:x" }).close();
    }));
});

describe("what is there, and is no socket", () => {
  test("is named, to whoever connects and sends", async () => {
    using dir = tempDir();
    writeFileSync(dir.file("file"), "");
    mkdirSync(dir.file("directory"));
    for (const [name, what] of [
      ["file", "a regular file"],
      ["directory", "a directory"],
    ] as const) {
      using socket = openDatagram();
      const path = dir.file(name);
      const tries = [
        () => connect(path),
        () => connectSync(path),
        () => socket.connect(path),
        () => socket.send("x", { to: path }),
        () => socket.trySend("x", { to: path }),
      ];
      for (const call of tries) {
        const error = await failure(call as () => Promise<unknown>);
        expect(error.code).toBe("ECONNREFUSED");
        expect(error.message).toContain(`there is ${what} of this name`);
      }
    }
  });

  test("a stale socket still has its own hint", async () => {
    using dir = tempDir();
    listen(dir.file("s"), { unlinkOnClose: false }).close();
    const error = await failure(() => connectSync(dir.file("s")));
    expect(error.message).toContain("outlives its server");
  });
});
