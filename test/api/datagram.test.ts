// What only datagram sockets have: destinations that change, and queues to several of them.

import { describe, expect, test } from "bun:test";
import { openDatagram } from "../../src/index.ts";
import { freshPath } from "./pairs.ts";
import { closeAll, codeOf, eventually, leakFree, marked, markOf, must, turns } from "./tools.ts";

function open() {
  const to = freshPath();
  const receiver = openDatagram(to);
  const sender = openDatagram();
  const close = (): void => closeAll([sender, receiver]);
  return { to, receiver, sender, [Symbol.dispose]: close };
}

describe("while sends wait for a full receiver", () => {
  test("close ends them with ERR_CLOSED, and their descriptors are closed", () =>
    leakFree(async () => {
      using three = open();
      const { sender, to } = three;
      using fd = marked("mine");
      while (sender.trySend("x", { to }) !== null) {}
      const codes = [1, 2].map(() => codeOf(() => sender.send("queued", { to, fds: [fd] })));
      sender.close();
      expect(await Promise.all(codes)).toEqual(["ERR_CLOSED", "ERR_CLOSED"]);
      expect(markOf(fd)).toBe("mine");
    }));

  test("asyncDispose sends them first", () =>
    leakFree(async () => {
      using three = open();
      const { sender, receiver, to } = three;
      let filled = 0;
      while (sender.trySend("x", { to }) !== null) filled += 1;
      const outcomes = Promise.allSettled([1, 2, 3].map((i) => sender.send(`${i}`, { to })));
      const closing = sender[Symbol.asyncDispose]();
      for (let i = 0; i < filled; i++) must(await receiver.receive());
      const statuses = (await outcomes).map(({ status }) => status);
      expect(statuses).toEqual(["fulfilled", "fulfilled", "fulfilled"]);
      await closing;
      expect(sender.closed).toBe(true);
      const texts = [1, 2, 3].map(() => must(receiver.tryReceive()).text());
      expect(texts).toEqual(["1", "2", "3"]);
    }));

  test("release is EBUSY", async () => {
    using three = open();
    const { sender, to } = three;
    while (sender.trySend("x", { to }) !== null) {}
    const queued = codeOf(() => sender.send("queued", { to }));
    expect(await codeOf(() => sender.release())).toBe("EBUSY");
    sender.close();
    expect(await queued).toBe("ERR_CLOSED");
  });

  test("trySend and sendSync to there do not overtake them", async () => {
    using three = open();
    const { sender, receiver, to } = three;
    while (sender.trySend("x", { to }) !== null) {}
    const queued = sender.send("queued", { to });
    must(receiver.tryReceive());
    expect(sender.trySend("overtakes", { to })).toBeNull();
    let text = "";
    while (text !== "queued") text = must(await receiver.receive()).text();
    await queued;
    expect(sender.trySend("later", { to })).toBe(5);
  });

  test("an unref'd one is served while the process lives for another reason", async () => {
    using three = open();
    const { sender, receiver, to } = three;
    sender.unref();
    while (sender.trySend("x", { to }) !== null) {}
    let done = false;
    const queued = sender.send("queued", { to }).then(() => {
      done = true;
    });
    while (receiver.tryReceive()) {}
    await eventually(() => done, "the send goes out");
    await queued;
  });
});

describe("connect", () => {
  test("can be changed, and decides who may answer", async () => {
    using first = openDatagram(freshPath());
    using second = openDatagram(freshPath());
    using socket = openDatagram(freshPath());
    for (const target of [first, second, first]) {
      socket.connect(target.localAddress);
      expect(socket.peerAddress).toEqual(target.localAddress);
      await socket.send("hello");
      expect(must(target.tryReceive()).from).toEqual(socket.localAddress);
    }
    expect(await codeOf(() => second.send("x", { to: socket.localAddress }))).toBe("EPERM");
    await first.send("answer", { to: socket.localAddress });
    expect(must(await socket.receive()).text()).toBe("answer");
  });

  test("to itself works", async () => {
    const path = freshPath();
    using socket = openDatagram(path);
    socket.connect(path);
    await socket.send("note to self");
    expect(must(await socket.receive()).text()).toBe("note to self");
  });

  test("a connected socket can still send elsewhere", async () => {
    using first = openDatagram(freshPath());
    using second = openDatagram(freshPath());
    using socket = openDatagram(undefined, { connect: first.localAddress });
    await socket.send("to second", { to: second.localAddress });
    await socket.send("to first");
    expect(must(first.tryReceive()).text()).toBe("to first");
    expect(must(second.tryReceive()).text()).toBe("to second");
  });
});

test("a receiver that is replaced while sends wait: they fail or reach the new one", () =>
  leakFree(async () => {
    for (let i = 0; i < 10; i++) {
      const to = freshPath();
      const old = openDatagram(to);
      using sender = openDatagram();
      while (sender.trySend("x", { to }) !== null) {}
      const outcomes = Promise.allSettled([1, 2, 3].map((n) => sender.send(`${n}`, { to })));
      await turns();
      old.close();
      using fresh = openDatagram(to);
      const settled = await outcomes;
      const arrived = settled.filter(({ status }) => status === "fulfilled").length;
      let got = 0;
      while (fresh.tryReceive()) got += 1;
      expect(got).toBe(arrived);
      await sender.send("after", { to });
      expect(must(await fresh.receive()).text()).toBe("after");
    }
  }));
