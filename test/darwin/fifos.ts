// FIFOs as XNU has them (facts: #kqueue-and-fifos), as the shim does it. run.ts runs this file.

import { expect, test } from "bun:test";
import { readFileSync, symlinkSync, unlinkSync, writeFileSync } from "node:fs";
import { makeFifo, openFifo } from "../../src/index.ts";
import { libc } from "../../src/syscalls/libc.ts";
import { tempDir } from "../support/tmp.ts";

test("openFifo: writers come and go, the last one is told of", async () => {
  using dir = tempDir();
  const path = dir.file("fifo");
  makeFifo(path);
  using reader = openFifo(path, "read", { endWhenWritersLeave: true });
  for (const text of ["one", "two", "three"]) {
    using writer = openFifo(path, "write");
    expect(writer.hasReader).toBeTrue();
    await writer.write(text);
    expect(Buffer.from((await reader.read())!).toString()).toBe(text);
    expect(reader.writersLeft).toBeFalse();
    const end = reader.read();
    await Bun.sleep(0);
    writer.close();
    expect(await end).toBeNull();
    expect(reader.writersLeft).toBeTrue();
  }
});

test("openFifo: a reader without an end waits for the next writer, and does not spin", async () => {
  using dir = tempDir();
  const path = dir.file("fifo");
  makeFifo(path);
  using reader = openFifo(path, "read");
  using first = openFifo(path, "write");
  await first.write("1");
  expect((await reader.read())?.length).toBe(1);
  const reading = reader.read();
  await Bun.sleep(0);
  first.close();
  const { select$DARWIN_EXTSN: select } = libc;
  let looks = 0;
  libc.select$DARWIN_EXTSN = (...args) => {
    looks += 1;
    return select(...args);
  };
  await Bun.sleep(50);
  libc.select$DARWIN_EXTSN = select;
  expect(looks).toBeLessThan(20);
  using second = openFifo(path, "write");
  await second.write("22");
  expect((await reading)?.length).toBe(2);
});

test("openFifo: a writer without room is told that the reader has gone", async () => {
  using dir = tempDir();
  const path = dir.file("fifo");
  makeFifo(path);
  using reader = openFifo(path, "read");
  using writer = openFifo(path, "write", { waitForReader: false });
  const writing = writer.write(new Uint8Array(1 << 20));
  await Bun.sleep(0);
  reader.close();
  expect(await writing.catch((error) => error.code)).toBe("EPIPE");
  expect(writer.hasReader).toBeFalse();
});

test("openFifo: another file in its place is not written to", () => {
  using dir = tempDir();
  const path = dir.file("fifo");
  makeFifo(path);
  using writer = openFifo(path, "write");
  unlinkSync(path);
  writeFileSync(path, "a file");
  expect(() => writer.tryWrite("x")).toThrow("ESTALE");
  expect(readFileSync(path, "utf8")).toBe("a file");
  expect(() => openFifo(path, "read")).toThrow("not a FIFO but a file");
});

test("openFifo: blocking reads see data, the end, and the time", () => {
  using dir = tempDir();
  const path = dir.file("fifo");
  makeFifo(path);
  using reader = openFifo(path, "read", { endWhenWritersLeave: true });
  expect(() => reader.readSync({ timeoutMs: 1 })).toThrow("ETIMEDOUT");
  const child = Bun.spawn(["sh", "-c", 'printf hello > "$0"', path]);
  expect(Buffer.from(reader.readSync()!).toString()).toBe("hello");
  expect(reader.readSync()).toBeNull();
  child.unref();
});

test("the end is told once, and stays the end: also behind a last line", async () => {
  using dir = tempDir();
  const path = dir.file("fifo");
  makeFifo(path);
  using reader = openFifo(path, "read", { endWhenWritersLeave: true });
  using writer = openFifo(path, "write");
  await writer.write("one\ntwo");
  writer.close();
  const lines: string[] = [];
  for await (const line of reader.lines()) lines.push(line);
  expect(lines).toEqual(["one", "two"]);
  expect([reader.tryRead(), await reader.read()]).toEqual([null, null]);
});

test("a FIFO is made where there is none, and what has its name is not opened", () => {
  using dir = tempDir();
  const [path, link] = [dir.file("fifo"), dir.file("link")];
  expect([makeFifo(path), makeFifo(path, { exclusive: false })]).toEqual([true, false]);
  symlinkSync(path, link);
  expect(() => makeFifo(link, { exclusive: false })).toThrow("not a FIFO but a symlink");
});
