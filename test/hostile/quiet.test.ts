// Peers that stop: before their first word, in the middle of a message, or when it is their turn to
// read. What they hold of us stays bounded, and everybody else is served.

import { describe, expect, test } from "bun:test";
import { connect, listen, type StreamSocket, socketPair } from "../../src/index.ts";
import { codeOf, eventually, failure, leakFree, must, openFds, thrown } from "../api/tools.ts";
import { fewer } from "../support/child.ts";
import { attack, hostileTest, settledMebibytes, target } from "./peers.ts";

const SILENT = Number(process.env["BUNIX_SILENT_PEERS"] ?? fewer(1_000));
const MAX_GROWN_MEBIBYTES = 64;

hostileTest(`${SILENT} connections that never speak: an honest client is served`, () =>
  leakFree(async () => {
    const address = target();
    using server = listen(address);
    const open = new Set<StreamSocket>();
    let ended = 0;
    const serving = (async () => {
      for await (const socket of server) {
        open.add(socket);
        const answer = async (): Promise<void> => {
          for await (const message of socket) await socket.send(message.data);
          ended++;
          socket.close();
          open.delete(socket);
        };
        void answer();
      }
    })();
    await using peer = attack({ mode: "silent", address, count: SILENT });
    await peer.lineWith("ready");
    await eventually(() => open.size === SILENT, "all are accepted");
    const before = settledMebibytes();
    for (let round = 0; round < 50; round++) {
      using client = await connect(address);
      await client.send("hello");
      expect(must(await client.receive()).text()).toBe("hello");
    }
    expect(settledMebibytes() - before).toBeLessThan(MAX_GROWN_MEBIBYTES);
    peer.endInput();
    await eventually(() => ended === SILENT + 50, "all have ended");
    server.close();
    await serving;
    expect([open.size, server.connections]).toEqual([0, 0]);
  }),
);

hostileTest("maxConnections: the silent cost no more descriptors than that", () =>
  leakFree(async () => {
    const [address, max] = [target(), 20];
    using server = listen(address, { maxConnections: max });
    const before = openFds();
    const open: StreamSocket[] = [];
    const serving = (async () => {
      for await (const socket of server) open.push(socket);
    })();
    await using peer = attack({ mode: "silent", address, count: 300 });
    await peer.lineWith("ready");
    await eventually(() => open.length === max, "as many as may be are accepted");
    for (let round = 0; round < 10; round++) {
      for (const socket of open.splice(0)) socket.close();
      await eventually(() => open.length === max, "as many again");
      expect(server.connections).toBe(max);
      expect(openFds() - before).toBeLessThan(max + 8);
    }
    server.close();
    await serving;
    for (const socket of open) socket.close();
  }),
);

