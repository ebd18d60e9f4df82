// Close, release and abort from inside every callback that there is: each promise still settles,
// with the reason that it should, nothing that was accepted or received is lost, and nothing leaks.

import { describe, expect, test } from "bun:test";
import { Watchdog } from "../../src/activation/watchdog.ts";
import {
  connect,
  connectQueue,
  listen,
  listenQueue,
  MessageQueue,
  makeFifo,
  openDatagram,
  openFifo,
  sendSignal,
  socketPair,
  watchReadiness,
  watchSignals,
} from "../../src/index.ts";
import { freshAddress, freshPath, pairVariants } from "../api/pairs.ts";
import { freshName } from "../api/queue-sockets.ts";
import { freshQueueName } from "../api/queues.ts";
import {
  codeOf,
  eventually,
  failure,
  leakFree,
  marked,
  must,
  thrown,
  turns,
} from "../api/tools.ts";

const reason = new Error("from inside");
const deeds = ["close", "abort"] as const;

/** What waits to be accepted, of either transport. */
interface Accepting {
  close(): void;
  accept(options: { signal: AbortSignal }): Promise<{ close(): void }>;
}

/** A listener whose `allow` does `deed`, and gives `answer`. */
interface Server {
  readonly listener: Accepting;
  /** A client's whole life, until it reads the end; rejects where it is turned away. */
  readonly client: () => Promise<string>;
}

type Open = (allow: () => boolean) => Server;

const overSocket: Open = (allow) => {
  const address = freshAddress("abstract");
  const client = async (): Promise<string> => {
    using socket = await connect(address);
    return (await socket.receive()) === null ? "ended" : "data";
  };
  return { listener: listen(address, { allow }), client };
};

const overQueue: Open = (allow) => {
  const name = freshName();
  const client = async (): Promise<string> => {
    using socket = await connectQueue(name);
    return (await socket.receive()) === null ? "ended" : "data";
  };
  return { listener: listenQueue(name, { allow }), client };
};

describe.each([
  ["sockets", overSocket],
  ["queue sockets", overQueue],
] as const)("allow, %s", (_, open) => {
  for (const deed of deeds) {
    for (const early of [true, false]) {
      const when = early ? "the client waits already" : "the client comes later";

      const during = async (answer: boolean): Promise<[Promise<{ close(): void }>, string]> => {
        const stop = new AbortController();
        const { listener, client } = open(() => {
          if (deed === "close") listener.close();
          else stop.abort(reason);
          return answer;
        });
        const living = (): Promise<string> => client().catch(({ code }: { code: string }) => code);
        const life = early ? living() : null;
        if (early) await turns();
        const accepting = listener.accept({ signal: stop.signal });
        accepting.then(
          (socket) => socket.close(),
          () => {},
        );
        await turns();
        const end = await (life ?? living());
        listener.close();
        return [accepting, end];
      };

      test(`${deed}, then yes; ${when}`, () =>
        leakFree(async () => {
          const [accepting, end] = await during(true);
          expect(await accepting).toHaveProperty("closed", true); // by `during`, once it had it
          expect(end).toBe("ended");
        }));

      test(`${deed}, then no; ${when}`, () =>
        leakFree(async () => {
          const [accepting, end] = await during(false);
          if (deed === "close") expect(await codeOf(() => accepting)).toBe("ERR_CLOSED");
          else expect(await thrown(() => accepting)).toBe(reason);
          expect(["ended", "EACCES", "ECONNRESET", "ECONNREFUSED"]).toContain(end);
        }));
    }
  }

  test("throws: whoever accepts gets that, the next client is served", () =>
    leakFree(async () => {
      let calls = 0;
      const { listener, client } = open(() => {
        if (calls++ === 0) throw reason;
        return true;
      });
      const { signal } = new AbortController();
      const refused = thrown(() => listener.accept({ signal }));
      await turns();
      const first = client().catch(({ code }: { code: string }) => code);
      expect(await refused).toBe(reason);
      const next = listener.accept({ signal });
      const second = client();
      (await next).close();
      expect(await second).toBe("ended");
      listener.close();
      expect(["ended", "ECONNREFUSED", "ECONNRESET", "EPIPE", "EACCES"]).toContain(await first);
    }));
});

