// Bytes that are detached, transferred or shrunk while something waits for them: a TypeError, with
// the message where it is in the kernel, its descriptors too, and everything after it goes on.

import { describe, expect, test } from "bun:test";
import { openQueueDatagram, socketPair } from "../../src/index.ts";
import { resizable, transfer } from "../support/views.ts";
import { fifo, text } from "./fifos.ts";
import { type AnySocket, pairVariants } from "./pairs.ts";
import { freshName, queuePair } from "./queue-sockets.ts";
import { newQueue } from "./queues.ts";
import { fill, leakFree, marked, markOf, must, thrown, turns } from "./tools.ts";

interface Victim {
  readonly view: Uint8Array;
  /** Afterwards its bytes are gone; what was under them, where that is still somewhere. */
  readonly end: () => ArrayBuffer | null;
}

function shrunk(buffer: ArrayBuffer, bytes: number): ArrayBuffer {
  buffer.resize(bytes);
  return buffer;
}

const victims: Readonly<Record<string, (bytes: number) => Victim>> = {
  transferred: (bytes) => {
    const view = new Uint8Array(bytes);
    return { view, end: () => transfer(view) };
  },
  "sent to another thread": (bytes) => {
    const view = new Uint8Array(bytes);
    const end = (): ArrayBuffer => structuredClone(view.buffer, { transfer: [view.buffer] });
    return { view, end };
  },
  "made smaller": (bytes) => {
    const buffer = resizable(bytes + 8);
    return { view: new Uint8Array(buffer, 8, bytes), end: () => shrunk(buffer, 9) };
  },
  "made smaller, with a view of whatever is there": (bytes) => {
    const buffer = resizable(bytes);
    return { view: new Uint8Array(buffer), end: () => shrunk(buffer, bytes - 1) };
  },
};

