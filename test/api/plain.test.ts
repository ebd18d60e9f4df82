// sendMessage and receiveMessage: one try on a socket that stays whose it is.

import { describe, expect, test } from "bun:test";
import { connect, maxFdsPerMessage, receiveMessage, sendMessage } from "../../src/index.ts";
import { freshPath, variants } from "./pairs.ts";
import { closeAll, codeOf, isOpen, leakFree, marked, markedMany, markOf, must } from "./tools.ts";

describe.each(variants)("$name", ({ kind, stream, open }) => {
  test("a message with descriptors, by number and by object", () =>
    leakFree(async () => {
      using pair = await open({ passCredentials: true });
      using fd = marked("m");
      for (const [from, to] of [
        [pair.near.fd, pair.far.fd],
        [pair.far, pair.near],
        [{ fd: pair.near.fd }, { fd: pair.far.fd }],
      ] as const) {
        expect(sendMessage(from, ["by ", "number"], { fds: [fd] })).toBe(9);
        using message = must(receiveMessage(to));
        expect([message.text(), message.fds.map(markOf)]).toEqual(["by number", ["m"]]);
        expect(message.credentials?.pid).toBe(process.pid);
        expect(receiveMessage(to)).toBeUndefined();
      }
    }));

  test("a blocking descriptor does not block", () =>
    leakFree(async () => {
      using pair = await open();
      using near = pair.near.release();
      using far = pair.far.release();
      near.nonBlocking = false;
      far.nonBlocking = false;
      expect(receiveMessage(far)).toBeUndefined();
      let sent = 0;
      for (let n: number | null = 0; n !== null; n = sendMessage(near, Buffer.alloc(4096)))
        sent += n;
      expect(sent).toBeGreaterThan(0);
      let got = 0;
      for (let m = receiveMessage(far); m; m = receiveMessage(far)) got += m.data.length;
      expect(got).toBe(sent);
    }));

  test("253 descriptors, transfer, limits and truncation are those of the sockets' own calls", () =>
    leakFree(async () => {
      using pair = await open();
      const fds = markedMany(maxFdsPerMessage);
      sendMessage(pair.near, "all", { fds, transfer: true });
      expect(fds.every((fd) => fd.closed)).toBe(true);
      using message = must(receiveMessage(pair.far, { acceptFds: 2 }));
      expect([message.fds.map(markOf), message.fdsTruncated]).toEqual([["fd 0", "fd 1"], true]);
      expect(() => sendMessage(pair.near, "x", { fds: Array(254).fill(0) })).toThrow(RangeError);
      sendMessage(pair.near, "0123456789");
      const cut = must(receiveMessage(pair.far, { maxMessageBytes: 4 }));
      expect([cut.text(), cut.truncated]).toEqual(["0123", !stream]);
    }));

  if (kind !== "datagram") {
    test("the end is null, and sending to it EPIPE", async () => {
      using pair = await open({ passCredentials: true });
      const number = pair.far.fd;
      pair.near.close();
      expect([receiveMessage(number), receiveMessage(pair.far)]).toEqual([null, null]);
      expect(await codeOf(() => sendMessage(number, "x"))).toBe("EPIPE");
      expect(isOpen(number)).toBe(true);
    });
  }
});

test("on a socket that Bun opened: descriptors go out beside Bun's own writes", () =>
  leakFree(async () => {
    const path = freshPath();
    const opened = Promise.withResolvers<{ readonly fd: number; write(text: string): number }>();
    const server = Bun.listen({
      unix: path,
      socket: {
        open: (socket) => opened.resolve(socket as unknown as { fd: number; write(): number }),
        data: () => {},
      },
    });
    using client = await connect(path);
    const theirs = await opened.promise;
    using fd = marked("through Bun");
    theirs.write("plain ");
    expect(sendMessage(theirs, "with", { fds: [fd] })).toBe(4);
    let text = "";
    const marks: string[] = [];
    while (text.length < 10) {
      using message = must(await client.receive());
      text += message.text();
      marks.push(...message.fds.map(markOf));
    }
    expect([text, marks]).toEqual(["plain with", ["through Bun"]]);
    closeAll([client]);
    server.stop(true);
  }));