describe.each(pairVariants)("consume, $name", ({ open }) => {
  for (const slow of [false, true]) {
    const how = slow ? "a handler that promises" : "a plain handler";

    test(`close in ${how}: that was the last message`, () =>
      leakFree(async () => {
        using pair = await open();
        using fd = marked("x");
        for (const text of ["one", "two"]) await pair.near.send(text, { fds: [fd] });
        const seen: string[] = [];
        await pair.far.consume((message) => {
          seen.push(message.text());
          const end = (): void => pair.far.close();
          return slow ? turns().then(end) : end();
        });
        expect(seen).toEqual(["one"]);
      }));

    test(`abort in ${how}: the reason, and the next message is still there`, () =>
      leakFree(async () => {
        using pair = await open();
        using fd = marked("x");
        const stop = new AbortController();
        const consuming = pair.far.consume(
          () => (slow ? turns().then(() => stop.abort(reason)) : stop.abort(reason)),
          { signal: stop.signal },
        );
        for (const text of ["one", "two"]) await pair.near.send(text, { fds: [fd] });
        expect(await thrown(() => consuming)).toBe(reason);
        await turns();
        using next = must(await pair.far.receive());
        expect([next.text(), next.fds.length]).toEqual(["two", 1]);
      }));

    test(`a throw in ${how}: the same`, () =>
      leakFree(async () => {
        using pair = await open();
        using fd = marked("x");
        for (const text of ["one", "two"]) await pair.near.send(text, { fds: [fd] });
        const consuming = pair.far.consume((): void | Promise<void> => {
          if (slow) return turns().then(() => Promise.reject(reason));
          throw reason;
        });
        expect(await thrown(() => consuming)).toBe(reason);
        using next = must(await pair.far.receive());
        expect([next.text(), next.fds.length]).toEqual(["two", 1]);
      }));
  }

  test("release: the descriptor is elsewhere, the consumer has ended", () =>
    leakFree(async () => {
      using pair = await open();
      await pair.near.send("one");
      let number = -1;
      await pair.far.consume(() => {
        using fd = pair.far.release();
        number = fd.fd;
      });
      expect([number > 2, pair.far.closed]).toEqual([true, true]);
    }));
});

describe.each(pairVariants)("sockets, $name", ({ open }) => {
  test("an abort listener that closes before the library's own runs", () =>
    leakFree(async () => {
      using pair = await open();
      const stop = new AbortController();
      stop.signal.addEventListener("abort", () => pair.far.close());
      const receiving = pair.far.receive({ signal: stop.signal });
      const consuming = pair.near.consume(() => {}, { signal: stop.signal });
      stop.abort(reason);
      expect(await codeOf(() => receiving)).toBe("ERR_CLOSED");
      expect(await thrown(() => consuming)).toBe(reason);
    }));

  test("onClose closes everything, itself again too", () =>
    leakFree(async () => {
      using pair = await open();
      const ends: string[] = [];
      pair.near.onClose(() => {
        ends.push("near");
        pair.near.close();
        pair.far.close();
        pair.near.onClose(() => ends.push("late"));
      });
      pair.far.onClose(() => {
        ends.push("far");
        pair.near.close();
      });
      const receiving = codeOf(() => pair.far.receive());
      pair.near.close();
      expect(ends).toEqual(["near", "far", "late"]);
      expect(await receiving).toBe("ERR_CLOSED");
    }));

  test("whoever gets a message closes: all who wait behind get ERR_CLOSED", () =>
    leakFree(async () => {
      using pair = await open();
      const first = pair.far.receive().then(() => pair.far.close());
      const behind = Array.from({ length: 50 }, () => codeOf(() => pair.far.receive()));
      await pair.near.send("x");
      await first;
      expect(new Set(await Promise.all(behind))).toEqual(new Set(["ERR_CLOSED"]));
    }));
});

