// Damaged frames by the hundred at endpoints that are at work: what is no message of the protocol
// comes to nothing, honest peers are served meanwhile, and nothing stays.

import { afterAll, beforeAll, expect, test } from "bun:test";
import {
  connect,
  connectQueue,
  Handover,
  listen,
  listenQueue,
  openQueueDatagram,
} from "../../src/index.ts";
import { freshAddress, freshPath } from "../api/pairs.ts";
import { freshName, rawSend } from "../api/queue-sockets.ts";
import { leakFree, marked } from "../api/tools.ts";
import { samples } from "../fuzz/engine.ts";
import { handoverFrames, queueFrames } from "../fuzz/protocols.ts";
import { fewer, slower } from "../support/child.ts";

const COUNT = Number(process.env["BUNIX_GARBAGE"] ?? fewer(400));
/** Every so many there is an honest message. */
const HONEST = 10;
const MAX_REQUEST_BYTES = 40;

/** Warnings open the standard error anew, which the count of descriptors would see. */
const { emitWarning } = process;
beforeAll(() => void (process.emitWarning = () => {}));
afterAll(() => void (process.emitWarning = emitWarning));

/** Into the queue of `name`, when there is room. */
async function pour(name: string, bytes: Uint8Array): Promise<void> {
  for (;;) {
    try {
      return rawSend(name, bytes);
    } catch (error) {
      if (!String(error).includes("mq_send: -11")) throw error; // EAGAIN
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}

test(
  `${COUNT} damaged requests to a queue listener`,
  () =>
    leakFree(async () => {
      const name = freshName();
      using listener = listenQueue(name);
      const serving = (async () => {
        for await (const socket of listener) {
          void (async () => {
            for await (const message of socket) await socket.send(message.data);
            socket.close();
          })();
        }
      })();
      let honest = 0;
      for (const [i, bytes] of samples(queueFrames, COUNT, 1).entries()) {
        await pour(name, bytes.subarray(0, MAX_REQUEST_BYTES));
        if (i % HONEST !== 0) continue;
        using client = await connectQueue(name);
        await client.send(`hello ${i}`);
        expect((await client.receive())?.text()).toBe(`hello ${i}`);
        honest++;
      }
      expect(honest).toBe(Math.ceil(COUNT / HONEST));
      expect(listener.ignored).toBeGreaterThan(COUNT / 2);
      listener.close();
      await serving;
    }),
  60_000 * slower,
);

test(
  `${COUNT} damaged datagrams between honest ones`,
  () =>
    leakFree(async () => {
      const name = freshName();
      using receiver = openQueueDatagram(name);
      using sender = openQueueDatagram();
      const seen: string[] = [];
      const receiving = (async () => {
        for (;;) {
          const text = (await receiver.receive()).text();
          if (text.startsWith("honest ")) seen.push(text);
          if (text === "honest end") return;
        }
      })();
      const wanted: string[] = [];
      for (const [i, bytes] of samples(queueFrames, COUNT, 2).entries()) {
        await pour(name, bytes.subarray(0, 256));
        if (i % HONEST !== 0) continue;
        wanted.push(`honest ${i}`);
        await sender.send(`honest ${i}`, { to: name });
      }
      await sender.send("honest end", { to: name });
      await receiving;
      expect(seen).toEqual([...wanted, "honest end"]);
      expect(receiver.ignored).toBeGreaterThan(COUNT / 2);
    }),
  60_000 * slower,
);

test(
  "damaged messages with descriptors to a handover's control socket",
  () =>
    leakFree(async () => {
      const address = freshPath();
      using old = await Handover.open(address);
      using web = listen(freshAddress("abstract"));
      using fd = marked("not asked for");
      old.descriptor("web", () => web);
      await old.ready();
      for (const bytes of samples(handoverFrames, COUNT / 4, 3)) {
        using client = await connect(address, { type: "seqpacket" });
        const fds = bytes.length % 2 === 0 ? [fd, fd] : [];
        await client.send(bytes, { fds }).catch(() => {}); // refused descriptors
      }
      using next = await Handover.open(address);
      expect(next.predecessor).not.toBeNull();
      await next.ready();
      await old.replaced;
    }),
  60_000 * slower,
);
