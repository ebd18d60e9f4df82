// The writing end: no reader, no room, all or nothing.

import { describe, expect, test } from "bun:test";
import { chmodSync, closeSync, constants, openSync, readSync, renameSync } from "node:fs";
import { errno } from "../../native/errno.ts";
import { makeFifo } from "../../src/fifo/file.ts";
import { openFifo } from "../../src/fifo/open.ts";
import { type FifoWriterOptions, pipeBuf } from "../../src/fifo/writer.ts";
import { libc } from "../../src/syscalls/libc.ts";
import { runSource, startScript, succeeded, writeSource } from "../support/child.ts";
import { peerTest } from "../support/peers.ts";
import { fake } from "../support/seam.ts";
import { tempDir } from "../support/tmp.ts";
import { stillWaits } from "./fifos.ts";
import { codeOf, leakFree, pattern, thrown, turns } from "./tools.ts";

function fifo(options?: FifoWriterOptions) {
  const dir = tempDir();
  const path = dir.file("f");
  makeFifo(path);
  const writer = openFifo(path, "write", options);
  return {
    dir,
    path,
    writer,
    /** A reader by number, as another program would be one. */
    reader: () => openSync(path, constants.O_RDONLY | constants.O_NONBLOCK),
    [Symbol.dispose]() {
      writer.close();
      dir.remove();
    },
  };
}

/** All that is in the pipe now. */
function drain(fd: number): Buffer {
  const parts: Buffer[] = [];
  for (;;) {
    const room = Buffer.alloc(65_536);
    try {
      const bytes = readSync(fd, room);
      if (bytes === 0) break;
      parts.push(room.subarray(0, bytes));
    } catch {
      break; // EAGAIN
    }
  }
  return Buffer.concat(parts);
}

