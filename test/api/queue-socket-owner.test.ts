// Names of queues are anybody's to take: uid 65534 was first, and gets nothing by it.

import { describe, expect, setDefaultTimeout, spyOn, test } from "bun:test";
import { fchmodSync } from "node:fs";
import {
  connectQueue,
  connectQueueSync,
  listenQueue,
  MessageQueue,
  openQueueDatagram,
  type UnixError,
} from "../../src/index.ts";
import type { QueueIdentity } from "../../src/structs/queue-frame.ts";
import { type Child, runSource, slower, start, succeeded } from "../support/child.ts";
import { peerTest } from "../support/peers.ts";
import { fakeClock } from "../support/seam.ts";
import { freshName, kernelNameOf, removeName } from "./queue-sockets.ts";
import { codeOf, failure, leakFree, thrown } from "./tools.ts";

setDefaultTimeout(60_000 * slower);

const NOBODY = 65_534;
const needs = ["root", "python3"];
/** The messages that a listener's queue takes, and those of all others. */
const REQUEST = 40;
const DATA = 4096;

interface Squatter extends AsyncDisposable {
  readonly name: string;
  readonly identity: QueueIdentity;
  /** How many messages it has got. */
  count(): Promise<number>;
}

async function squatter(bytes: number, ...more: string[]): Promise<Squatter> {
  const name = freshName();
  const script = "test/fixtures/queue-squatter.py";
  const child: Child = start(["python3", script, String(NOBODY), name, String(bytes), ...more]);
  const [pid, fd, inode] = ((await child.line()) ?? "").split(" ").map(Number);
  return {
    name,
    identity: { pid: pid!, fd: fd!, inode: inode!, tagLow: 0, tagHigh: 0 },
    async count() {
      child.write("?\n");
      return Number(await child.line());
    },
    async [Symbol.asyncDispose]() {
      await child[Symbol.asyncDispose]();
      removeName(name);
    },
  };
}

const refusedBy = (error: UnixError): void => {
  expect(error.code).toBe("EACCES");
  expect(error.message).toContain(`belongs to uid ${NOBODY}, not to uid 0`);
};

describe("a stranger's queue of that name", () => {
  peerTest("connecting tells it nothing", needs, () =>
    leakFree(async () => {
      await using theirs = await squatter(REQUEST);
      refusedBy(await failure(() => connectQueue(theirs.name)));
      refusedBy(await failure(() => connectQueueSync(theirs.name)));
      expect(await theirs.count()).toBe(0);
      // who means that user says so; it never answers
      for (const owner of [NOBODY, "anybody"] as const) {
        const options = { owner, timeoutMs: 20 };
        expect(await codeOf(() => connectQueue(theirs.name, options))).toBe("ETIMEDOUT");
      }
      expect(await theirs.count()).toBe(2);
    }),
  );

  peerTest("no datagram goes there, by its name or by what it is", needs, () =>
    leakFree(async () => {
      await using theirs = await squatter(DATA);
      using socket = openQueueDatagram();
      for (const to of [theirs.name, { name: theirs.name }, theirs.identity]) {
        refusedBy(await failure(() => socket.send("secret", { to })));
        refusedBy(await failure(() => socket.trySend("secret", { to })));
        refusedBy(await failure(() => socket.sendSync("secret", { to })));
      }
      expect(await theirs.count()).toBe(0);
      using theirsToo = openQueueDatagram(undefined, { owner: NOBODY });
      for (const to of [theirs.name, theirs.identity]) await theirsToo.send("meant", { to });
      expect(await theirs.count()).toBe(2);
    }),
  );

  peerTest("one that a crash has left is not removed", needs, () =>
    leakFree(async () => {
      await using theirs = await squatter(DATA, "unlocked");
      for (const call of [listenQueue, openQueueDatagram]) {
        const error = await failure(() => call(theirs.name));
        expect([error.code, error.message]).toEqual([
          "EACCES",
          expect.stringContaining(`uid ${NOBODY} has left`),
        ]);
      }
      using still = MessageQueue.open(kernelNameOf(theirs.name));
      expect(still.messageBytes).toBe(DATA);
    }),
  );

  peerTest("MessageQueue.open looks at the owner where it is told to", needs, () =>
    leakFree(async () => {
      await using theirs = await squatter(DATA);
      const name = kernelNameOf(theirs.name);
      for (const create of [false, true]) {
        refusedBy(await failure(() => MessageQueue.open(name, { create, owner: 0 })));
        MessageQueue.open(name, { create, owner: NOBODY }).close();
        MessageQueue.open(name, { create }).close();
      }
      expect(await theirs.count()).toBe(0);
    }),
  );
});

peerTest("a client of another user is told no, whatever the queue's mode", ["root"], async () => {
  const name = freshName();
  using listener = listenQueue(name);
  fchmodSync(listener.fd, 0o666);
  const source = `import { connectQueue } from "@/src/index.ts";
    process.setgroups([]); process.setgid(${NOBODY}); process.setuid(${NOBODY});
    await connectQueue(${JSON.stringify(name)}, { owner: 0 }).catch((error) => {
      console.log(error.message);
    });`;
  const accepting = listener.accept().catch((error: UnixError) => error.code);
  const said = succeeded(await runSource(source));
  expect(said).toContain("EACCES");
  expect(said).toContain("the listener said so");
  expect(listener.ignored).toBe(1);
  listener.close();
  expect(await accepting).toBe("ERR_CLOSED");
});

test("an owner is a uid, or anybody", async () => {
  const calls = [
    (owner: never) => connectQueueSync("/none", { owner }),
    (owner: never) => openQueueDatagram(undefined, { owner }),
    (owner: never) => MessageQueue.open("/none", { owner }),
  ];
  for (const call of calls) {
    for (const owner of ["me", true, null, {}]) {
      expect(await thrown(() => call(owner as never))).toBeInstanceOf(TypeError);
    }
    for (const owner of [-1, 0.5, 2 ** 32 - 1]) {
      expect(await thrown(() => call(owner as never))).toBeInstanceOf(RangeError);
    }
  }
});

describe("a listener that never answers", () => {
  test("connectQueue waits for ten seconds unless told otherwise", async () => {
    using listener = listenQueue(freshName());
    const real = AbortSignal.timeout;
    const asked: number[] = [];
    using _spy = spyOn(AbortSignal, "timeout").mockImplementation((ms) => {
      asked.push(ms);
      return real.call(AbortSignal, 1);
    });
    expect(await codeOf(() => connectQueue(listener.name))).toBe("ETIMEDOUT");
    expect(asked).toEqual([10_000]);
  });

  test("so does connectQueueSync", async () => {
    using listener = listenQueue(freshName());
    let [began, now] = [0, 0];
    // a clock that runs a thousand times faster
    using _ = fakeClock((real) => {
      began ||= real;
      now = began + 1000 * (real - began);
      return now;
    });
    expect(await codeOf(() => connectQueueSync(listener.name))).toBe("ETIMEDOUT");
    expect(now - began).toBeGreaterThan(10_000);
  });
});