describe("a peer that does not read", () => {
  for (const type of ["stream", "seqpacket"] as const) {
    hostileTest(`${type}: sends wait up to maxQueuedBytes, then say so`, () =>
      leakFree(async () => {
        const address = target();
        const maxQueuedBytes = 2 ** 20;
        using server = listen(address, { type, maxQueuedBytes });
        await using peer = attack({ mode: "deaf", address, type });
        using socket = await server.accept();
        expect(must(await socket.receive()).text()).toBe("go");
        const before = settledMebibytes();
        const data = new Uint8Array(16 * 1024);
        const waiting: Promise<string>[] = [];
        let refused = 0;
        for (let i = 0; i < 20_000; i++) {
          const sending = socket.send(data).then(
            () => "sent",
            (error: { code: string }) => error.code,
          );
          waiting.push(sending);
          if (socket.queuedBytes > maxQueuedBytes) throw new Error("more than may wait");
          if (i % 1000 === 999 && (await waiting.at(-1)) === "ENOBUFS") refused++;
        }
        expect(refused).toBe(20);
        expect(settledMebibytes() - before).toBeLessThan(MAX_GROWN_MEBIBYTES);
        const reason = new Error("enough");
        expect(await thrown(() => socket.send("x", { signal: AbortSignal.abort(reason) }))).toBe(
          reason,
        );
        socket.close();
        const ends = new Set(await Promise.all(waiting));
        expect(ends).toEqual(new Set(["sent", "ERR_CLOSED", "ENOBUFS"]));
        peer.endInput();
      }),
    );
  }

  hostileTest("killed while it owes us its attention: the sends fail", () =>
    leakFree(async () => {
      const address = target();
      using server = listen(address);
      await using peer = attack({ mode: "deaf", address });
      using socket = await server.accept();
      must(await socket.receive()).close();
      const sends = Array.from({ length: 40 }, () =>
        socket.send(new Uint8Array(100_000)).then(
          () => "sent",
          (error: { code: string }) => error.code,
        ),
      );
      peer.kill("SIGKILL");
      const ends = await Promise.all(sends);
      const taken = ends.indexOf("EPIPE");
      expect(taken).toBeGreaterThan(0); // what fitted into its queue before it died
      expect(new Set(ends.slice(taken))).toEqual(new Set(["EPIPE"]));
      expect(new Set(ends.slice(0, taken))).toEqual(new Set(["sent"]));
      expect(["EPIPE", "ECONNRESET"]).toContain(await codeOf(() => socket.send("x")));
    }),
  );

  hostileTest("a duplex says false, and its end takes all that waits with it", () =>
    leakFree(async () => {
      const address = target();
      using server = listen(address);
      await using peer = attack({ mode: "deaf", address });
      const duplex = (await server.accept()).toDuplex();
      let [more, writes] = [true, 0];
      while (more && writes < 10_000) {
        more = duplex.writeWithFds(new Uint8Array(64 * 1024), [0]);
        writes++;
      }
      expect(writes).toBeLessThan(10_000);
      for (let i = 0; i < 50; i++) duplex.writeWithFds(new Uint8Array(1), [0, 0, 0]);
      const closed = new Promise((resolve) => duplex.once("close", resolve));
      duplex.on("error", () => {});
      duplex.destroy();
      await closed;
      peer.endInput();
    }),
  );
});

hostileTest("half a message with 253 descriptors: they are here, and go with the connection", () =>
  leakFree(async () => {
    const address = target();
    using server = listen(address);
    await using peer = attack({ mode: "half", address });
    using socket = await server.accept();
    const first = must(await socket.receive());
    expect([first.text(), first.fds.length]).toEqual(["h", 253]);
    const patience = AbortSignal.timeout(50);
    expect(await thrown(() => socket.receive({ signal: patience }))).toBe(patience.reason);
    peer.kill("SIGKILL");
    expect(await socket.receive()).toBeNull();
    first.close();
  }),
);

hostileTest("half a message, unread, with 253 descriptors: closing is enough", () =>
  leakFree(async () => {
    const address = target();
    using server = listen(address);
    await using peer = attack({ mode: "half", address });
    using socket = await server.accept();
    await peer.lineWith("ready");
    expect(socket.closed).toBe(false);
  }),
);

hostileTest("who listens and accepts nobody: connect gives up when it was told to", () =>
  leakFree(async () => {
    const address = target();
    await using peer = attack({ mode: "mute", address });
    await peer.lineWith("ready");
    using first = await connect(address); // the backlog's one place
    expect(first.closed).toBe(false);
    const error = await failure(() => connect(address, { timeoutMs: 60 }));
    expect(error.code).toBe("ETIMEDOUT");
    const gone = new Error("gone");
    const control = new AbortController();
    const connecting = thrown(() => connect(address, { signal: control.signal }));
    control.abort(gone);
    expect(await connecting).toBe(gone);
    peer.kill("SIGKILL");
  }),
);

test("an unread message of ours in a peer's queue costs nothing here", () =>
  leakFree(async () => {
    for (let round = 0; round < 200; round++) {
      const [near, far] = socketPair("seqpacket");
      while (near.trySend("x", { fds: [near, far] }) !== null) {}
      near.close();
      far.close();
    }
  }));
