// How conversations end: in order, with everything that was sent, and the same way every time.

import { describe, expect, test } from "bun:test";
import { errno } from "../../native/errno.ts";
import { connect, listen, openDatagram, socketPair } from "../../src/index.ts";
import { runSource, succeeded } from "../support/child.ts";
import { noPidfds, testUnless } from "../support/unless.ts";
import { ends, forms, freshPath, pairVariants, variants } from "./pairs.ts";
import { codeOf, failure, fill, leakFree, marked, markOf, must, pattern } from "./tools.ts";

const connections = variants.filter(({ kind }) => kind !== "datagram");

describe.each(connections)("$name", ({ open, stream }) => {
  for (const form of forms) {
    test(`${form.name}: what was sent, then the end, as often as it is asked for`, async () => {
      using pair = await open();
      await form.send(pair.near, "last");
      pair.near.close();
      expect(must(await form.receive(pair.far)).text()).toBe("last");
      for (let i = 0; i < 3; i++) expect(await form.receive(pair.far)).toBeNull();
      for (const other of forms) expect(await other.receive(pair.far)).toBeNull();
      expect(pair.far.tryReceiveInto(new Uint8Array(1))).toBeNull();
    });

    test(`${form.name}: sending to a peer that has closed is EPIPE, each time`, async () => {
      using pair = await open();
      pair.near.close();
      for (let i = 0; i < 3; i++) {
        const error = await failure(() => form.send(pair.far, "x"));
        expect([error.code, error.errno, error.syscall]).toEqual(["EPIPE", -32, "sendmsg"]);
        expect(error.message).toContain("peer has closed");
      }
    });

    test(`${form.name}: unread data of ours: theirs, then ECONNRESET, then the end`, async () => {
      using pair = await open();
      await pair.far.send("unread");
      await pair.near.send("last words");
      pair.near.close();
      expect(must(await form.receive(pair.far)).text()).toBe("last words");
      const error = await failure(async () => {
        // what is unread may have it closed by another thread: a try may come too early
        while ((await form.receive(pair.far)) === undefined) await Bun.sleep(1);
      });
      expect([error.code, error.errno, error.syscall]).toEqual([
        "ECONNRESET",
        -errno.ECONNRESET,
        "recvmsg",
      ]);
      expect(await form.receive(pair.far)).toBeNull();
      expect(await form.receive(pair.far)).toBeNull();
    });
  }

  test("a receive that waits gets the end", async () => {
    using pair = await open();
    const waiting = [pair.far.receive(), pair.far.receive()];
    pair.near.close();
    expect(await Promise.all(waiting)).toEqual([null, null]);
  });

  test("a receive that waits gets the reset", async () => {
    using pair = await open();
    await pair.far.send("unread");
    const waiting = pair.far.receive();
    pair.near.close();
    expect(await codeOf(() => waiting)).toBe("ECONNRESET");
    expect(await pair.far.receive()).toBeNull();
  });

  test("a send that waits fails when the peer closes", async () => {
    using pair = await open();
    fill(pair.near, Buffer.alloc(4096));
    const sends = [pair.near.send(Buffer.alloc(4096)), pair.near.send("x")].map((sent) =>
      codeOf(() => sent),
    );
    pair.far.close();
    for (const code of await Promise.all(sends)) expect(["EPIPE", "ECONNRESET"]).toContain(code);
  });

  test("a duplicate of the other end keeps the connection alive", async () => {
    using pair = await open();
    const copy = pair.near.release();
    pair.near.close();
    expect(pair.far.tryReceive()).toBeUndefined();
    copy.close();
    expect(pair.far.tryReceive()).toBeNull();
  });

  test("the descriptor in a message that was never read is closed with the reset", () =>
    leakFree(async () => {
      using pair = await open();
      const [inside, outside] = socketPair("stream");
      await pair.far.send("unread", { fds: [inside], transfer: false });
      inside.close();
      pair.near.close();
      expect(await outside.receive()).toBeNull();
      expect(await codeOf(() => pair.far.receive())).toBe("ECONNRESET");
      outside.close();
    }));

  test("data before the end is all there, however much", async () => {
    using pair = await open();
    const bodies = Array.from({ length: 20 }, (_, i) => pattern(5000, i + 1));
    for (const body of bodies) await pair.near.send(body);
    pair.near.close();
    const received: Uint8Array[] = [];
    for await (const message of pair.far) received.push(message.data);
    expect(Buffer.concat(received).equals(Buffer.concat(bodies))).toBe(true);
    if (!stream) expect(received.length).toBe(20);
  });
});

