// Queue sockets with a peer in C, which knows nothing but the document, and with Python.

import { describe, expect, test } from "bun:test";
import { connectQueue, listenQueue, openQueueDatagram } from "../../src/index.ts";
import { freshName, kernelNameOf, readBytes, removeName } from "../api/queue-sockets.ts";
import { codeOf, leakFree, pattern, turns } from "../api/tools.ts";
import { run, runSource, start, succeeded } from "../support/child.ts";
import { compileC, peerTest } from "../support/peers.ts";

const peer = (): string => compileC("test/fixtures/queue-socket-peer.c", ["-lrt"]);

describe("with C", () => {
  peerTest("it connects: 500,000 bytes there and back, and an end each way", ["cc"], () =>
    leakFree(async () => {
      const name = freshName();
      using listener = listenQueue(name);
      await using child = start([peer(), "connect", name]);
      using socket = await listener.accept();
      expect(socket.peerCredentials()).toMatchObject({ pid: child.pid, uid: process.geteuid!() });
      using who = socket.peer();
      expect(who).toMatchObject({ pid: child.pid, alive: true });
      expect(who.executable).toBe(peer());
      const data = pattern(500_000);
      const sending = socket.send(data).then(() => socket.end());
      expect(data.equals(await readBytes(socket, data.length))).toBeTrue();
      await sending;
      expect(await socket.receive()).toBeNull();
      child.endInput();
      expect((await child.exited).code).toBe(0);
    }),
  );

  peerTest("it listens, and serves ten one after the other", ["cc"], async () => {
    const name = freshName();
    await using child = start([peer(), "listen", name, "10"]);
    await child.lineWith("listening");
    expect(await codeOf(() => listenQueue(name))).toBe("EADDRINUSE");
    for (let i = 0; i < 10; i++) {
      using socket = await connectQueue(name);
      expect(socket.peerCredentials().pid).toBe(child.pid);
      await socket.send(`call ${i}`);
      expect((await socket.receive())?.text()).toBe(`call ${i}`);
      socket.end();
      expect(await socket.receive()).toBeNull();
    }
    child.endInput();
    expect((await child.exited).code).toBe(0);
  });

  peerTest("it is told no", ["cc"], async () => {
    const name = freshName();
    using listener = listenQueue(name, { allow: () => false });
    const accepting = codeOf(() => listener.accept());
    const { code, stdout } = await run([peer(), "connect", name]);
    expect([code, stdout]).toEqual([3, "refused Permission denied\n"]);
    listener.close();
    expect(await accepting).toBe("ERR_CLOSED");
  });

  peerTest("it sends and ends, we read slowly; it reads slowly and we send", ["cc"], async () => {
    const name = freshName();
    using listener = listenQueue(name, { maxMessages: 2, messageBytes: 256 });
    await using source = start([peer(), "source", name, "100000"]);
    const socket = await listener.accept();
    const all = await readBytes(socket, 100_000);
    expect(all.every((byte, i) => byte === ((i * 7) & 255))).toBeTrue();
    expect(await socket.receive()).toBeNull();
    socket.close();
    source.endInput();
    expect((await source.exited).code).toBe(0);

    await using sink = start([peer(), "sink", name]);
    using other = await listener.accept();
    const data = pattern(100_000);
    await other.send(data);
    other.close();
    let sum = 0n;
    for (const byte of data) sum = (sum * 31n + BigInt(byte)) & 0xffffffffn;
    sink.endInput();
    const said = succeeded(await sink.exited);
    expect(said).toBe(`100000 ${sum.toString(16).padStart(8, "0")}\n`);
  });

  peerTest("it is killed while we wait to read, and to write", ["cc"], async () => {
    const name = freshName();
    using listener = listenQueue(name);
    await using child = start([peer(), "sink", name]);
    using socket = await listener.accept();
    child.kill("SIGSTOP");
    const reading = socket.receive();
    const sending = codeOf(() => socket.send(pattern(1_000_000)));
    await turns();
    child.kill("SIGKILL");
    expect(await reading).toBeNull();
    expect(await sending).toBe("EPIPE");
    await child.exited;
  });

  peerTest("it closes without a word and lives on", ["cc"], async () => {
    const name = freshName();
    using listener = listenQueue(name);
    await using _child = start([peer(), "forget", name]);
    using socket = await listener.accept();
    expect((await socket.receive())?.text()).toBe("x");
    expect(await socket.receive()).toBeNull();
  });

  peerTest("its listener is killed while we wait for an answer", ["cc"], async () => {
    const name = freshName();
    await using child = start([peer(), "listen", name, "1"]);
    await child.lineWith("listening");
    child.kill("SIGSTOP");
    const connecting = codeOf(() => connectQueue(name));
    await turns();
    child.kill("SIGKILL");
    expect(await connecting).toBe("ECONNREFUSED");
    await child.exited;
    expect(await codeOf(() => connectQueue(name))).toBe("ECONNREFUSED");
    using next = listenQueue(name);
    expect(next.tryAccept()).toBeUndefined();
  });

  peerTest("datagrams: answered by address and by name; killed while we wait", ["cc"], async () => {
    const [name, own] = [freshName(), freshName()];
    await using child = start([peer(), "datagram", name]);
    await child.lineWith("open");
    using unnamed = openQueueDatagram();
    using named = openQueueDatagram(own);
    for (const socket of [unnamed, named]) {
      await socket.send("ping", { to: name });
      const answer = await socket.receive();
      expect([answer.text(), answer.from]).toEqual(["ping", { name }]);
    }
    child.kill("SIGSTOP");
    while (unnamed.trySend("full", { to: name }) !== null) {}
    const sending = codeOf(() => unnamed.send("x", { to: name }));
    await turns();
    child.kill("SIGKILL");
    expect(await sending).toBe("ECONNREFUSED");
    await child.exited;
    removeName(name);
  });

  peerTest("20,000 datagrams from two of them: in the order of each priority", ["cc"], async () => {
    const name = freshName();
    using socket = openQueueDatagram(name, { maxMessages: 10, messageBytes: 64 });
    const count = 10_000;
    const children = [1, 2].map(() => start([peer(), "send", name, String(count)]));
    // whoever is ahead with a priority counts up, and so does who is behind
    const ahead = [-4, -3, -2, -1];
    const behind = [-4, -3, -2, -1];
    for (let i = 0; i < 2 * count; i++) {
      const message = await socket.receive();
      const { priority } = message;
      const number = Number(message.text());
      const line = number > ahead[priority]! ? ahead : behind;
      if (number !== line[priority]! + 4) throw new Error(`${number} after ${line[priority]}`);
      line[priority] = number;
      expect([number % 4, message.from]).toEqual([priority, null]);
    }
    const last = [count - 4, count - 3, count - 2, count - 1];
    expect([ahead, behind]).toEqual([last, last]);
    for (const child of children) {
      child.endInput();
      expect((await child.exited).code).toBe(0);
    }
    expect(socket.tryReceive()).toBeUndefined();
  });
});

