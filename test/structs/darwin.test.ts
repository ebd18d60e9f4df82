// The pure layer with macOS's column, in a process that says it is macOS. The bytes expected here
// are written out from the layouts in XNU's headers; no Mac has confirmed them.

import { expect, test } from "bun:test";
import { runSource, succeeded } from "../support/child.ts";

async function onDarwin<T>(body: string): Promise<T> {
  const source = `
    Object.defineProperty(process, "platform", { value: "darwin" });
    const address = await import("@/src/structs/sockaddr-un.ts");
    const cmsg = await import("@/src/structs/cmsg.ts");
    const credentials = await import("@/src/structs/credentials.ts");
    const msghdr = await import("@/src/structs/msghdr.ts");
    const attempt = (fn) => { try { return fn(); } catch (error) { return error.name; } };
    ${body}`;
  return JSON.parse(succeeded(await runSource(source))) as T;
}

test("sockaddr_un: a length and a family of one byte each, 104 bytes of path", async () => {
  const said = await onDarwin(`
    const bytes = new Uint8Array(address.addressRoom);
    const length = address.encodeSockaddr({ kind: "path", path: "/a" }, bytes);
    const full = (n) => ({ kind: "path", path: "p".repeat(n) });
    console.log(JSON.stringify({
      path: bytes.subarray(0, length).toHex(),
      longest: address.encodeSockaddr(full(103), bytes),
      tooLong: attempt(() => address.encodeSockaddr(full(104), bytes)),
      decoded: address.decodeSockaddr(Uint8Array.of(5, 1, 0x2f, 0x61, 0, 0, 0, 0), 5),
      padded: address.decodeSockaddr(new Uint8Array(106).fill(0, 0).with(0, 106).with(1, 1), 106),
      unnamed: address.decodeSockaddr(Uint8Array.of(16, 1), 2),
    }));`);
  expect(said).toEqual({
    path: "05012f6100",
    longest: 106,
    tooLong: "RangeError",
    decoded: { kind: "path", path: "/a" },
    padded: { kind: "unnamed" },
    unnamed: { kind: "unnamed" },
  });
});

test("cmsghdr: 12 bytes, aligned to 4, SOL_SOCKET 0xffff; no credentials in it", async () => {
  const said = await onDarwin(`
    const out = { fds: [7, 8] };
    const view = new DataView(new ArrayBuffer(cmsg.controlBytes(out)));
    cmsg.encodeControl(view, out);
    console.log(JSON.stringify({
      sizes: [0, 1, 4, 5].map((n) => [cmsg.cmsgLength(n), cmsg.cmsgSpace(n)]),
      bytes: new Uint8Array(view.buffer).toHex(),
      decoded: cmsg.decodeControl(view, view.byteLength).fds,
      cut: Array.from({ length: 21 }, (_, n) => cmsg.decodeControl(view, n).fds.length),
    }));`);
  expect(said).toEqual({
    sizes: [
      [12, 12],
      [13, 16],
      [16, 16],
      [17, 20],
    ],
    bytes: "14000000ffff0000010000000700000008000000",
    decoded: [7, 8],
    cut: [...new Array(16).fill(0), 1, 1, 1, 1, 2],
  });
});

test("xucred: version 0, uid, at most 16 groups", async () => {
  const said = await onDarwin(`
    const xucred = (version, count) => {
      const view = new DataView(new ArrayBuffer(76));
      view.setUint32(0, version, true);
      view.setUint32(4, 501, true);
      view.setInt16(8, count, true);
      for (let i = 0; i < 16; i++) view.setUint32(12 + 4 * i, 20 + i, true);
      const read = credentials.decodeXucred(view);
      return read && [read.uid, read.groups.length, read.groups[0] ?? null];
    };
    console.log(JSON.stringify([[0, 1], [0, 16], [0, 17], [0, 0], [0, -1], [1, 1]]
      .map(([version, count]) => xucred(version, count))));`);
  expect(said).toEqual([
    [501, 1, 20],
    [501, 16, 20],
    [501, 16, 20],
    [501, 0, null],
    [501, 0, null],
    null,
  ]);
});

test("msghdr: 48 bytes, msg_flags at 44", async () => {
  const said = await onDarwin(`
    console.log(JSON.stringify([msghdr.msghdrBytes, msghdr.iovecBytes, msghdr.word]));`);
  const word = {
    name: 0,
    nameBytes: 2,
    iov: 4,
    iovCount: 6,
    control: 8,
    controlBytes: 10,
    flags: 11,
  };
  expect(said).toEqual([48, 16, word]);
});
