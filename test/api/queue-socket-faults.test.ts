// Every call that making, connecting and using queue sockets takes fails once: whatever comes of
// it, no descriptor and no name is left.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { errno } from "../../native/errno.ts";
import { nr } from "../../native/numbers.ts";
import {
  connectQueue,
  listenQueue,
  MessageQueue,
  openQueueDatagram,
  UnixError,
} from "../../src/index.ts";
import { type Libc, lastError, libc } from "../../src/syscalls/libc.ts";
import { freshName, kernelNameOf } from "./queue-sockets.ts";
import { codeOf, leakFree, turns, withLibc } from "./tools.ts";

type Name = keyof Libc;

/** Let call number `which` of `name` fail, and say whether there was one. */
function failing(name: Name, which: number): { fakes: Partial<Libc>; reached: () => boolean } {
  const real = libc[name] as (...args: number[]) => number;
  const read = lastError.read;
  let count = 0;
  const fake = (...args: number[]): number => {
    const counts = name !== "syscall" || args[0] === nr.SYS_pidfd_open;
    if (!counts || ++count !== which) return real(...args);
    lastError.read = () => {
      lastError.read = read;
      return errno.EIO;
    };
    return -1;
  };
  return { fakes: { [name]: fake } as Partial<Libc>, reached: () => count >= which };
}

/** A connection is made and used, both kinds of datagram socket too. */
async function everything(name: string): Promise<void> {
  const open: { close(): void }[] = [];
  const keep = <T extends { close(): void }>(one: T): T => {
    open.push(one);
    return one;
  };
  try {
    const listener = keep(listenQueue(name));
    const connecting = connectQueue(name).then(keep);
    connecting.catch(() => {});
    await turns();
    const server = listener.tryAccept();
    if (server !== undefined) keep(server);
    else listener.close();
    const client = await connecting;
    await client.send("there");
    expect(server?.tryReceive()?.text()).toBe("there");
    expect(client.tryReceive()).toBeUndefined();
    client.inherit();
    const inbox = keep(openQueueDatagram(`${name}-inbox`));
    const sender = keep(openQueueDatagram());
    await sender.send("x", { to: `${name}-inbox` });
    await inbox.send("y", { to: inbox.tryReceive()!.from! });
    expect(sender.tryReceive()?.text()).toBe("y");
  } finally {
    for (const one of open) one.close();
    await turns(); // a connection that comes late
    for (const one of open) one.close();
  }
}

const calls: readonly Name[] = [
  "fchmod",
  "fcntl",
  "flock",
  "mq_getattr",
  "mq_open",
  "mq_timedreceive",
  "mq_timedsend",
  "mq_unlink",
  "open",
  "syscall",
];
const MAX_CALLS = 100;

/** Node's warnings open the standard error anew, which the count of descriptors would see. */
const { emitWarning } = process;
beforeAll(() => void (process.emitWarning = () => {}));
afterAll(() => void (process.emitWarning = emitWarning));

describe("one call fails", () => {
  for (const name of calls) {
    test(name, async () => {
      let reached = true;
      let failed = 0;
      for (let which = 1; reached; which++) {
        expect(which).toBeLessThan(MAX_CALLS);
        const socket = freshName();
        await leakFree(async () => {
          const fault = failing(name, which);
          await withLibc(fault.fakes, () => everything(socket)).catch((error) => {
            if (!(error instanceof UnixError) && !isExpectation(error)) throw error;
            failed++;
          });
          reached = fault.reached();
        });
        // at most a dead one's name, where the call that failed was to remove it
        listenQueue(socket).close();
        openQueueDatagram(`${socket}-inbox`).close();
        for (const left of [socket, `${socket}-inbox`]) {
          expect(await codeOf(() => MessageQueue.unlink(kernelNameOf(left)))).toBe("ENOENT");
        }
      }
      expect(failed > 0).toBe(name !== "mq_unlink"); // names go quietly, or stay
    });
  }
});

/** A receive that finds less than it should is no error of the library's. */
const isExpectation = (error: unknown): boolean =>
  error instanceof Error && /expect|null is not an object|undefined is not/.test(error.message);

test("nothing fails: it all works", () => leakFree(() => everything(freshName())));
