// Descriptors by the hundred in every message, as fast as a C program can send them: what is open
// here stays within what was asked for, and everything else is closed.
//
// BUNIX_FLOOD_MESSAGES makes the floods longer (253 descriptors each).

import { describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { listen, socketPair } from "../../src/index.ts";
import { leakFree, must } from "../api/tools.ts";
import { fewer, root, start, succeeded } from "../support/child.ts";
import { compileC, peerTest } from "../support/peers.ts";
import { tempDir } from "../support/tmp.ts";
import { attack, hostileTest, Peak, settledMebibytes, target } from "./peers.ts";

const MESSAGES = Number(process.env["BUNIX_FLOOD_MESSAGES"] ?? fewer(500));
const MAX_FDS = 253;
const types = ["stream", "seqpacket"] as const;

/** Descriptors of a listener, a connection and a child's three pipes; Bun's own come and go. */
const OWN = 16;
const LOOK_EVERY = 50;

interface Flooded {
  readonly bytes: number;
  readonly fds: number;
  readonly peak: number;
  readonly grown: number;
}

async function flooded(
  type: "stream" | "seqpacket",
  acceptFds: number | undefined,
  pace: () => Promise<void> | undefined,
): Promise<Flooded> {
  const address = target();
  using server = listen(address, { type, ...(acceptFds === undefined ? {} : { acceptFds }) });
  await using peer = attack({ mode: "flood", address, type, count: MESSAGES });
  using socket = await server.accept();
  const peak = new Peak();
  let [bytes, fds, seen, before] = [0, 0, 0, 0];
  await socket.consume((message) => {
    fds += message.fds.length;
    bytes += message.data.length;
    if (++seen % LOOK_EVERY === 0) peak.note();
    if (before === 0 && bytes > 2 * MESSAGES) before = settledMebibytes();
    if (bytes === 8 * MESSAGES) peer.endInput();
    return pace();
  });
  return { bytes, fds, peak: peak.max, grown: settledMebibytes() - before };
}

const MAX_GROWN_MEBIBYTES = 48;

describe.each(types)("%s", (type) => {
  for (const acceptFds of [1, 16, undefined]) {
    hostileTest(`${MESSAGES} × 253 descriptors where acceptFds is ${acceptFds ?? "left out"}`, () =>
      leakFree(async () => {
        const each = acceptFds ?? MAX_FDS;
        const { bytes, fds, peak, grown } = await flooded(type, acceptFds, () => undefined);
        expect([bytes, fds]).toEqual([8 * MESSAGES, each * MESSAGES]);
        expect(peak).toBeLessThanOrEqual(each + OWN);
        expect(grown).toBeLessThan(MAX_GROWN_MEBIBYTES);
      }),
    );
  }

  hostileTest("a slow reader: what it has not read waits in the kernel, not here", () =>
    leakFree(async () => {
      const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
      const { bytes, fds, peak, grown } = await flooded(type, undefined, turn);
      expect([bytes, fds]).toEqual([8 * MESSAGES, MAX_FDS * MESSAGES]);
      expect(peak).toBeLessThanOrEqual(MAX_FDS + OWN);
      expect(grown).toBeLessThan(MAX_GROWN_MEBIBYTES);
    }),
  );

  for (const acceptFds of [0, "refuse"] as const) {
    hostileTest(`acceptFds ${acceptFds}: the flood arrives without any, or not at all`, () =>
      leakFree(async () => {
        const address = target();
        using server = listen(address, { type, acceptFds });
        await using peer = attack({ mode: "flood", address, type, count: 20 });
        using socket = await server.accept();
        peer.endInput();
        let fds = 0;
        await socket.consume((message) => void (fds += message.fds.length));
        const { stderr, code } = await peer.exited;
        expect(fds).toBe(0);
        const forbidden = acceptFds === "refuse" && stderr.includes("Operation not permitted");
        expect(code === 0 || forbidden).toBe(true);
      }),
    );
  }

  hostileTest("closed with a flood unread: nothing stays, and the peer is told", () =>
    leakFree(async () => {
      const address = target();
      using server = listen(address, { type });
      await using peer = attack({ mode: "flood", address, type, count: 2 ** 30 });
      const socket = await server.accept();
      must(await socket.receive()).close();
      socket.close();
      await peer.lineWith("ready");
    }),
  );
});

hostileTest("a descriptor with every single byte of a stream", () =>
  leakFree(async () => {
    const address = target();
    using server = listen(address, { acceptFds: 1 });
    await using peer = attack({ mode: "bytes", address, count: 4 * MESSAGES });
    using socket = await server.accept();
    const peak = new Peak();
    let [bytes, fds] = [0, 0];
    await socket.consume((message) => {
      for (const byte of message.data) {
        if (byte !== (bytes++ & 0xff)) throw new Error(`byte ${bytes - 1} is ${byte}`);
      }
      fds += message.fds.length;
      if (bytes % LOOK_EVERY === 0) peak.note();
      if (bytes === 4 * MESSAGES) peer.endInput();
    });
    expect([bytes, fds]).toEqual([4 * MESSAGES, 4 * MESSAGES]);
    expect(peak.max).toBeLessThanOrEqual(1 + OWN);
  }),
);

hostileTest("a duplex whose user does not know of descriptors closes them all", () =>
  leakFree(async () => {
    const address = target();
    using server = listen(address);
    await using peer = attack({ mode: "flood", address, count: MESSAGES });
    const duplex = (await server.accept()).toDuplex();
    const peak = new Peak();
    let bytes = 0;
    for await (const chunk of duplex) {
      bytes += (chunk as Uint8Array).length;
      peak.note();
      if (bytes === 8 * MESSAGES) peer.endInput();
    }
    expect(bytes).toBe(8 * MESSAGES);
    expect(peak.max).toBeLessThanOrEqual(MAX_FDS + OWN); // those of the message read ahead
  }),
);

const FULL = `import { readdirSync } from "node:fs";
  import { listen } from "bunix";
  using server = listen(process.argv[2], { type: "seqpacket" });
  const child = Bun.spawn([process.argv[3], "flood", process.argv[2], "seqpacket", "300"],
    { stdin: "pipe", stdout: "ignore" });
  const socket = await server.accept();
  let [next, cut, fds, most] = [0, 0, 0, 0];
  await socket.consume((message) => {
    if (Number(message.text()) !== next++) throw new Error("out of order: " + message.text());
    cut += Number(message.fdsTruncated);
    fds = Math.max(fds, message.fds.length);
    if (next === 300) child.stdin.end();
  });
  socket.close();
  console.log(next, cut, fds < 253, readdirSync("/proc/self/fd").length < 60);
  await child.exited;`;

peerTest(
  "a process that has no room for so many: data goes on, and says so",
  ["cc", "prlimit"],
  async () => {
    using dir = tempDir();
    const script = dir.file("full.ts");
    writeFileSync(script, FULL.replace('"bunix"', JSON.stringify(`${root}/src/index.ts`)));
    const limited = ["prlimit", "--nofile=120:120", process.execPath, script];
    await using child = start([
      ...limited,
      dir.file("s"),
      compileC("test/fixtures/hostile-peer.c"),
    ]);
    child.endInput();
    expect(succeeded(await child.exited)).toBe("300 300 true true\n");
  },
);

test("two ends in one process: what the sender has queued is bounded by the kernel", () =>
  leakFree(() => {
    const [near, far] = socketPair("seqpacket", { acceptFds: 1 });
    const peak = new Peak();
    const fds = new Array<number>(MAX_FDS).fill(near.fd);
    for (let round = 0; round < 20; round++) {
      let sent = 0;
      while (sent < 3 && near.trySend("x", { fds }) !== null) sent++; // others may not have more
      expect(sent).toBeGreaterThan(0);
      for (; sent > 0; sent--) must(far.tryReceive()).close();
      peak.note();
    }
    near.close();
    far.close();
    expect(peak.max).toBeLessThanOrEqual(2);
  }));