const PYTHON = `
import ctypes, fcntl, os, struct, sys
rt = ctypes.CDLL("librt.so.1", use_errno=True)
class Attr(ctypes.Structure):
    names = ("flags", "maxmsg", "msgsize", "cur", "a", "b", "c", "d")
    _fields_ = [(name, ctypes.c_long) for name in names]
def mq_open(name, flags, attr=None):
    fd = rt.mq_open(name.encode(), flags | os.O_CLOEXEC, 0o600, attr)
    assert fd >= 0, (name, ctypes.get_errno())
    return fd
def send(fd, kind, tag, body=b""):
    frame = b"BQS1" + struct.pack("<BBH", kind, 0, 0) + tag + body
    assert rt.mq_send(fd, frame, ctypes.c_size_t(len(frame)), 0) == 0
def receive(fd):
    room = ctypes.create_string_buffer(4096)
    length = rt.mq_receive(fd, room, ctypes.c_size_t(4096), None)
    assert length >= 16
    return room.raw[4], room.raw[8:16], room.raw[16:length]

private = f"/unnamed-{os.geteuid()}.queue-socket"
rt.mq_unlink(private.encode())
own = mq_open(private, os.O_RDONLY | os.O_CREAT | os.O_EXCL, ctypes.byref(Attr(0, 4, 512)))
rt.mq_unlink(private.encode())
fcntl.flock(own, fcntl.LOCK_EX | fcntl.LOCK_NB)
tag = os.urandom(8)
os.utime(own, struct.unpack("<II", tag))
identity = struct.pack("<IIQ", os.getpid(), own, os.fstat(own).st_ino) + tag
listener = mq_open(sys.argv[1], os.O_WRONLY)
send(listener, 1, bytes(8), identity)
kind, to, body = receive(own)
assert kind == 2 and to == tag, (kind, to)
pid, fd, inode = struct.unpack("<IIQ", body[:16])
peer = os.open(f"/proc/{pid}/fd/{fd}", os.O_WRONLY)
assert os.fstat(peer).st_ino == inode
send(peer, 4, body[16:], "grüße".encode())
kind, to, text = receive(own)
assert (kind, to) == (4, tag)
print(text.decode(), flush=True)
send(peer, 5, body[16:])
sys.stdin.read()
`;

peerTest("with Python", ["python3"], async () => {
  const name = freshName();
  using listener = listenQueue(name);
  await using child = start(["python3", "-c", PYTHON, kernelNameOf(name)]);
  using socket = await listener.accept();
  expect(socket.peerCredentials().pid).toBe(child.pid);
  expect((await socket.receive())?.text()).toBe("grüße");
  await socket.send("zurück");
  await child.lineWith("zurück");
  expect(await socket.receive()).toBeNull();
  child.endInput();
  expect(succeeded(await child.exited)).toBe("zurück\n");
});

describe("the process", () => {
  test("waits for bytes, and ends when nobody does", async () => {
    const source = `import { connectQueue, listenQueue } from "@/src/index.ts";
      const listener = listenQueue("${freshName()}");
      const [client, server] = await Promise.all([connectQueue(listener.name), listener.accept()]);
      setTimeout(() => server.send("late"), 20).unref();
      console.log((await client.receive()).text());
      client.unref().receive();
      listener.unref().accept();`;
    expect(succeeded(await runSource(source))).toBe("late\n");
  });

  test("in a Worker, terminated while it waits: the end at the other end", async () => {
    const source = `import { Worker, isMainThread } from "node:worker_threads";
      import { connectQueue, listenQueue } from "@/src/index.ts";
      if (isMainThread) {
        const listener = listenQueue("${freshName()}");
        const worker = new Worker(import.meta.filename, { workerData: null, env: process.env,
          argv: [listener.name] });
        const socket = await listener.accept();
        console.log((await socket.receive()).text());
        const waiting = socket.receive();
        await worker.terminate();
        console.log(await waiting);
        socket.close();
        listener.close();
      } else {
        const socket = await connectQueue(process.argv[2]);
        await socket.send("from a Worker");
        await socket.receive();
      }`;
    expect(succeeded(await runSource(source))).toBe("from a Worker\nnull\n");
  });
});
