// Where descriptors stand among the bytes of a stream: early, never late, never mixed
// (facts: #descriptors-in-a-stream).

import { expect, test } from "bun:test";
import { type Message, socketPair } from "../../src/index.ts";
import { ends } from "./pairs.ts";
import { leakFree, marked, markOf, must } from "./tools.ts";

const open = () => ends(...socketPair("stream"));

/** What came: the text, and the marks of the descriptors with it. */
function seen(message: Message | null | undefined): string {
  using here = must(message);
  return `${here.text()}${here.fds.map((fd) => `[${markOf(fd)}]`).join("")}`;
}

test("a receive takes plain bytes before a send with descriptors, and stops after it", () =>
  leakFree(async () => {
    using pair = open();
    using fd = marked("A");
    await pair.near.send("0123");
    await pair.near.send("4", { fds: [fd] });
    await pair.near.send("5678");
    expect(seen(pair.far.tryReceive())).toBe("01234[A]");
    expect(seen(pair.far.tryReceive())).toBe("5678");
  }));

test("descriptors of two sends never come with one receive", () =>
  leakFree(async () => {
    using pair = open();
    using a = marked("A");
    using b = marked("B");
    await pair.near.send("first", { fds: [a] });
    await pair.near.send("second", { fds: [b, a] });
    expect(seen(pair.far.tryReceive())).toBe("first[A]");
    expect(seen(pair.far.tryReceive())).toBe("second[B][A]");
  }));

test("a short receive gets the descriptors with the first byte of their send", () =>
  leakFree(async () => {
    using pair = open();
    using a = marked("A");
    using b = marked("B");
    await pair.near.send("1234", { fds: [a] });
    await pair.near.send("5678", { fds: [b] });
    expect(seen(pair.far.tryReceive({ maxBytes: 2 }))).toBe("12[A]");
    // the tail of the first send is glued to the second: early, but never late
    expect(seen(pair.far.tryReceive())).toBe("345678[B]");
  }));

test("a receive that ends just before a send with descriptors leaves them there", () =>
  leakFree(async () => {
    using pair = open();
    using a = marked("A");
    await pair.near.send("1234");
    await pair.near.send("5", { fds: [a] });
    expect(seen(pair.far.tryReceive({ maxBytes: 4 }))).toBe("1234");
    expect(seen(pair.far.tryReceive())).toBe("5[A]");
  }));

test("100 descriptors among 100 sends of every length come in their order", () =>
  leakFree(async () => {
    using pair = open();
    const sizes = Array.from({ length: 100 }, (_, i) => 1 + ((i * 997) % 5000));
    const sending = (async () => {
      for (const [i, size] of sizes.entries()) {
        using fd = marked(`${i}`);
        await pair.near.send(Buffer.alloc(size, i), { fds: i % 3 === 0 ? [] : [fd] });
      }
      pair.near.end();
    })();
    const marks: string[] = [];
    let position = 0;
    const starts = new Map<string, number>(); // mark → where its receive began
    for await (const message of pair.far) {
      using here = message;
      for (const fd of here.fds) {
        const mark = markOf(fd);
        marks.push(mark);
        starts.set(mark, position + here.data.length);
      }
      position += here.data.length;
    }
    await sending;
    expect(marks).toEqual(sizes.map((_, i) => `${i}`).filter((_, i) => i % 3 !== 0));
    let begin = 0;
    for (const [i, size] of sizes.entries()) {
      const end = starts.get(`${i}`);
      // the receive that brought it reached at least the first byte of its send
      if (end !== undefined) expect(end).toBeGreaterThan(begin);
      begin += size;
    }
    expect(position).toBe(begin);
  }));

test("a gathered send is one send: its descriptors come with its first part", () =>
  leakFree(async () => {
    using pair = open();
    using a = marked("A");
    await pair.near.send(["", "ab", "", "cd"], { fds: [a] });
    expect(seen(pair.far.tryReceive({ maxBytes: 1 }))).toBe("a[A]");
    expect(seen(pair.far.tryReceive())).toBe("bcd");
  }));

test("trySend that is taken in part has sent its descriptors; they are not sent again", () =>
  leakFree(async () => {
    using pair = open();
    using a = marked("A");
    const big = Buffer.alloc(2 ** 22, "x");
    const taken = pair.near.trySend(big, { fds: [a] }) ?? 0;
    expect(taken).toBeGreaterThan(0);
    expect(taken).toBeLessThan(big.length);
    const rest = pair.near.send(big.subarray(taken));
    let fds = 0;
    for (let got = 0; got < big.length; ) {
      using message = must(await pair.far.receive());
      if (got === 0) expect(message.fds.length).toBe(1);
      fds += message.fds.length;
      got += message.data.length;
    }
    await rest;
    expect(fds).toBe(1);
  }));

test("receiveInto brings descriptors too", () =>
  leakFree(async () => {
    using pair = open();
    using a = marked("A");
    const buffer = new Uint8Array(4);
    const calls = [
      async () => pair.far.tryReceiveInto(buffer),
      async () => pair.far.receiveIntoSync(buffer),
      () => pair.far.receiveInto(buffer),
    ];
    for (const call of calls) {
      await pair.near.send("abcd", { fds: [a] });
      const received = await call();
      expect(received?.bytes).toBe(4);
      expect(received?.fds.map(markOf)).toEqual(["A"]);
      received?.close();
    }
  }));
