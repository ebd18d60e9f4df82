// Tests of a program put other timers and clocks in the place of Bun's for a while: sinon's, and
// Jest's as bun:test has them. Sockets go on; a stream does unless process.nextTick is faked, which
// node:stream itself needs. What blocks the thread ends when its time is up. Time limits of calls
// that wait are in real time with sinon's; Jest's stop every timer of the process.

import { afterEach, describe, expect, jest, test } from "bun:test";
import { once } from "node:events";
import sinon from "sinon";
import {
  capabilities,
  configureLoop,
  connect,
  connectQueue,
  listen,
  listenQueue,
  lockFileSync,
  MessageQueue,
  makeFifo,
  openChannel,
  openFifo,
  sendSignal,
  serveHttp,
  socketPair,
  watchSignals,
} from "../../src/index.ts";
import { freshPath } from "../api/pairs.ts";
import { codeOf } from "../api/tools.ts";
import { missing } from "../support/peers.ts";
import { testsUnless } from "../support/unless.ts";

const http = capabilities().serveHttp;
const { test: httpTest } = testsUnless(http.available ? null : http.reason);
const { test: flockTest } = testsUnless(missing(["flock"]));

const before = { setImmediate };

type Work = () => Promise<void>;

const going: Readonly<Record<string, Work>> = {
  "accept, connect, receive": async () => {
    using listener = listen(freshPath());
    const coming = listener.accept();
    using client = await connect(listener.address);
    using server = (await coming)!;
    const received = server.receive();
    await client.send("hello");
    expect((await received)?.text()).toBe("hello");
  },
  "Bun's loop, beside one who is always answered": async () => {
    const [near, far] = socketPair("seqpacket");
    let turns = 0;
    const { setImmediate: real } = before;
    const next = (): void => {
      if (++turns < 3) real(next);
    };
    real(next);
    for (let i = 0; i < 100_000 && turns < 3; i++) {
      await near.send("x");
      await far.receive();
    }
    expect(turns).toBe(3);
    for (const one of [near, far]) one.close();
  },
  "an iteration that ends": async () => {
    const [near, far] = socketPair("seqpacket");
    const all = (async () => {
      let text = "";
      for await (const message of far) text += message.text();
      return text;
    })();
    await near.send("a");
    await near.send("b");
    near.close();
    expect(await all).toBe("ab");
    far.close();
  },
  "a send that waits for room": async () => {
    const [near, far] = socketPair("stream");
    const sent = near.send(Buffer.alloc(2 ** 21));
    let left = 2 ** 21;
    while (left > 0) left -= (await far.receive())!.data.length;
    await sent;
    near.close();
    far.close();
  },
  "a channel": async () => {
    const [near, far] = socketPair("seqpacket").map((socket) => openChannel(socket));
    void far!.serve(({ value }) => value);
    using answer = await near!.request({ asked: 1 });
    expect(answer.value).toEqual({ asked: 1 });
    near!.close();
    far!.close();
  },
  "a FIFO, a message queue, a signal": async () => {
    const path = freshPath();
    makeFifo(path);
    using reader = openFifo(path, "read");
    using writer = openFifo(path, "write", { waitForReader: false });
    const read = reader.read();
    await writer.write("in a FIFO");
    expect(String(Buffer.from((await read)!))).toBe("in a FIFO");

    using queue = MessageQueue.open(`/fake-${process.pid}`, { create: true, unlinkOnOpen: true });
    const received = queue.receive();
    await queue.send("in a queue");
    expect((await received).text()).toBe("in a queue");

    using watcher = watchSignals("SIGUSR2");
    const caught = watcher.receive();
    sendSignal(process.pid, "SIGUSR2");
    expect((await caught).signal).toBe("SIGUSR2");
  },
  "queue sockets": async () => {
    const name = `/fake-queue-${process.pid}`;
    using listener = listenQueue(name);
    const coming = listener.accept();
    using client = await connectQueue(name);
    using server = (await coming)!;
    const received = server.receive();
    await client.send("hello");
    expect((await received)?.text()).toBe("hello");
  },
};