describe("half-close", () => {
  test("after end() the peer reads all, then the end, and can still answer", async () => {
    using pair = ends(...socketPair("stream"));
    const bytes = pattern(2 ** 20);
    const sending = pair.near.send(bytes); // queued: the end comes after it
    pair.near.end();
    pair.near.end();
    let got = 0;
    for await (const message of pair.far) got += message.data.length;
    await sending;
    expect(got).toBe(bytes.length);
    await pair.far.send("answer");
    expect(must(await pair.near.receive()).text()).toBe("answer");
    expect(await codeOf(() => pair.near.send("x"))).toBe("EPIPE");
    expect(await codeOf(() => pair.near.trySend("x"))).toBe("EPIPE");
    pair.far.end();
    expect(await pair.near.receive()).toBeNull();
  });

  test("both ends half-closed; close afterwards is quiet", () =>
    leakFree(async () => {
      using pair = ends(...socketPair("stream"));
      pair.near.end();
      pair.far.end();
      expect(await Promise.all([pair.near.receive(), pair.far.receive()])).toEqual([null, null]);
    }));
});

const lengthsOf = (batch: readonly { data: Uint8Array }[] | null | undefined): number[] => {
  if (!batch) throw new Error("no batch");
  return batch.map(({ data }) => data.length);
};

describe("empty seqpacket messages", () => {
  const packets = variants.filter(({ kind }) => kind === "seqpacket");
  for (const { name, open } of packets) {
    test(`${name}: an empty message is a message, the end is the end`, async () => {
      using pair = await open();
      for (const data of ["", "a", "", ""]) await pair.near.send(data);
      pair.near.close();
      const lengths: number[] = [];
      for await (const message of pair.far) lengths.push(message.data.length);
      expect(lengths).toEqual([0, 1, 0, 0]);
      expect(pair.far.tryReceive()).toBeNull();
    });

    test(`${name}: the same with receiveInto and receiveBatch`, async () => {
      using pair = await open();
      if (pair.near.type !== "seqpacket" || pair.far.type !== "seqpacket") throw new Error("kind");
      await pair.near.sendBatch(["", "", "a"]);
      expect(pair.far.tryReceiveInto(new Uint8Array(4))?.bytes).toBe(0);
      const batch = lengthsOf(await pair.far.receiveBatch());
      expect(batch).toEqual([0, 1]);
      expect(pair.far.tryReceiveBatch()).toBeUndefined();
      await pair.near.send("");
      pair.near.close();
      expect(lengthsOf(pair.far.tryReceiveBatch())).toEqual([0]);
      expect(await pair.far.receiveBatch()).toBeNull();
      expect(pair.far.tryReceiveInto(new Uint8Array(4))).toBeNull();
    });
  }

  test("an empty message from before the listener accepted", async () => {
    const path = freshPath();
    using server = listen(path, { type: "seqpacket" });
    using client = await connect(path, { type: "seqpacket" });
    await client.send("");
    client.close();
    using accepted = await server.accept();
    expect((await accepted.receive())?.data.length).toBe(0);
    expect(await accepted.receive()).toBeNull();
  });
});

describe.each(pairVariants)("$name: with options that add to each message", ({ kind, open }) => {
  const options = [
    { passCredentials: true },
    { passPidfd: true },
    { passCredentials: true, passPidfd: true },
    { acceptFds: false },
    { acceptFds: "refuse" as const },
  ];
  for (const option of options) {
    const lacking = "passPidfd" in option ? noPidfds() : null;
    testUnless(lacking, `${JSON.stringify(option)}: empty is empty, and the end is the end`, () =>
      leakFree(async () => {
        using pair = await open(option);
        const lengths: (number | undefined)[] = [];
        for (const data of ["", "a", ""]) await pair.near.send(data);
        if (kind === "datagram") {
          for (let m = pair.far.tryReceive(); m; m = pair.far.tryReceive()) {
            lengths.push(m.data.length);
            m.close();
          }
          expect(lengths).toEqual([0, 1, 0]);
          return;
        }
        pair.near.close();
        for (;;) {
          using message = pair.far.tryReceive() ?? null;
          if (message === null || lengths.length > 3) break;
          lengths.push(message.data.length);
        }
        expect(lengths).toEqual(kind === "stream" ? [1] : [0, 1, 0]);
        expect(pair.far.tryReceive()).toBeNull();
        expect(await pair.far.receive()).toBeNull();
        expect(await pair.far.receiveInto(new Uint8Array(4))).toBeNull();
        expect(pair.far.receiveSync({ timeoutMs: 1000 })).toBeNull();
      }),
    );
  }
});

describe("datagrams have no end", () => {
  test("a peer that has gone is ECONNREFUSED, then ENOTCONN, and nothing to receive", async () => {
    const to = freshPath();
    using receiver = openDatagram(to);
    using sender = openDatagram(undefined, { connect: to });
    sender.trySend("x");
    receiver.close();
    const refused = async (): Promise<void> => {
      // what is unread may have it closed by another thread
      for (; ; await Bun.sleep(1)) sender.trySend("x");
    };
    expect(await codeOf(refused)).toBe("ECONNREFUSED");
    expect(await codeOf(() => sender.trySend("x"))).toBe("ENOTCONN");
    expect(sender.tryReceive()).toBeUndefined();
    using again = openDatagram(to);
    sender.connect(to);
    await sender.send("connected again");
    expect(must(again.tryReceive()).text()).toBe("connected again");
  });

  test("without a destination: ENOTCONN", async () => {
    using sender = openDatagram();
    for (const form of forms) {
      expect(await codeOf(() => form.send(sender, "x"))).toBe("ENOTCONN");
    }
  });
});

