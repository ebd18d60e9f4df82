// Peers in C that keep to no protocol: noise, damaged and halved frames, floods, and silence in the
// middle, at a handover and at queue sockets that are at work.
//
// BUNIX_HOSTILE_SEED repeats a run that failed, BUNIX_HOSTILE_COUNT makes it longer.

import { afterAll, beforeAll, expect } from "bun:test";
import {
  connectQueue,
  Handover,
  listen,
  listenQueue,
  openQueueDatagram,
  UnixError,
} from "../../src/index.ts";
import { freshAddress, freshPath } from "../api/pairs.ts";
import { freshName } from "../api/queue-sockets.ts";
import { eventually, leakFree } from "../api/tools.ts";
import { type Child, start } from "../support/child.ts";
import { compileC } from "../support/peers.ts";
import { hostileTest, Peak, settledMebibytes } from "./peers.ts";

const SEED = Number(process.env["BUNIX_HOSTILE_SEED"] ?? 1 + Math.floor(Math.random() * 2 ** 31));
const COUNT = Number(process.env["BUNIX_HOSTILE_COUNT"] ?? 300);
const MAX_GROWN_MEBIBYTES = 48;
/** Of what the other side holds open of ours, and what comes and goes. */
const MAX_OPEN = 64;

console.log(`note: BUNIX_HOSTILE_SEED=${SEED}`);

/** Warnings open the standard error anew, which the count of descriptors would see. */
const { emitWarning } = process;
beforeAll(() => void (process.emitWarning = () => {}));
afterAll(() => void (process.emitWarning = emitWarning));

const patience = { timeoutMs: 120_000 };

const handoverPeer = (side: "newcomer" | "holder", address: string, count: number): Child =>
  start(
    [compileC("test/fixtures/hostile-handover.c"), side, address, String(SEED), String(count)],
    patience,
  );

const queuePeer = (verb: "garble" | "babble", name: string): Child => {
  const program = compileC("test/fixtures/queue-socket-peer.c", ["-lrt"]);
  return start([program, verb, name, String(SEED), String(COUNT)], patience);
};

/** What `body` leaves behind: no descriptor, and no more memory than it may. */
async function bounded(body: (peak: Peak) => Promise<void>): Promise<void> {
  const before = settledMebibytes();
  const peak = new Peak();
  await body(peak);
  expect(peak.max).toBeLessThan(MAX_OPEN);
  expect(settledMebibytes() - before).toBeLessThan(MAX_GROWN_MEBIBYTES);
}

/** That the last newcomer has gone may have to be noticed first: EBUSY. */
async function successor(address: string): Promise<Handover> {
  let next: Handover | null = null;
  await eventually(async () => {
    next = await Handover.open(address).catch((error) => {
      if (error instanceof UnixError && error.code === "EBUSY") return null;
      throw error;
    });
    return next !== null;
  }, "an honest one is let in");
  return next!;
}

hostileTest(`a handover's holder, and ${COUNT} newcomers that are none`, () =>
  leakFree(() =>
    bounded(async (peak) => {
      const address = freshPath();
      using old = await Handover.open(address, { onFailed: () => peak.note() });
      using web = listen(freshAddress("abstract"));
      old.descriptor("web", () => web);
      await old.ready();
      await using peer = handoverPeer("newcomer", address, COUNT);
      await peer.lineWith("ready");
      peak.note();
      using next = await successor(address);
      expect(next.predecessor?.pid).toBe(process.pid);
      await next.ready();
      await old.replaced;
    }),
  ),
);

const NEWCOMERS = Math.min(COUNT, 60);

hostileTest(
  `${NEWCOMERS} newcomers, and a holder that is none: each is told, nothing is kept`,
  () =>
    leakFree(() =>
      bounded(async (peak) => {
        const address = freshPath();
        await using peer = handoverPeer("holder", address, NEWCOMERS);
        await peer.lineWith("listening");
        for (let i = 0; i < NEWCOMERS; i++) {
          const outcome = await Handover.open(address, { timeoutMs: 500 }).catch((error) => error);
          peak.note();
          if (outcome instanceof Handover) outcome.close();
          else expect(outcome).toBeInstanceOf(UnixError);
        }
        await peer.lineWith("ready");
      }),
    ),
);

hostileTest(`a queue listener, and ${COUNT} damaged requests`, () =>
  leakFree(() =>
    bounded(async (peak) => {
      const name = freshName();
      using listener = listenQueue(name);
      const serving = (async () => {
        for await (const socket of listener) {
          peak.note();
          for await (const message of socket) await socket.send(message.data);
          socket.close();
        }
      })();
      await using peer = queuePeer("garble", name);
      await peer.lineWith("ready");
      for (const text of ["one", "two"]) {
        using client = await connectQueue(name);
        await client.send(text);
        expect((await client.receive())?.text()).toBe(text);
      }
      expect(listener.ignored).toBe(COUNT);
      listener.close();
      await serving;
    }),
  ),
);

hostileTest(`a queue of datagrams, and ${COUNT} damaged ones`, () =>
  leakFree(() =>
    bounded(async (peak) => {
      const name = freshName();
      using inbox = openQueueDatagram(name);
      using sender = openQueueDatagram();
      const receiving = (async () => {
        while ((await inbox.receive()).text() !== "honest") peak.note();
      })();
      await using peer = queuePeer("garble", name);
      await peer.lineWith("ready");
      await sender.send("honest", { to: name });
      await receiving;
      expect(inbox.ignored).toBeGreaterThan(COUNT / 2);
    }),
  ),
);

hostileTest("a queue socket whose other end babbles, says no more, and is killed", () =>
  leakFree(() =>
    bounded(async (peak) => {
      const name = freshName();
      using listener = listenQueue(name);
      await using peer = queuePeer("babble", name);
      using socket = await listener.accept();
      let bytes = 0;
      const receiving = (async () => {
        for await (const message of socket) {
          bytes += message.data.length;
          peak.note();
        }
      })();
      await peer.lineWith("ready");
      await socket.send("nobody reads this");
      peer.kill("SIGKILL");
      await receiving;
      expect(bytes).toBeLessThan(COUNT * 64);
    }),
  ),
);
