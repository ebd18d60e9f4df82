// Streams in pieces: exactly so many bytes, lines, up to a byte, the rest; descriptors in order.

import { expect, test } from "bun:test";
import { type SocketReader, type StreamSocket, socketPair } from "../../src/index.ts";
import { codeOf, eventually, leakFree, marked, markOf, thrown } from "./tools.ts";

const text = (bytes: Uint8Array | null): string | null =>
  bytes === null ? null : Buffer.from(bytes).toString();

interface Ends {
  readonly far: StreamSocket;
  readonly near: StreamSocket;
  readonly reader: SocketReader;
}

const withReader = (body: (ends: Ends) => Promise<void>, maxBytes?: number): Promise<void> =>
  leakFree(async () => {
    const [near, far] = socketPair("stream");
    const reader = near.reader({ maxBytes });
    try {
      await body({ near, far, reader });
    } finally {
      reader.close();
      near.close();
      far.close();
    }
  });

test("pieces of every kind, whatever the sends were", () =>
  withReader(async ({ far, reader }) => {
    const whole = "GET / HTTP/1.1\r\nhost: x\n\nabc\0\0defrest of it";
    for (const at of Buffer.from(whole)) await far.send(Uint8Array.of(at));
    far.end();
    expect(await reader.line()).toBe("GET / HTTP/1.1");
    expect(await reader.line()).toBe("host: x");
    expect(await reader.line()).toBe("");
    expect(text(await reader.until(0))).toBe("abc");
    expect(text(await reader.until(0))).toBe("");
    expect(text(await reader.exactly(3))).toBe("def");
    expect(text(await reader.exactly(0))).toBe("");
    expect(text(await reader.rest())).toBe("rest of it");
    expect([await reader.line(), await reader.until(0), await reader.exactly(1)]).toEqual([
      null,
      null,
      null,
    ]);
    expect(await reader.rest()).toHaveLength(0);
  }));

test("a last line without a newline is one; half of anything else is EPROTO, and stays", () =>
  withReader(async ({ far, reader }) => {
    await far.send("é end\r");
    far.end();
    expect(await codeOf(() => reader.until(0))).toBe("EPROTO");
    expect(await codeOf(() => reader.exactly(100))).toBe("EPROTO");
    expect(reader.bufferedBytes).toBe(7);
    expect(await reader.line()).toBe("é end\r");
  }));

test("what is read is its own memory, and what is left survives it", () =>
  withReader(async ({ far, reader }) => {
    await far.send("one\ntwo\nthree\n");
    const one = (await reader.until(10))!;
    structuredClone(one, { transfer: [one.buffer as ArrayBuffer] });
    expect(await reader.line()).toBe("two");
    expect(await reader.line()).toBe("three");
  }));

test("maxBytes is kept, and nothing is lost by it", () =>
  withReader(async ({ far, reader }) => {
    expect(await thrown(() => reader.exactly(11))).toBeInstanceOf(RangeError);
    expect(await thrown(() => reader.until(256))).toBeInstanceOf(RangeError);
    expect(await thrown(() => reader.takeFds(-1))).toBeInstanceOf(RangeError);
    await far.send("0123456789\n0123456789a\n");
    expect(await reader.line()).toBe("0123456789");
    expect(await codeOf(() => reader.line())).toBe("EMSGSIZE");
    expect(text(await reader.exactly(10))).toBe("0123456789");
    far.end();
    expect(await reader.line()).toBe("a");
    await expect(reader.rest()).resolves.toHaveLength(0);
  }, 10));

test("rest is bounded too", () =>
  withReader(async ({ far, reader }) => {
    await far.send("0123456789a");
    expect(await codeOf(() => reader.rest())).toBe("EMSGSIZE");
  }, 10));

test("a read that is given up takes nothing; another meanwhile is EBUSY", () =>
  withReader(async ({ far, reader, near }) => {
    const stop = new AbortController();
    const reading = thrown(() => reader.line({ signal: stop.signal }));
    await far.send("half");
    await eventually(() => reader.bufferedBytes === 4, "half is here");
    expect(await codeOf(() => reader.exactly(1))).toBe("EBUSY");
    stop.abort(new Error("enough"));
    expect(await reading).toMatchObject({ message: "enough" });
    await far.send(" and half\n");
    expect(await reader.line()).toBe("half and half");
    const last = codeOf(() => reader.line());
    near.close();
    expect(await last).toBe("ERR_CLOSED");
    expect(await codeOf(() => reader.line())).toBe("ERR_CLOSED");
    expect(await codeOf(() => near.reader())).toBe("ERR_CLOSED");
  }));

test("descriptors come with their pieces, in order", () =>
  withReader(async ({ far, reader }) => {
    const fds = ["a", "b", "c", "d"].map(marked);
    const [a, b, c, d] = fds;
    await far.send("no descriptor\n");
    await far.send("two\n", { fds: [a!, b!] });
    await far.send("one\n", { fds: [c!] });
    await far.send("left\n", { fds: [d!] });
    for (const fd of fds) fd.close();
    const got: string[] = [];
    expect(await reader.line()).toBe("no descriptor");
    for (const count of [2, 1]) {
      await reader.line();
      const taken = reader.takeFds(count);
      got.push(taken.map(markOf).join(""));
      for (const fd of taken) fd.close();
    }
    expect(got).toEqual(["ab", "c"]);
    expect(reader.takeFds()).toEqual([]);
    expect(await reader.line()).toBe("left"); // d is closed by the reader
  }));

test("descriptors that nobody takes are bounded", () =>
  leakFree(async () => {
    const [near, far] = socketPair("stream");
    using reader = near.reader({ maxFds: 3 });
    using fd = marked("x");
    for (let i = 0; i < 2; i++) await far.send("x\n", { fds: [fd, fd] });
    expect(await reader.line()).toBe("x");
    expect(await codeOf(() => reader.line())).toBe("EMSGSIZE");
    near.close();
    far.close();
  }));