describe("no reader", () => {
  test("told apart from no room", async () => {
    using pipe = fifo();
    expect(pipe.writer.tryWrite("x")).toBe("no-reader");
    expect([pipe.writer.fd, pipe.writer.hasReader]).toEqual([-1, false]);
    const reader = pipe.reader();
    expect(pipe.writer.tryWrite("x")).toBe(1);
    expect(pipe.writer.hasReader).toBe(true);
    while (pipe.writer.tryWrite(new Uint8Array(4096)) !== null) {}
    expect(pipe.writer.tryWrite("x")).toBeNull();
    closeSync(reader);
    expect(pipe.writer.tryWrite("x")).toBe("no-reader");
    expect(pipe.writer.hasReader).toBe(false);
  });

  test("write waits for one; in order", async () => {
    using pipe = fifo();
    const writing = [pipe.writer.write("a"), pipe.writer.write("b"), pipe.writer.write("c")];
    await stillWaits(writing[0]!);
    expect(pipe.writer.queuedBytes).toBe(3);
    expect(pipe.writer.tryWrite("x")).toBeNull(); // it would overtake
    expect(await codeOf(() => pipe.writer.writeSync("x"))).toBe("EBUSY");
    const reader = pipe.reader();
    await Promise.all(writing);
    expect(drain(reader).toString()).toBe("abc");
    expect(pipe.writer.queuedBytes).toBe(0);
    closeSync(reader);
  });

  test("and for the next one, which gets what the last has left unread", async () => {
    using pipe = fifo();
    const first = pipe.reader();
    await pipe.writer.write("one ");
    closeSync(first);
    const writing = pipe.writer.write("two");
    await stillWaits(writing);
    const second = pipe.reader();
    await writing;
    expect(drain(second).toString()).toBe("one two");
    closeSync(second);
  });

  test("waitForReader: false says ENXIO at once", async () => {
    using pipe = fifo({ waitForReader: false });
    expect(await codeOf(() => pipe.writer.write("x"))).toBe("ENXIO");
    expect(await codeOf(() => pipe.writer.writeSync("x"))).toBe("ENXIO");
    const reader = pipe.reader();
    await pipe.writer.write("y");
    closeSync(reader);
    expect(await codeOf(() => pipe.writer.write("z"))).toBe("ENXIO");
  });

  test("a reader that leaves in the middle of a long write", async () => {
    using pipe = fifo();
    const reader = pipe.reader();
    const writing = pipe.writer.write(new Uint8Array(200_000));
    await stillWaits(writing);
    closeSync(reader);
    const error = await thrown(() => writing);
    expect(error).toMatchObject({ code: "EPIPE", path: pipe.path });
    expect(String(error)).toContain("65536 of 200000 bytes");
    expect(pipe.writer.queuedBytes).toBe(0);
  });

  test("a deadline, a signal, a close", async () => {
    using pipe = fifo();
    expect(await codeOf(() => pipe.writer.writeSync("x", { timeoutMs: 20 }))).toBe("ETIMEDOUT");
    const stop = new AbortController();
    const given = pipe.writer.write("given up", { signal: stop.signal });
    const kept = pipe.writer.write("kept");
    stop.abort(new Error("enough"));
    expect(String(await thrown(() => given))).toContain("enough");
    const reader = pipe.reader();
    await kept;
    expect(drain(reader).toString()).toBe("kept");
    closeSync(reader);
    const waiting = pipe.writer.write("never");
    pipe.writer.close();
    expect(await codeOf(() => waiting)).toBe("ERR_CLOSED");
    expect(await codeOf(() => pipe.writer.write("x"))).toBe("ERR_CLOSED");
    expect(await codeOf(() => pipe.writer.tryWrite("x"))).toBe("ERR_CLOSED");
    expect(await codeOf(() => pipe.writer.writeSync("x"))).toBe("ERR_CLOSED");
  });

  test("it stays that FIFO when the name moves on", async () => {
    using pipe = fifo();
    renameSync(pipe.path, `${pipe.path}2`);
    makeFifo(pipe.path);
    const decoy = pipe.reader();
    expect(pipe.writer.tryWrite("x")).toBe("no-reader");
    const reader = openSync(`${pipe.path}2`, constants.O_RDONLY | constants.O_NONBLOCK);
    await pipe.writer.write("right");
    expect([drain(reader).toString(), drain(decoy).toString()]).toEqual(["right", ""]);
    closeSync(reader);
    closeSync(decoy);
  });

  test.each(["read", "write"] as const)(
    "unref lets the process end; ref keeps it: %s",
    async (access) => {
      using dir = tempDir();
      makeFifo(dir.file("f"));
      const source = (how: string): string => `
      import { openFifo } from "@/src/fifo.ts";
      const end = openFifo(${JSON.stringify(dir.file("f"))}, "${access}").${how}();
      end.${access}("x").then(() => console.log("done"));
      console.log("started");`;
      expect(succeeded(await runSource(source("unref")))).toBe("started\n");
      await using kept = startScript(writeSource(dir, source("unref().ref")));
      await kept.lineWith("started");
      await turns();
      if (access === "read") {
        await using writer = openFifo(dir.file("f"), "write");
        await writer.write("x");
        await kept.lineWith("done");
      } else {
        using reader = openFifo(dir.file("f"), "read");
        expect(Buffer.from((await reader.read()) ?? []).toString()).toBe("x");
        await kept.lineWith("done");
      }
      expect(succeeded(await kept.exited)).toBe("started\ndone\n");
    },
  );
});

peerTest("a drop box: others may write and not read", ["root"], async () => {
  using dir = tempDir();
  chmodSync(dir.path, 0o755);
  makeFifo(dir.file("f"), { mode: 0o622 });
  using reader = openFifo(dir.file("f"), "read");
  const source = `
    import { openFifo } from "@/src/fifo.ts";
    process.setgid(65534);
    process.setuid(65534);
    const path = ${JSON.stringify(dir.file("f"))};
    try { openFifo(path, "read"); } catch (error) { console.log(error.code, error.path === path); }
    using writer = openFifo(path, "write");
    await writer.write("from nobody");`;
  expect(succeeded(await runSource(source))).toBe("EACCES true\n");
  expect(Buffer.from((await reader.read()) ?? []).toString()).toBe("from nobody");
});

