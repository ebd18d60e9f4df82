// Sends that have to wait hold duplicates of their descriptors, and let go of them whatever comes.

import { describe, expect, test } from "bun:test";
import type { SendOptions } from "../../src/index.ts";
import { type AnySocket, type Ends, pairVariants } from "./pairs.ts";
import {
  closeAll,
  codeOf,
  fill,
  isOpen,
  leakFree,
  marked,
  markedAs,
  markedMany,
  markOf,
  openAtMost,
  openFds,
  thrown,
} from "./tools.ts";

const filler = Buffer.alloc(4096, "f");

interface Full extends Ends {
  /** Sends that fill it. */
  readonly count: number;
}

/** Receive all that is there, and return the marks of the descriptors in it. */
async function drain(socket: AnySocket, until: () => boolean): Promise<string[]> {
  const marks: string[] = [];
  while (!until()) {
    using message = socket.tryReceive() ?? null;
    if (message === null) await Bun.sleep(1);
    else marks.push(...message.fds.map(markOf));
  }
  for (;;) {
    using message = socket.tryReceive() ?? null;
    if (message === null) return marks;
    marks.push(...message.fds.map(markOf));
  }
}

describe.each(pairVariants)("$name", ({ open }) => {
  async function full(): Promise<Full> {
    const pair = await open();
    return { ...pair, count: fill(pair.near, filler) };
  }

  const queue = (pair: Full, options: SendOptions & { signal?: AbortSignal }) => {
    const state = { done: false };
    const sent = pair.near.send(filler, options).finally(() => {
      state.done = true;
    });
    return { sent, state };
  };

  test("the original may be closed while the send waits", () =>
    leakFree(async () => {
      using pair = await full();
      const fds = markedMany(3);
      const { sent, state } = queue(pair, { fds });
      closeAll(fds);
      const marks = await drain(pair.far, () => state.done);
      await sent;
      expect(marks).toEqual(["fd 0", "fd 1", "fd 2"]);
    }));

  test("a number that was closed and used again does not change what is sent", () =>
    leakFree(async () => {
      using pair = await full();
      const first = marked("first");
      const number = first.fd;
      const { sent, state } = queue(pair, { fds: [number] });
      first.close();
      using second = markedAs(number, "second");
      expect(markOf(second)).toBe("second");
      const marks = await drain(pair.far, () => state.done);
      await sent;
      expect(marks).toEqual(["first"]);
    }));

  test("an aborted send closes its duplicates and leaves the caller's open", () =>
    leakFree(async () => {
      using pair = await full();
      using fd = marked("mine");
      const before = openFds();
      const stop = new AbortController();
      const { sent } = queue(pair, { fds: [fd, fd], signal: stop.signal });
      stop.abort(new Error("enough"));
      expect(String(await thrown(() => sent))).toContain("enough");
      await openAtMost(before, 2); // the loop's own may be new
      expect(markOf(fd)).toBe("mine");
      expect(await drain(pair.far, () => true)).toEqual([]);
    }));

  test("an aborted transfer leaves the descriptors with the caller", () =>
    leakFree(async () => {
      using pair = await full();
      using fd = marked("mine");
      const stop = new AbortController();
      const { sent } = queue(pair, { fds: [fd], transfer: true, signal: stop.signal });
      stop.abort();
      await thrown(() => sent);
      expect(markOf(fd)).toBe("mine");
    }));

  test("a queued transfer closes the descriptors once the kernel has them", () =>
    leakFree(async () => {
      using pair = await full();
      const fd = marked("gone");
      const number = fd.fd;
      const { sent, state } = queue(pair, { fds: [fd], transfer: true });
      expect(isOpen(number)).toBe(true);
      const marks = await drain(pair.far, () => state.done);
      await sent;
      expect([fd.closed, marks]).toEqual([true, ["gone"]]);
    }));

  test("close drops queued sends: ERR_CLOSED, duplicates closed, a transfer not taken", () =>
    leakFree(async () => {
      using pair = await full();
      using fd = marked("mine");
      using given = marked("still mine");
      const plain = queue(pair, { fds: [fd] });
      const transfer = queue(pair, { fds: [given], transfer: true });
      const codes = Promise.all([codeOf(() => plain.sent), codeOf(() => transfer.sent)]);
      pair.near.close();
      expect(await codes).toEqual(["ERR_CLOSED", "ERR_CLOSED"]);
      expect([markOf(fd), markOf(given)]).toEqual(["mine", "still mine"]);
    }));

  test("a peer that goes away ends queued sends without a leak", () =>
    leakFree(async () => {
      using pair = await full();
      using fd = marked("mine");
      const { sent } = queue(pair, { fds: [fd] });
      pair.far.close();
      expect(["EPIPE", "ECONNRESET", "ECONNREFUSED", "ENOTCONN"]).toContain(
        await codeOf(() => sent),
      );
      expect(markOf(fd)).toBe("mine");
    }));

  test("a bad descriptor is EBADF for a send that would have to wait, too", () =>
    leakFree(async () => {
      using pair = await full();
      using good = marked("good");
      const gone = marked("gone");
      const number = gone.fd;
      gone.close();
      const code = await codeOf(() => pair.near.send("x", { fds: [good, number] }));
      expect(code).toBe("EBADF");
      expect(pair.near.queuedBytes).toBe(0);
    }));

  test("30 queued sends with 20 descriptors each arrive in order", () =>
    leakFree(async () => {
      using pair = await full();
      const fds = markedMany(20);
      let left = 30;
      const all = Promise.all(
        Array.from({ length: left }, async () => {
          await pair.near.send(filler, { fds });
          left -= 1;
        }),
      );
      closeAll(fds);
      const marks = await drain(pair.far, () => left === 0);
      await all;
      expect(marks).toEqual(Array.from({ length: 600 }, (_, i) => `fd ${i % 20}`));
    }));
});