describe.each(pairVariants)("$name: close", ({ open }) => {
  test("what waits gets ERR_CLOSED", () =>
    leakFree(async () => {
      using pair = await open();
      fill(pair.near, Buffer.alloc(4096));
      const waiting = [
        pair.near.receive(),
        pair.near.receiveInto(new Uint8Array(8)),
        pair.near.send(Buffer.alloc(4096)),
        pair.near.send(Buffer.alloc(4096)),
      ];
      const errors = waiting.map((promise) => failure(() => promise));
      pair.near.close();
      for (const error of await Promise.all(errors)) {
        expect([error.code, error.message.includes("already closed")]).toEqual([
          "ERR_CLOSED",
          true,
        ]);
      }
      expect(pair.near.queuedBytes).toBe(0);
    }));

  test("every use after close is ERR_CLOSED; closing again is nothing", async () => {
    using pair = await open();
    const { near } = pair;
    using fd = marked("mine");
    near.close();
    near.close();
    near[Symbol.dispose]();
    await near[Symbol.asyncDispose]();
    expect([near.closed, near.fd]).toEqual([true, -1]);
    const uses: (() => unknown)[] = [
      () => near.tryReceive(),
      () => near.receive(),
      () => near.receiveSync(),
      () => near.tryReceiveInto(new Uint8Array(1)),
      () => near.receiveInto(new Uint8Array(1)),
      () => near.receiveIntoSync(new Uint8Array(1)),
      () => near.trySend("x"),
      () => near.send("x"),
      () => near.send("x", { fds: [fd], transfer: true }),
      () => near.sendSync("x"),
      () => near.peerCredentials(),
      () => near.peer(),
      () => near.localAddress,
      () => near.peerAddress,
      () => near.release(),
      () => near[Symbol.asyncIterator]().next(),
      () => (near.type === "stream" ? near.toDuplex() : near.sendBatch(["x"])),
      () => (near.type === "stream" ? near.receive() : near.receiveBatch()),
      () => (near.type === "stream" ? near.receive() : near.trySendBatch(["x"])),
      () => (near.type === "stream" ? near.receive() : near.tryReceiveBatch()),
    ];
    for (const use of uses) expect(await codeOf(use), String(use)).toBe("ERR_CLOSED");
    expect(markOf(fd)).toBe("mine");
    expect(near.ref().unref()).toBe(near);
    if (near.type === "stream") near.end();
  });

  test("close from inside a promise's callback, and of both ends at once", () =>
    leakFree(async () => {
      using pair = await open();
      const received = pair.far.receive().then(() => {
        pair.far.close();
        pair.near.close();
      });
      const second = codeOf(() => pair.far.receive());
      await pair.near.send("x");
      await received;
      expect(await second).toBe("ERR_CLOSED");
    }));

  test("onClose is called once; at once where it is closed already", async () => {
    using pair = await open();
    const calls: string[] = [];
    pair.near.onClose(() => calls.push("first"));
    pair.near.close();
    pair.near.close();
    pair.near.onClose(() => calls.push("late"));
    expect(calls).toEqual(["first", "late"]);
  });

  test("asyncDispose sends what is queued first, dispose does not", async () => {
    for (const flush of [true, false]) {
      using pair = await open();
      const filled = fill(pair.near, Buffer.alloc(4096));
      const outcomes = Promise.allSettled(
        [1, 2, 3].map((byte) => pair.near.send(Buffer.alloc(4096, byte))),
      );
      const done = flush ? pair.near[Symbol.asyncDispose]() : pair.near[Symbol.dispose]();
      expect(pair.near.closed).toBe(!flush);
      let got = 0;
      const all = (filled + (flush ? 3 : 0)) * 4096;
      while (got < all) {
        const message = must(pair.far.tryReceive() ?? (await pair.far.receive()));
        got += message.data.length;
      }
      await done;
      const statuses = (await outcomes).map(({ status }) => status);
      expect(statuses).toEqual(Array(3).fill(flush ? "fulfilled" : "rejected"));
      expect(pair.near.closed).toBe(true);
    }
  });
});

test("what an onClose callback throws stops nothing; it is uncaught", async () => {
  const program = `
    import { socketPair } from "@/src/index.ts";
    const [a, b] = socketPair("stream");
    process.on("uncaughtException", (error) => console.log("uncaught", error.message));
    a.onClose(() => { throw new Error("oops"); });
    a.onClose(() => console.log("second"));
    a.close();
    console.log(a.closed);
    b.close();`;
  const said = succeeded(await runSource(program))
    .trim()
    .split("\n");
  expect(said).toEqual(["second", "true", "uncaught oops"]);
});
