// acceptFds: how many descriptors a message may bring, and that the others are closed.

import { describe, expect, test } from "bun:test";
import {
  capabilities,
  connect,
  listen,
  openDatagram,
  receiveMessage,
  sendMessage,
  socketPair,
} from "../../src/index.ts";
import { setCloseOnExec } from "../../src/syscalls/fd.ts";
import { noPidfds } from "../support/unless.ts";
import { freshPath, kinds, pairVariants, variants } from "./pairs.ts";
import {
  closeAll,
  codeOf,
  failure,
  isCloseOnExec,
  leakFree,
  marked,
  markedMany,
  markOf,
  must,
} from "./tools.ts";

describe.each(pairVariants)("$name", ({ kind, open, stream }) => {
  test("those beyond acceptFds are closed, and the message says so", () =>
    leakFree(async () => {
      using pair = await open({ acceptFds: 2 });
      const fds = markedMany(5);
      for (const count of [5, 2, 1]) {
        await pair.near.send(`${count}`, { fds: fds.slice(0, count) });
        using message = must(pair.far.tryReceive());
        expect(message.text()).toBe(`${count}`);
        expect(message.fds.map(markOf)).toEqual(["fd 0", "fd 1"].slice(0, count));
        expect(message.fdsTruncated).toBe(count > 2);
      }
      closeAll(fds);
    }));

  test("253 for a receiver that takes one", () =>
    leakFree(async () => {
      using pair = await open({ acceptFds: 1 });
      const fds = markedMany(253);
      await pair.near.send("x", { fds });
      closeAll(fds);
      using message = must(pair.far.tryReceive());
      expect([message.fds.map(markOf), message.fdsTruncated]).toEqual([["fd 0"], true]);
    }));

  for (const acceptFds of [0, false] as const) {
    test(`acceptFds ${acceptFds}: on every kernel the message comes, without its descriptors`, () =>
      leakFree(async () => {
        using pair = await open({ acceptFds });
        using fd = marked("closed");
        await pair.near.send("x", { fds: [fd, fd] });
        using message = must(pair.far.tryReceive());
        const { fds, fdsTruncated } = message;
        expect([message.text(), fds.length, fdsTruncated]).toEqual(["x", 0, true]);
        expect(markOf(fd)).toBe("closed");
      }));
  }

  test('acceptFds "refuse": the sender is told where the kernel can, nothing leaks', () =>
    leakFree(async () => {
      using pair = await open({ acceptFds: "refuse" });
      using fd = marked("refused");
      const refused = capabilities().refuseFds;
      if (refused.available) {
        const error = await failure(() => pair.near.send("x", { fds: [fd] }));
        expect([error.code, error.syscall]).toEqual(["EPERM", "sendmsg"]);
        expect(error.message).toContain("refuses descriptors");
        expect(pair.far.tryReceive()).toBeUndefined();
      } else {
        console.log(`descriptors are closed on arrival: ${refused.reason}`);
        await pair.near.send("x", { fds: [fd] });
        using message = must(pair.far.tryReceive());
        expect([message.fds.length, message.fdsTruncated]).toEqual([0, true]);
      }
      await pair.near.send("plain data passes");
      using message = must(pair.far.tryReceive());
      expect([message.text(), message.fdsTruncated]).toEqual(["plain data passes", false]);
      expect(markOf(fd)).toBe("refused");
    }));

  test("acceptFds true is the most there can be; more than that is a RangeError", async () => {
    using pair = await open({ acceptFds: true });
    const fds = markedMany(253);
    await pair.near.send("x", { fds });
    using message = must(pair.far.tryReceive());
    expect(message.fds.length).toBe(253);
    closeAll(fds);
    for (const acceptFds of [254, -1, 1.5]) {
      expect(() => socketPair(kind, { acceptFds })).toThrow(RangeError);
    }
    for (const acceptFds of ["no", "", null] as never[]) {
      expect(() => socketPair(kind, { acceptFds })).toThrow(TypeError);
    }
  });

  test("receiveInto and the plain function close the surplus too", () =>
    leakFree(async () => {
      using pair = await open({ acceptFds: 1 });
      const fds = markedMany(3);
      await pair.near.send("x", { fds });
      const into = pair.far.tryReceiveInto(new Uint8Array(8));
      expect([into?.fds.map(markOf), into?.fdsTruncated]).toEqual([["fd 0"], true]);
      into?.close();
      for (const [acceptFds, want] of [
        [0, []],
        [false, []],
        ["refuse", []],
        [2, ["fd 0", "fd 1"]],
      ] as const) {
        sendMessage(pair.near, "y", { fds });
        using message = must(receiveMessage(pair.far.fd, { acceptFds }));
        expect(message.fds.map(markOf)).toEqual([...want]);
        expect(message.fdsTruncated).toBe(true);
      }
      closeAll(fds);
    }));

  if (!stream) {
    test("a cut message brings all of its descriptors", () =>
      leakFree(async () => {
        using pair = await open();
        const fds = markedMany(3);
        await pair.near.send("0123456789", { fds });
        using message = must(pair.far.tryReceive({ maxBytes: 4 }));
        expect([message.text(), message.truncated, message.fdsTruncated]).toEqual([
          "0123",
          true,
          false,
        ]);
        expect(message.fds.map(markOf)).toEqual(["fd 0", "fd 1", "fd 2"]);
        closeAll(fds);
      }));
  }
});

test("a listener's acceptFds holds for what it accepts, from before accept", () =>
  leakFree(async () => {
    const path = freshPath();
    using server = listen(path, { acceptFds: 1 });
    using client = await connect(path);
    const fds = markedMany(2);
    await client.send("early", { fds });
    using accepted = await server.accept();
    using message = must(await accepted.receive());
    expect([message.fds.map(markOf), message.fdsTruncated]).toEqual([["fd 0"], true]);
    closeAll(fds);
  }));

test("a listener that refuses descriptors refuses those sent before accept", async () => {
  const path = freshPath();
  using server = listen(path, { acceptFds: "refuse" });
  using client = await connect(path);
  using fd = marked("x");
  if (capabilities().refuseFds.available) {
    expect(await codeOf(() => client.send("early", { fds: [fd] }))).toBe("EPERM");
  } else {
    console.log("this kernel cannot refuse descriptors");
  }
  using accepted = await server.accept();
  await client.send("data");
  expect(must(await accepted.receive()).text()).toBe("data");
});

describe.each(variants)("$name", ({ open }) => {
  test("everything that is made, accepted or received is close-on-exec", async () => {
    const passPidfd = noPidfds() === null;
    using pair = await open({ passCredentials: true, passPidfd });
    using fd = marked("x");
    setCloseOnExec(fd.fd, false);
    expect(fd.closeOnExec).toBe(false);
    await pair.near.send("x", { fds: [fd] });
    using message = must(pair.far.tryReceive());
    const all = [pair.near.fd, pair.far.fd, message.fds[0]!.fd];
    if (passPidfd) all.push(message.pidfd!.fd);
    expect(all.filter((number) => !isCloseOnExec(number))).toEqual([]);
  });
});

test("listeners and opened datagram sockets are close-on-exec", () => {
  for (const kind of kinds) {
    const path = freshPath();
    using socket = kind === "datagram" ? openDatagram(path) : listen(path, { type: kind });
    expect(isCloseOnExec(socket.fd)).toBe(true);
  }
});
