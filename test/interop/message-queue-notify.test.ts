// mq_notify with foreign senders and owners; a queue that travels by its descriptor only.

import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { origin } from "../../native/signal.ts";
import {
  MessageQueue,
  type StreamSocket,
  signalNumber,
  socketPair,
  watchSignals,
} from "../../src/index.ts";
import { freshQueueName, namedQueue, removeQueue } from "../api/queues.ts";
import { codeOf } from "../api/tools.ts";
import {
  type Child,
  slower,
  start,
  startScript,
  succeeded,
  writeSource,
} from "../support/child.ts";
import { compileC, missing, peerTest } from "../support/peers.ts";
import { tempDir } from "../support/tmp.ts";
import { foreignNumber, noQueueSignals, testUnless } from "../support/unless.ts";

setDefaultTimeout(30_000 * slower);

const signal = "SIGRTMIN+4";
const peer = (): string => compileC("test/fixtures/queue-peer.c", ["-lrt"]);

describe("notify", () => {
  const lacking = noQueueSignals();

  testUnless(
    lacking ?? missing(["cc"]),
    "says which C program sent the message, 50 times",
    async () => {
      using watcher = watchSignals(signal);
      using queue = namedQueue();
      for (let i = 0; i < 50; i++) {
        queue.notify({ signal, value: i });
        await using child = start([peer(), "send", queue.name, "1"]);
        const sender = { pid: child.pid, uid: process.getuid?.() };
        const event = await watcher.receive();
        expect(event).toMatchObject({ signal, origin: "message-queue", value: i, ...sender });
        expect(queue.tryReceive()?.text()).toBe("0");
        expect((await child.exited).code).toBe(0);
      }
    },
  );

  peerTest("is as good as any queued signal: who may signal us can forge one", ["cc"], async () => {
    using watcher = watchSignals(signal);
    const number = await foreignNumber(signalNumber(signal));
    const claim = [process.pid, number, 1, origin.SI_MESGQ].map(String);
    await using child = start([compileC("test/fixtures/signal-peer.c"), "forge", ...claim]);
    expect(await watcher.receive()).toMatchObject({ origin: "message-queue", pid: 1, uid: 4711 });
    succeeded(await child.exited);
  });

  const HOLDER = `
import ctypes, struct, sys
libc = ctypes.CDLL("librt.so.1", use_errno=True)
queue = libc.mq_open(sys.argv[1].encode(), 0)
SIGEV_NONE = 1
assert libc.mq_notify(queue, struct.pack("qii48x", 0, 0, SIGEV_NONE)) == 0, ctypes.get_errno()
print("registered", flush=True)
sys.stdin.read()
`;

  const unasked = lacking ?? missing(["python3"]);
  testUnless(unasked, "EBUSY while another process has asked, free when it ends", async () => {
    using _watcher = watchSignals(signal);
    using queue = namedQueue();
    await using child = start(["python3", "-c", HOLDER, queue.name]);
    await child.lineWith("registered");
    expect(await codeOf(() => queue.notify({ signal }))).toBe("EBUSY");
    queue.notify(null); // takes back one's own request only
    expect(await codeOf(() => queue.notify({ signal }))).toBe("EBUSY");
    child.kill("SIGKILL");
    await child.exited;
    queue.notify({ signal });
  });
});

/** The receiver has descriptor 3, a socket; what comes over it is a queue. */
const PYTHON = `
import ctypes, socket
libc = ctypes.CDLL("librt.so.1", use_errno=True)
with socket.socket(fileno=3) as server:
    data, (queue,), _, _ = socket.recv_fds(server, 64, 1)
room, priority = ctypes.create_string_buffer(8192), ctypes.c_uint()
length = libc.mq_receive(queue, room, ctypes.c_size_t(8192), ctypes.byref(priority))
print(data.decode(), priority.value, room.raw[:length].decode(), flush=True)
`;

const BUN = `import { adoptSocket, MessageQueue } from "@/src/index.ts";
using socket = adoptSocket(3);
using message = await socket.receive();
using queue = MessageQueue.adopt(message.takeFds()[0]);
const { priority, data } = await queue.receive();
console.log(message.text(), priority, new TextDecoder().decode(data));
`;

/** Hand a queue with a message in it on, keep nothing, and hear what the receiver found in it. */
async function handOver(
  startReceiver: (socket: StreamSocket) => Child,
): Promise<{ said: string; left: string }> {
  const name = freshQueueName();
  const queue = MessageQueue.open(name, { create: true, unlinkOnOpen: true });
  const [near, far] = socketPair("stream");
  try {
    await using child = startReceiver(far);
    far.close();
    await queue.send("in it", { priority: 3 });
    await near.send("a queue", { fds: [queue.release()], transfer: true });
    expect([queue.closed, queue.fd]).toEqual([true, -1]);
    return {
      said: succeeded(await child.exited),
      left: await codeOf(() => MessageQueue.open(name)),
    };
  } finally {
    near.close();
    far.close();
    queue.close();
  }
}

const outcome = { said: "a queue 3 in it\n", left: "ENOENT" };

describe("unlinkOnOpen: a queue that nobody has but whom its descriptor was passed to", () => {
  peerTest("python3", ["python3"], async () => {
    const receiver = (socket: StreamSocket): Child =>
      start(["python3", "-c", PYTHON], { fds: [socket.fd] });
    expect(await handOver(receiver)).toEqual(outcome);
  });

  test("Bun", async () => {
    using dir = tempDir();
    const file = writeSource(dir, BUN);
    const receiver = (socket: StreamSocket): Child => startScript(file, [], { fds: [socket.fd] });
    expect(await handOver(receiver)).toEqual(outcome);
  });

  test("of six processes that open the name only once, one gets it", async () => {
    using dir = tempDir();
    const file = writeSource(
      dir,
      `import { MessageQueue } from "@/src/index.ts";
      console.log("ready");
      for await (const line of console) {
        try {
          using queue = MessageQueue.open(line.trim(), { unlinkOnOpen: true });
          console.log("mine", queue.tryReceive().text());
        } catch (error) {
          console.log(error.code);
        }
      }`,
    );
    const children = Array.from({ length: 6 }, () => startScript(file));
    try {
      for (const child of children) await child.lineWith("ready");
      for (let round = 0; round < 20; round++) {
        const name = freshQueueName();
        using queue = MessageQueue.open(name, { create: true });
        queue.trySend(`round ${round}`);
        for (const child of children) child.write(`${name}\n`);
        const said = await Promise.all(children.map((child) => child.line()));
        expect(said.filter((line) => line === `mine round ${round}`)).toHaveLength(1);
        const others = said.filter((line) => line !== `mine round ${round}`);
        expect(others.every((line) => line === "ENOENT" || line === "EBUSY")).toBeTrue();
        removeQueue(name);
      }
    } finally {
      for (const child of children) await child[Symbol.asyncDispose]();
    }
  });
});