describe("a duplex", () => {
  for (const event of ["fds", "data", "end", "close", "drain"] as const) {
    test(`destroyed in "${event}"`, () =>
      leakFree(async () => {
        const [near, far] = socketPair("stream");
        using fd = marked("x");
        const duplex = far.toDuplex();
        const closed = new Promise((resolve) => duplex.once("close", resolve));
        duplex.on("fds", (fds: number[]) => duplex.closeFds(fds));
        const end = (): void => {
          duplex.destroy();
          near.close();
        };
        (duplex as NodeJS.EventEmitter).on(event, end);
        if (event === "close") duplex.once("end", () => duplex.destroy());
        if (event !== "data") duplex.resume();
        if (event === "drain") while (duplex.write(new Uint8Array(65_536))) {}
        const emptied = near.consume(() => {}).catch(() => {});
        near.trySend("x", { fds: [fd] });
        if (event === "end" || event === "close") near.end();
        await closed;
        await emptied;
        expect([far.closed, near.closed]).toEqual([true, true]);
      }));
  }

  test("destroyed in the callback of a write with descriptors", () =>
    leakFree(async () => {
      const [near, far] = socketPair("stream");
      using fd = marked("x");
      const duplex = far.toDuplex();
      const closed = new Promise((resolve) => duplex.once("close", resolve));
      for (let i = 0; i < 20; i++) duplex.writeWithFds(Buffer.from("x"), [fd]);
      duplex.write("y", () => duplex.destroy());
      for (let i = 0; i < 20; i++) duplex.writeWithFds(Buffer.from("z"), [fd]);
      duplex.on("error", () => {});
      await closed;
      near.close();
    }));
});

describe("others", () => {
  for (const deed of ["closed", "throws", "slow"] as const) {
    test(`the watchdog's health check: ${deed}`, () =>
      leakFree(async () => {
        let calls = 0;
        const errors: unknown[] = [];
        const watchdog = new Watchdog(4, {
          healthy: async () => {
            await turns();
            calls++;
            if (deed === "throws") throw reason;
            if (deed === "closed") watchdog.close();
            else await turns();
            return true;
          },
          onError: (error) => {
            errors.push(error);
            watchdog.close();
          },
        }).start();
        await eventually(() => calls > 0, "it was asked");
        await turns();
        watchdog.close();
        expect([watchdog.closed, errors]).toEqual([true, deed === "throws" ? [reason] : []]);
      }));
  }

  test("a signal's event in which the watcher is closed", () =>
    leakFree(async () => {
      const signals = watchSignals("SIGUSR2");
      const seen: string[] = [];
      const loop = (async () => {
        for await (const { signal } of signals) {
          seen.push(signal);
          signals.close();
        }
      })();
      sendSignal(process.pid, "SIGUSR2");
      await loop;
      expect(seen).toEqual(["SIGUSR2"]);
      expect(await codeOf(() => signals.receive())).toBe("ERR_CLOSED");
    }));

  test("a message queue in whose loop it is closed", () =>
    leakFree(async () => {
      const queue = MessageQueue.open(freshQueueName(), { create: true });
      queue.unlink();
      await queue.send("one");
      await queue.send("two");
      const seen: string[] = [];
      for await (const message of queue) {
        seen.push(message.text());
        queue.close();
      }
      expect(seen).toEqual(["one"]);
    }));

  test("a FIFO in whose loop both ends are closed", () =>
    leakFree(async () => {
      const path = freshPath();
      makeFifo(path);
      const reader = openFifo(path, "read");
      const writer = openFifo(path, "write");
      const seen: string[] = [];
      await writer.write("one\ntwo\n");
      const loop = async (): Promise<void> => {
        for await (const line of reader.lines()) {
          seen.push(line);
          writer.close();
          reader.close();
        }
      };
      expect(await codeOf(loop)).toBe("ERR_CLOSED");
      expect(seen).toEqual(["one"]);
    }));

  test("readiness, watched by somebody who ends it", () =>
    leakFree(async () => {
      const [near, far] = socketPair("stream");
      await near.send("x");
      let rounds = 0;
      for await (const _ of watchReadiness(far)) {
        rounds++;
        far.close();
        near.close();
        break;
      }
      expect(rounds).toBe(1);
    }));

  test("a datagram's send that ends in the receiver's close", () =>
    leakFree(async () => {
      const address = freshPath();
      const receiver = openDatagram(address);
      using sender = openDatagram();
      while (sender.trySend("x", { to: address }) !== null) {}
      const waiting = sender.send("y", { to: address });
      receiver.onClose(() => sender.close());
      receiver.close();
      expect(["ERR_CLOSED", "ECONNREFUSED"]).toContain((await failure(() => waiting)).code);
    }));
});