/** Of node:stream. */
const streams: Readonly<Record<string, Work>> = {
  "toDuplex() with callbacks": async () => {
    const [near, far] = socketPair("stream").map((socket) => socket.toDuplex());
    far!.pipe(far!);
    const told = new Promise<void>((done) => near!.write("ping", () => done()));
    await Promise.all([told, once(near!, "data")]);
    const large = new Promise<void>((done) => near!.write(Buffer.alloc(2 ** 20), () => done()));
    near!.resume();
    await large;
    near!.end();
    await once(near!, "close");
  },
};

async function aRequest(): Promise<void> {
  const { createServer, get } = await import("node:http");
  const path = freshPath();
  const service = serveHttp(
    listen(path),
    createServer((_, response) => void response.end("ok")),
  );
  const response = await new Promise<NodeJS.ReadableStream>((done) =>
    get({ socketPath: path, agent: false }, done),
  );
  await once(response.resume(), "end");
  service.close();
}

/** It blocks the thread, as the next: if one did not end, the whole run would stand still. */
function receiveOnce(): void {
  const [near, far] = socketPair("stream");
  try {
    near.receiveSync({ timeoutMs: 20 });
  } finally {
    near.close();
    far.close();
  }
}

/** flock(1) has the lock. */
async function lockedByAnother(): Promise<void> {
  const path = freshPath();
  const command = ["flock", "--no-fork", path, "sh", "-c", "echo locked; exec sleep 60"];
  const holder = Bun.spawn(command, { stdout: "pipe" });
  try {
    await holder.stdout.getReader().read();
    lockFileSync(path, { timeoutMs: 20 });
  } finally {
    holder.kill();
    await holder.exited;
  }
}

async function requestOnce(): Promise<void> {
  const [near, far] = socketPair("seqpacket").map((socket) => openChannel(socket));
  try {
    await near!.request(1, { timeoutMs: 20 });
  } finally {
    near!.close();
    far!.close();
  }
}

interface Fake {
  readonly begin: () => void;
  readonly streams: boolean;
  readonly limits: boolean;
}

const fakes: Readonly<Record<string, Fake>> = {
  "sinon's, all of them": {
    begin: () => void sinon.useFakeTimers(),
    streams: false,
    limits: true,
  },
  "sinon's, but for nextTick": {
    begin: () => void sinon.useFakeTimers({ toNotFake: ["nextTick", "queueMicrotask"] }),
    streams: true,
    limits: true,
  },
  "Jest's": { begin: () => void jest.useFakeTimers(), streams: true, limits: false },
};

for (const [name, fake] of Object.entries(fakes)) {
  describe(`fake timers, ${name}`, () => {
    afterEach(() => {
      sinon.restore();
      jest.useRealTimers();
      configureLoop({ busyPollMicros: 0 });
    });

    const works = { ...going, ...(fake.streams ? streams : {}) };
    for (const [what, work] of Object.entries(works)) {
      test(`goes on: ${what}`, async () => {
        fake.begin();
        await work();
      });
    }

    if (fake.streams) {
      httpTest("goes on: HTTP that knows its caller", async () => {
        fake.begin();
        await aRequest();
      });
    }

    test("goes on: busy polling", async () => {
      configureLoop({ busyPollMicros: 500 });
      fake.begin();
      await going["accept, connect, receive"]!();
    });

    test("ends: receiveSync", async () => {
      fake.begin();
      expect(await codeOf(receiveOnce)).toBe("ETIMEDOUT");
    });

    flockTest("ends: lockFileSync", async () => {
      fake.begin();
      expect(await codeOf(lockedByAnother)).toBe("ETIMEDOUT");
    });

    if (fake.limits) {
      test("in real time: a channel's request", async () => {
        fake.begin();
        expect(await codeOf(requestOnce)).toBe("ETIMEDOUT");
      });
    }
  });
}