test("an open that fails leaves no descriptor", () =>
  leakFree(async () => {
    using pipe = fifo();
    for (const access of ["read", "write"] as const) {
      using _ = fake("open", [libc.open, { errno: errno.EMFILE }]);
      expect(await codeOf(() => openFifo(pipe.path, access as "read"))).toBe("EMFILE");
    }
  }));

describe("room", () => {
  test("write waits for it", async () => {
    using pipe = fifo();
    const reader = pipe.reader();
    const data = pattern(1_000_000);
    const writing = pipe.writer.write(data);
    const parts: Buffer[] = [];
    for (let have = 0; have < data.length; ) {
      const part = drain(reader);
      have += part.length;
      parts.push(part);
      await turns();
    }
    await writing;
    expect(Buffer.concat(parts).equals(data)).toBe(true);
    closeSync(reader);
  });

  test("what has begun goes on after an abort; what has not does not", async () => {
    using pipe = fifo();
    const reader = pipe.reader();
    const stop = new AbortController();
    const begun = pipe.writer.write(Buffer.alloc(100_000, "a"), { signal: stop.signal });
    const notBegun = pipe.writer.write("b", { signal: stop.signal });
    const last = pipe.writer.write("c");
    stop.abort(new Error("enough"));
    expect(String(await thrown(() => begun))).toContain("enough");
    expect(String(await thrown(() => notBegun))).toContain("enough");
    let got = "";
    while (!got.endsWith("c")) {
      got += drain(reader).toString();
      await turns();
    }
    await last;
    expect(got).toBe(`${"a".repeat(100_000)}c`);
    closeSync(reader);
  });

  test("all or nothing up to pipeBuf, in parts beyond it", async () => {
    using pipe = fifo();
    const reader = pipe.reader();
    expect(pipeBuf).toBe(4096);
    while (pipe.writer.tryWrite(new Uint8Array(4096), { atomic: true }) !== null) {}
    readSync(reader, Buffer.alloc(4000)); // less than a page of room is none
    expect(pipe.writer.tryWrite(new Uint8Array(200), { atomic: true })).toBeNull();
    readSync(reader, Buffer.alloc(96));
    expect(pipe.writer.tryWrite(new Uint8Array(5000))).toBe(4096);
    for (const call of [
      () => pipe.writer.write(new Uint8Array(4097), { atomic: true }),
      () => pipe.writer.tryWrite(new Uint8Array(4097), { atomic: true }),
      () => pipe.writer.writeSync(new Uint8Array(4097), { atomic: true }),
    ]) {
      expect(await thrown(call)).toBeInstanceOf(RangeError);
    }
    closeSync(reader);
  });

  test("writeSync waits for it, with a deadline", async () => {
    using pipe = fifo();
    const reader = pipe.reader();
    const long = (): void => pipe.writer.writeSync(new Uint8Array(70_000), { timeoutMs: 30 });
    expect(await codeOf(long)).toBe("ETIMEDOUT");
    expect(drain(reader).length).toBe(65_536);
    pipe.writer.writeSync(["gathered", " ", Buffer.from("parts")]);
    expect(drain(reader).toString()).toBe("gathered parts");
    closeSync(reader);
  });

  test("a bound on what waits", async () => {
    using pipe = fifo({ maxQueuedBytes: 1_000 });
    const waiting = pipe.writer.write(new Uint8Array(900));
    expect(await codeOf(() => pipe.writer.write(new Uint8Array(200)))).toBe("ENOBUFS");
    pipe.writer.close();
    expect(await codeOf(() => waiting)).toBe("ERR_CLOSED");
  });

  test("await using writes what is queued first", () =>
    leakFree(async () => {
      using pipe = fifo();
      const reader = pipe.reader();
      {
        await using writer = openFifo(pipe.path, "write");
        while (writer.tryWrite(new Uint8Array(4096)) !== null) {}
        writer.write("last").catch(() => {});
        setImmediate(() => drain(reader));
      }
      expect(drain(reader).toString()).toBe("last");
      closeSync(reader);
    }));
});
