// Close, release and abort from inside every callback that there is: each promise still settles,
// with the reason that it should, and nothing leaks.

import { describe, expect, test } from "bun:test";
import {
  connect,
  connectQueue,
  type Listener,
  listen,
  listenQueue,
  MessageQueue,
  openDatagram,
  openFifo,
  makeFifo,
  type QueueListener,
  sendSignal,
  type StreamSocket,
  socketPair,
  Watchdog,
  watchReadiness,
  watchSignals,
} from "../../src/index.ts";
import { freshAddress, freshPath, pairVariants } from "../api/pairs.ts";
import { freshName } from "../api/queue-sockets.ts";
import { freshQueueName } from "../api/queues.ts";
import { codeOf, eventually, leakFree, marked, must, thrown, turns } from "../api/tools.ts";

const reason = new Error("from inside");

/** How a callback may end what it is called by. */
type Deed = "close" | "abort";

describe("allow of a listener", () => {
  for (const early of [true, false]) {
    const when = early ? "the client waits already" : "the client comes later";
    for (const answer of [true, false]) {
      for (const deed of ["close", "abort"] as const satisfies readonly Deed[]) {
        test(`${deed}, then ${answer}; ${when}`, () =>
          leakFree(async () => {
            const address = freshAddress("abstract");
            const stop = new AbortController();
            const allow = (): boolean => {
              if (deed === "close") listener.close();
              else stop.abort(reason);
              return answer;
            };
            const listener: Listener<StreamSocket> = listen(address, { allow });
            const client = early ? await connect(address) : null;
            const accepting = listener.accept({ signal: stop.signal });
            if (!early) accepting.catch(() => {});
            const later = early ? null : await connect(address);
            await finish(accepting, { deed, answer });
            const end = must(await Promise.race([ended((client ?? later)!), accepted(accepting)]));
            expect(end).toBe(answer ? "accepted" : "ended");
            expect(listener.connections).toBe(0);
            for (const one of [client, later, listener]) one?.close();
          }));
      }
    }
  }
});

/** What was accepted goes to whoever asked, however late the abort came; else the reason does. */
async function finish(
  accepting: Promise<{ close(): void }>,
  { deed, answer }: { deed: Deed; answer: boolean },
): Promise<void> {
  if (answer) (await accepting).close();
  else if (deed === "close") expect(await codeOf(() => accepting)).toBe("ERR_CLOSED");
  else expect(await thrown(() => accepting)).toBe(reason);
}

async function ended(client: StreamSocket): Promise<never> {
  const end = await client.receive();
  throw new Error(`${end === null}`);
}