describe.each(Object.entries(victims))("%s", (_, make) => {
  describe.each(pairVariants)("$name", ({ open, stream }) => {
    test("receiveInto: the message and its descriptors are still there", () =>
      leakFree(async () => {
        using pair = await open();
        const { view, end } = make(64);
        const receiving = thrown(() => pair.far.receiveInto(view));
        const next = pair.far.receive();
        const under = end();
        using fd = marked("beside");
        await pair.near.send("whole", { fds: [fd] });
        expect(await receiving).toBeInstanceOf(TypeError);
        using message = must(await next);
        expect([message.text(), message.fds.map(markOf)]).toEqual(["whole", ["beside"]]);
        expect(new Uint8Array(under ?? new ArrayBuffer(0)).every((byte) => byte === 0)).toBe(true);
      }));

    test("consumeInto: rejects, and the next message is still there", async () => {
      using pair = await open();
      const { view, end } = make(64);
      const seen: number[] = [];
      const each = thrown(() =>
        pair.far.consumeInto(view, ({ bytes }) => {
          seen.push(bytes);
          end();
        }),
      );
      await pair.near.send("first");
      while (seen.length === 0) await turns();
      await pair.near.send("second");
      expect(await each).toBeInstanceOf(TypeError);
      expect([seen, must(await pair.far.receive()).text()]).toEqual([[5], "second"]);
    });

    test("given when its bytes are gone already: nothing is sent or received", async () => {
      using pair = await open();
      const { view, end } = make(64);
      end();
      if (view.length > 0) return; // it is a smaller one, and right
      await pair.near.send("here");
      for (const call of [
        () => pair.near.trySend(view),
        () => pair.near.send(view),
        () => pair.near.send(["a", view]),
        () => pair.near.sendSync(view),
        () => pair.far.receiveInto(view),
        () => pair.far.tryReceiveInto(view),
        () => pair.far.receiveIntoSync(view),
        () => pair.far.consumeInto(view, () => {}),
      ]) {
        expect(await thrown(call)).toBeInstanceOf(TypeError);
      }
      expect(must(pair.far.tryReceive()).text()).toBe("here");
      expect(pair.far.tryReceive()).toBeUndefined();
    });

    for (const size of [100, 5000]) {
      test(`a send of ${size} bytes that waits`, () =>
        leakFree(async () => {
          using pair = await open();
          fill(pair.near, Buffer.alloc(1024));
          const { view, end } = make(size);
          using fd = marked("beside");
          const sending = thrown(() => pair.near.send(view.fill(7), { fds: [fd] }));
          const after = pair.near.send("after");
          end();
          await untilText(pair.far, "after", 7);
          expect(await sending).toBeInstanceOf(TypeError);
          await after;
        }));
    }

    if (stream) return; // batches are for messages with boundaries
    test("a batch: those before it were sent, those after it were not", async () => {
      using pair = await open();
      if (!("sendBatch" in pair.near)) throw new Error("it has no batches");
      fill(pair.near, Buffer.alloc(1024));
      const { view, end } = make(3000);
      const { near } = pair;
      const sending = thrown(() => near.sendBatch(["one", view.fill(7), "three"]));
      end();
      await untilText(pair.far, "one", 7);
      expect(await sending).toBeInstanceOf(TypeError);
      expect(pair.far.tryReceive()).toBeUndefined();
    });
  });

  test("a view of whatever is there, made smaller by a getter: what is left", async () => {
    for (const kind of ["seqpacket", "datagram"] as const) {
      const [near, far] = socketPair(kind);
      const view = new Uint8Array(resizable(8)).fill(65);
      const getter = {
        get fd(): number {
          (view.buffer as ArrayBuffer).resize(3);
          return 0;
        },
      };
      await near.send(view, { fds: [getter] });
      using message = await far.receive();
      expect([message?.text(), message?.fds.length]).toEqual(["AAA", 1]);
      near.close();
      far.close();
    }
  });

  test("a stream's send that is half out: what follows it goes on", async () => {
    using pair = await pairVariants[0]!.open();
    const { view, end } = make(60_000);
    const chunks = fill(pair.near, view.fill(7).subarray(0, 50_000));
    const sending = thrown(() => pair.near.send(view));
    const after = pair.near.send("after");
    let got = 0;
    // no more than makes room for a part of it
    while (pair.near.queuedBytes > 0 && got < chunks * 50_000) {
      got += pair.far.tryReceive({ maxBytes: 1000 })?.data.length ?? 0;
      await turns();
      if (got > 40_000) break;
    }
    end();
    await untilText(pair.far, "after");
    expect(await sending).toBeInstanceOf(TypeError);
    await after;
  });

  test("a message queue: nothing is sent in its place", async () => {
    using queue = newQueue({ maxMessages: 1, messageBytes: 200 });
    await queue.send("full");
    const { view, end } = make(100);
    const sending = thrown(() => queue.send(view));
    const after = queue.send("after");
    end();
    expect((await queue.receive()).text()).toBe("full");
    expect((await queue.receive()).text()).toBe("after");
    expect(await sending).toBeInstanceOf(TypeError);
    await after;
    expect(queue.tryReceive()).toBeUndefined();
  });

  test("a FIFO: writes that wait for a reader's room", async () => {
    using pipe = fifo();
    const writer = pipe.writer();
    while (writer.tryWrite(Buffer.alloc(4096)) === 4096) {}
    const { view, end } = make(3000);
    const writing = thrown(() => writer.write(view.fill(7)));
    const after = writer.write("after");
    end();
    let last = "";
    while (!last.endsWith("after")) last = text(await pipe.reader.read());
    expect(last).not.toContain("\u0007");
    expect(await writing).toBeInstanceOf(TypeError);
    await after;
    expect(writer.queuedBytes).toBe(0);
  });

  test("queue sockets", async () => {
    using pair = await queuePair({ maxMessages: 2 });
    while (pair.client.trySend("full") !== null) {}
    const { view, end } = make(100);
    const sending = thrown(() => pair.client.send(view.fill(7)));
    const after = pair.client.send("after");
    end();
    let got = "";
    while (!got.endsWith("after")) got += (await pair.server.receive())?.text();
    expect(got).not.toContain("\u0007");
    expect(await sending).toBeInstanceOf(TypeError);
    await after;
    expect(pair.client.queuedBytes).toBe(0);
  });

  test("datagrams over queues", async () => {
    const to = freshName();
    using receiver = openQueueDatagram(to, { maxMessages: 1 });
    using sender = openQueueDatagram();
    while (sender.trySend("full", { to }) !== null) {}
    const { view, end } = make(100);
    const sending = thrown(() => sender.send(view.fill(7), { to }));
    const after = sender.send("after", { to });
    end();
    for (let got = ""; got !== "after"; ) {
      got = (await receiver.receive()).text();
      expect(["full", "after"]).toContain(got);
    }
    expect(await sending).toBeInstanceOf(TypeError);
    await after;
  });
});

/** Receive until `text` has come; none of what came holds the byte `never`. */
async function untilText(socket: AnySocket, text: string, never = -1): Promise<void> {
  for (let tail = ""; !tail.endsWith(text); ) {
    using message = must(await socket.receive());
    expect(message.data.includes(never)).toBe(false);
    expect(message.fds.length).toBe(0);
    tail = (tail + message.text()).slice(-text.length);
  }
}
