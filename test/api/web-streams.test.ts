// A stream socket as web streams.

import { describe, expect, test } from "bun:test";
import { socketPair } from "../../src/index.ts";
import { ends } from "./pairs.ts";
import { codeOf, leakFree, marked, must, pattern, readExactly, thrown, turns } from "./tools.ts";

const open = () => ends(...socketPair("stream"));

test("bytes go through byte for byte, and the end is the end", () =>
  leakFree(async () => {
    using pair = open();
    const bytes = pattern(3 * 2 ** 20);
    const writing = (async () => {
      const writer = pair.near.writable.getWriter();
      for (let at = 0; at < bytes.length; at += 100_000) {
        await writer.write(bytes.subarray(at, at + 100_000));
      }
      await writer.close();
    })();
    const received = Buffer.from(await new Response(pair.far.readable).arrayBuffer());
    await writing;
    expect(received.equals(bytes)).toBe(true);
    await pair.far.send("half-closed only");
    expect(must(await pair.near.receive()).text()).toBe("half-closed only");
  }));

test("pipeTo and pipeThrough", () =>
  leakFree(async () => {
    using first = open();
    using second = open();
    const zip = new CompressionStream("gzip");
    const unzip = new DecompressionStream("gzip");
    const there = first.far.readable
      .pipeThrough(zip as unknown as ReadableWritablePair<Uint8Array, Uint8Array>)
      .pipeTo(second.near.writable);
    const text = "hello ".repeat(1000);
    await first.near.send(text);
    first.near.end();
    const stream = second.far.readable.pipeThrough(
      unzip as unknown as ReadableWritablePair<Uint8Array, Uint8Array>,
    );
    expect(await new Response(stream).text()).toBe(text);
    await there;
  }));

test("nothing is read before it is asked for", async () => {
  using pair = open();
  await pair.near.send("kept");
  const { readable } = pair.far;
  await turns();
  expect(must(pair.far.tryReceive()).text()).toBe("kept");
  await readable.cancel();
});

test("a write resolves when the kernel has taken it", async () => {
  using pair = open();
  const writer = pair.near.writable.getWriter();
  let written = false;
  const writing = writer.write(new Uint8Array(2 ** 20)).then(() => {
    written = true;
  });
  await turns();
  expect(written).toBe(false);
  await readExactly(pair.far, 2 ** 20);
  await writing;
  expect(written).toBe(true);
});

test("descriptors that come are closed", () =>
  leakFree(async () => {
    using pair = open();
    using fd = marked("unwanted");
    await pair.near.send("data", { fds: [fd, fd] });
    pair.near.end();
    expect(await new Response(pair.far.readable).text()).toBe("data");
  }));

test("each look gives the same stream, of this socket alone", () => {
  using pair = open();
  const { readable, writable } = pair.near;
  expect(pair.near.readable).toBe(readable);
  expect(pair.near.writable).toBe(writable);
  expect(pair.far.readable).not.toBe(readable);
  expect(pair.far.writable).not.toBe(writable);
});

test("cancelling the readable ends a receive that waits, and leaves the socket open", async () => {
  using pair = open();
  const reader = pair.far.readable.getReader();
  const reading = reader.read();
  await turns();
  await reader.cancel("enough");
  expect((await reading).done).toBe(true);
  await pair.near.send("still here");
  expect(must(await pair.far.receive()).text()).toBe("still here");
});

describe("cancelling a readable whose pull is under way takes nothing out of the socket", () => {
  const kept = async (before: () => Promise<unknown>): Promise<void> => {
    using pair = open();
    const reader = pair.far.readable.getReader();
    await pair.near.send("first");
    expect((await reader.read()).value).toEqual(Buffer.from("first"));
    await pair.near.send("kept");
    await before();
    const reading = reader.read();
    const next = pair.far.receive();
    await reader.cancel("enough");
    expect((await reading).done).toBe(true);
    expect(must(await next).text()).toBe("kept");
  };

  test("in the same moment", () => leakFree(() => kept(async () => {})));

  test("while what was received waits for the loop's turn", () =>
    leakFree(() =>
      kept(async () => {
        using busy = open();
        const bytes = new Uint8Array(1);
        let turn = false;
        setImmediate(() => {
          turn = true;
        });
        // until an outcome waits: then Bun's loop has its turn, which cannot be had otherwise
        while (!turn) {
          busy.near.trySend(bytes);
          const value = busy.far.receive();
          const told = await Promise.race([value, null]);
          if (told === null) return;
        }
      }),
    ));
});

test("errors of the socket are the stream's errors", async () => {
  using pair = open();
  const writer = pair.near.writable.getWriter();
  const reading = pair.near.readable.getReader().read();
  const failed = codeOf(() => reading);
  await pair.near.send("unread by the peer");
  pair.far.close();
  expect(await failed).toBe("ECONNRESET");
  expect(await codeOf(() => writer.write(new Uint8Array(1)))).toBe("EPIPE");
  expect(await thrown(() => writer.closed)).toBeDefined();
});
