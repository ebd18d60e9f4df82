// Lines out of a FIFO.

import { heapStats } from "bun:jsc";
import { describe, expect, test } from "bun:test";
import { LineBuffer } from "../../src/fifo/lines.ts";
import { fifo, stillWaits, text } from "./fifos.ts";
import { codeOf } from "./tools.ts";

describe("lines", () => {
  test("cut at newlines, whatever the chunks; the last one without", async () => {
    using pipe = fifo({ endWhenWritersLeave: true });
    const writer = pipe.writer();
    const said: string[] = [];
    const listening = (async () => {
      for await (const line of pipe.reader.lines()) said.push(line);
    })();
    const bytes = Buffer.from("one\n\ntwo\r\nthree é\nfour");
    for (const byte of bytes) {
      await writer.write(Uint8Array.of(byte));
      await Promise.resolve();
    }
    writer.close();
    await listening;
    expect(said).toEqual(["one", "", "two\r", "three é", "four"]);
  });

  test("what a writer leaves without a newline is a line, also where reading goes on", async () => {
    using pipe = fifo();
    const lines = pipe.reader.lines();
    const first = lines.next();
    const writer = pipe.writer();
    await writer.write("half");
    await stillWaits(first);
    writer.close();
    expect((await first).value).toBe("half");
    await pipe.writer().write("whole\n");
    expect((await lines.next()).value).toBe("whole");
  });

  test("leaving and coming back loses nothing", async () => {
    using pipe = fifo({ endWhenWritersLeave: true });
    const writer = pipe.writer();
    await writer.write("a\nb\nc\nd\nrest");
    for await (const line of pipe.reader.lines()) if (line === "b") break;
    expect((await pipe.reader.lines().next()).value).toBe("c");
    expect(text(pipe.reader.tryRead({ maxBytes: 3 }))).toBe("d\nr");
    writer.close();
    const last: string[] = [];
    for await (const line of pipe.reader.lines()) last.push(line);
    expect(last).toEqual(["est"]);
  });

  test("asked for at once, they come in order", async () => {
    using pipe = fifo();
    const lines = pipe.reader.lines();
    const all = Promise.all([lines.next(), lines.next(), lines.next()]);
    await pipe.writer().write("1\n2\n3\n");
    expect((await all).map(({ value }) => value)).toEqual(["1", "2", "3"]);
  });

  test("a line of exactly the bound passes, one more is EMSGSIZE and stays", async () => {
    using pipe = fifo();
    const lines = pipe.reader.lines({ maxLineBytes: 4 });
    const writer = pipe.writer();
    await writer.write("four\nfives\n");
    expect((await lines.next()).value).toBe("four");
    expect(await codeOf(() => lines.next())).toBe("EMSGSIZE");
    expect(text(await pipe.reader.read())).toBe("fives\n");
  });

  test("100,000 lines", async () => {
    using pipe = fifo({ endWhenWritersLeave: true });
    const writer = pipe.writer();
    const all = Array.from({ length: 100_000 }, (_, i) => `line ${i}`);
    const writing = writer.write(`${all.join("\n")}\n`).then(() => writer.close());
    let at = 0;
    for await (const line of pipe.reader.lines()) if (line === all[at]) at += 1;
    await writing;
    expect(at).toBe(all.length);
  });
});

describe("a long line in small pieces", () => {
  const PIECES = 30_000;
  const byte = Uint8Array.of(0x78);

  test("is held in one piece, not in as many as it came in", () => {
    const buffer = new LineBuffer();
    const arrays = (): number => {
      Bun.gc(true);
      return heapStats().objectTypeCounts["Uint8Array"] ?? 0;
    };
    const before = arrays();
    let lines = 0;
    for (let i = 0; i < PIECES; i++) {
      buffer.push(byte.slice());
      if (buffer.line(PIECES) !== undefined) lines++;
    }
    expect(lines).toBe(0);
    expect(arrays() - before).toBeLessThan(1_000);
    buffer.push(Buffer.from("\nrest"));
    expect(buffer.line(PIECES)?.length).toBe(PIECES);
    expect(text(buffer.rest())).toBe("rest");
  });

  test("too long, it is given back byte by byte, and the rest is not copied", async () => {
    using pipe = fifo();
    const writer = pipe.writer();
    const bytes = Buffer.alloc(30_000, "x");
    await writer.write(bytes);
    expect(await codeOf(() => pipe.reader.lines({ maxLineBytes: 10 }).next())).toBe("EMSGSIZE");
    const real = globalThis.Uint8Array;
    let made = 0;
    globalThis.Uint8Array = new Proxy(real, {
      construct(target, args: [number], self) {
        if (typeof args[0] === "number") made += args[0];
        return Reflect.construct(target, args, self) as object;
      },
    });
    try {
      for (let i = 0; i < 1_000; i++) expect(pipe.reader.tryRead({ maxBytes: 1 })?.length).toBe(1);
    } finally {
      globalThis.Uint8Array = real;
    }
    expect(made).toBe(1_000);
    expect(pipe.reader.tryRead()?.length).toBe(29_000);
  });
});
