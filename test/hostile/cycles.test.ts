// Sockets in flight that hold each other: the kernel's collector frees them when an AF_UNIX socket
// is closed (facts: #cycles-wait-for-a-close), so nothing that we received or left unread may keep
// them.

import { expect } from "bun:test";
import { listen, listSockets, socketPair } from "../../src/index.ts";
import { freshAddress } from "../api/pairs.ts";
import { eventually, leakFree, must } from "../api/tools.ts";
import { attack, hostileTest } from "./peers.ts";

const COUNT = 200;

/** Sockets of this machine whose abstract name begins with that of the attack. */
function alive(address: string): number {
  const start = Buffer.from(`${address.slice(1)}-`);
  return listSockets().filter(
    ({ address: name }) =>
      name?.kind === "abstract" && Buffer.from(name.name).subarray(0, start.length).equals(start),
  ).length;
}

/** The collector runs when a Unix socket is closed, and is done some time later. */
async function collected(address: string): Promise<void> {
  await eventually(() => {
    for (const socket of socketPair("stream")) socket.close();
    return alive(address) === 0;
  }, "all that was in flight is gone");
}

/** The peer's connection to a server of ours, when the peer has done its part. */
async function attacked(mode: "cycles" | "self", count: number) {
  const address = freshAddress("abstract");
  const server = listen(address, { type: "seqpacket" });
  const peer = attack({ mode, address, type: "seqpacket", count });
  const socket = await server.accept();
  await peer.lineWith("ready");
  const end = async (): Promise<void> => {
    await peer[Symbol.asyncDispose]();
    for (const one of [socket, server]) one.close();
  };
  return { address, peer, socket, [Symbol.asyncDispose]: end };
}

hostileTest(`${COUNT} cycles in flight, the last of them sent to us and received`, () =>
  leakFree(async () => {
    await using it = await attacked("cycles", COUNT);
    const { address, socket } = it;
    const message = must(await socket.receive());
    expect([message.text(), message.fds.map((fd) => fd.describe().kind)]).toEqual([
      "last",
      ["socket", "socket"],
    ]);
    expect(alive(address)).toBeGreaterThan(0); // we hold the last of them
    message.close();
    await collected(address);
  }),
);

hostileTest("the same left unread: closing our end frees it", () =>
  leakFree(async () => {
    await using it = await attacked("cycles", COUNT);
    it.socket.close();
    await collected(it.address);
  }),
);

hostileTest("a connection sent through itself, again and again", () =>
  leakFree(async () => {
    await using it = await attacked("self", 50);
    const { peer, socket } = it;
    peer.kill("SIGKILL");
    await peer.exited;
    for (let i = 0; i < 49; i++) must(await socket.receive()).close();
    using last = must(await socket.receive());
    expect(socket.tryReceive()).toBeUndefined(); // its other end is in `last`: this is no end
    last.close();
    expect(await socket.receive()).toBeNull();
    socket.close();
  }),
);

hostileTest("what we send ourselves in circles goes with our ends", () =>
  leakFree(async () => {
    const marks = freshAddress("abstract");
    for (let i = 0; i < COUNT; i++) {
      const [a, b] = socketPair("stream");
      const named = listen(`${marks}-${i}`);
      await a.send("x", { fds: [a, named] });
      await b.send("x", { fds: [b, named] });
      for (const one of [a, b, named]) one.close();
    }
    await collected(marks);
  }),
);
