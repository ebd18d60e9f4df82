// The same as inside.test.ts for what is made of sockets: handover, sendFd, queue datagrams, web
// streams. A callback that ends what calls it settles every promise, and nothing leaks.

import { describe, expect, test } from "bun:test";
import {
  Handover,
  type HandoverOptions,
  listen,
  type RealtimeSignal,
  receiveFds,
  sendFd,
  socketPair,
} from "../../src/index.ts";
import { freshPath } from "../api/pairs.ts";
import { codeOf, leakFree, marked, thrown, turns } from "../api/tools.ts";
import { testsUnless, translatedSignals } from "../support/unless.ts";

const reason = new Error("from inside");

describe("handover", () => {
  /** A holder with one descriptor, and the code that a newcomer ends with; "" is success. */
  async function newcomer(options: (old: () => Handover) => HandoverOptions): Promise<string> {
    const address = freshPath();
    const old: Handover = await Handover.open(
      address,
      options(() => old),
    );
    old.descriptor("web", () => listen(freshPath()));
    await old.ready();
    const opening = Handover.open(address, { timeoutMs: 5_000 });
    const code = await opening.then(
      async (next) => {
        await next.ready();
        next.close();
        return "";
      },
      (error: { code: string }) => error.code,
    );
    old.close();
    return code;
  }

  for (const answer of [true, false]) {
    test(`allow closes it, and says ${answer ? "yes" : "no"}`, () =>
      leakFree(async () => {
        const code = await newcomer((old) => ({
          allow: () => {
            old().close();
            return answer;
          },
        }));
        expect(code).toBe(""); // nobody is there any more: the newcomer is the first
      }));
  }

  test("allow throws: the newcomer is refused", () =>
    leakFree(async () => {
      const code = await newcomer(() => ({
        allow: () => {
          throw reason;
        },
      }));
      expect(code).toBe("EACCES");
    }));

  test("onFailed closes it", () =>
    leakFree(async () => {
      const address = freshPath();
      const told = Promise.withResolvers<void>();
      const old: Handover = await Handover.open(address, {
        onFailed: () => {
          old.close();
          told.resolve();
        },
      });
      old.descriptor("web", () => listen(freshPath()));
      await old.ready();
      (await Handover.open(address)).close(); // it has given up
      await told.promise;
      expect(old.closed).toBe(true);
      using next = await Handover.open(address);
      expect(next.predecessor).toBeNull();
    }));
});

const sendFdTest = testsUnless(await translatedSignals()).test;

describe("sendFd", () => {
  const realtimeSignal: RealtimeSignal = "SIGRTMIN+11";
  const closeReceived = ({ fd }: { fd: { close(): void } }): string => {
    fd.close();
    return "received";
  };

  for (const answer of [true, false]) {
    sendFdTest(`allow closes the receiver, and says ${answer ? "yes" : "no"}`, () =>
      leakFree(async () => {
        using fd = marked("x");
        const receiver = receiveFds({
          realtimeSignal,
          allow: () => {
            receiver.close();
            return answer;
          },
        });
        const receiving = receiver
          .receive()
          .then(closeReceived, (error: { code: string }) => error.code);
        const sending = sendFd(process.pid, fd, { realtimeSignal, timeoutMs: 5_000 }).then(
          () => "sent",
          (error: { code: string }) => error.code,
        );
        const ends = [await receiving, await sending];
        expect(["received,sent", "ERR_CLOSED,EACCES"]).toContain(ends.join());
      }),
    );
  }

  sendFdTest("allow aborts the receive, and says yes: the descriptor is received, or refused", () =>
    leakFree(async () => {
      using fd = marked("x");
      const stop = new AbortController();
      using receiver = receiveFds({
        realtimeSignal,
        allow: () => {
          stop.abort(reason);
          return true;
        },
      });
      const receiving = receiver
        .receive({ signal: stop.signal })
        .then(closeReceived, (error) => (error === reason ? "given up" : String(error)));
      const sending = sendFd(process.pid, fd, { realtimeSignal, timeoutMs: 2_000 }).then(
        () => "sent",
        (error: { code: string }) => error.code,
      );
      const first = await receiving;
      if (first === "given up") (await receiver.receive()).fd.close();
      expect(await sending).toBe("sent");
    }),
  );
});

describe("web streams", () => {
  test("cancelled in the reader's loop", () =>
    leakFree(async () => {
      const [near, far] = socketPair("stream");
      using fd = marked("x");
      await near.send("one", { fds: [fd] });
      for await (const _ of far.readable) {
        far.close();
        near.close();
        break;
      }
      await turns();
      expect([near.closed, far.closed]).toEqual([true, true]);
    }));

  test("a writer whose socket is closed between two writes", () =>
    leakFree(async () => {
      const [near, far] = socketPair("stream");
      const writer = near.writable.getWriter();
      await writer.write(Buffer.from("one"));
      far.close();
      near.close();
      expect(await codeOf(() => writer.write(Buffer.from("two")))).toBe("ERR_CLOSED");
      expect(await thrown(() => writer.closed)).toHaveProperty("code", "ERR_CLOSED");
    }));
});
