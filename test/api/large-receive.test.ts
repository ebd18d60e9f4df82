// Room for received data is shared by all calls of a thread; one large `maxBytes` does not keep it.

import { heapStats } from "bun:jsc";
import { expect, test } from "bun:test";
import { openDatagram, socketPair } from "../../src/index.ts";
import { leakFree } from "./tools.ts";

const LARGE = 512 * 1024 * 1024;

/** Until what nobody holds has gone. A WeakRef holds on until the job ends. */
async function settles(): Promise<void> {
  while (heapStats().extraMemorySize > LARGE / 2) {
    await Bun.sleep(1);
    Bun.gc(true);
  }
}

test("a receive of at most half a gigabyte does not keep so much", () =>
  leakFree(async () => {
    const [near, far] = socketPair("seqpacket", { maxMessageBytes: LARGE });
    near.trySend("x");
    expect(far.tryReceive()?.text()).toBe("x");
    expect(heapStats().extraMemorySize).toBeGreaterThan(LARGE / 2);
    await settles();
    near.trySend("y");
    expect(far.tryReceive()?.text()).toBe("y");
    near.close();
    far.close();
    await settles();
  }));

test("nor does a batch", () =>
  leakFree(async () => {
    using socket = openDatagram("@bunix-large-batch", { maxMessageBytes: LARGE });
    expect(socket.tryReceiveBatch({ max: 4 })).toBe(undefined as never);
    expect(heapStats().extraMemorySize).toBeGreaterThan(LARGE / 2);
    await settles();
  }));
