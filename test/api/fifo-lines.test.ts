// Lines out of a FIFO.

import { describe, expect, test } from "bun:test";
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
