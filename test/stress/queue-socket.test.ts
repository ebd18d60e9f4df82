// Queue sockets under load, and killed at any moment.
//
// BUNIX_QUEUE_DATAGRAMS and BUNIX_QUEUE_BYTES make the two loads larger (1000000, 1000000000).

import { afterAll, expect, setDefaultTimeout, test } from "bun:test";
import { readdirSync } from "node:fs";
import { crc32 } from "node:zlib";
import { connectQueue, listenQueue, openQueueDatagram, type QueueSocket } from "../../src/index.ts";
import { freshName, removeName } from "../api/queue-sockets.ts";
import { leakFree, pattern } from "../api/tools.ts";
import { fewer, slower, start, startScript, succeeded, writeSource } from "../support/child.ts";
import { peerTest } from "../support/peers.ts";
import { tempDir } from "../support/tmp.ts";

setDefaultTimeout(60_000 * slower);

const DATAGRAMS = Number(process.env["BUNIX_QUEUE_DATAGRAMS"] ?? fewer(5_000));
const BYTES = Number(process.env["BUNIX_QUEUE_BYTES"] ?? fewer(4_000_000));
const LIMIT_MS = 800_000;
const MEBIBYTE = 2 ** 20;

const dir = tempDir();
afterAll(() => dir.remove());

const SENDER = `import { openQueueDatagram } from "@/src/index.ts";
  const [to, count] = [process.argv[2], Number(process.argv[3])];
  using socket = openQueueDatagram();
  let before = 0;
  for (let i = 0; i < count; i++) {
    await socket.send(\`\${i} \${"x".repeat(i % 100)}\`, { to });
    if (i === Math.floor(count / 10)) { Bun.gc(true); before = process.memoryUsage.rss(); }
  }
  Bun.gc(true);
  console.log(process.memoryUsage.rss() - before);`;

test(
  `${DATAGRAMS} datagrams, a slow reader: none lost, none reordered, memory bounded`,
  async () => {
    const name = freshName();
    using socket = openQueueDatagram(name);
    const script = writeSource(dir, SENDER, "sender.ts");
    await using child = startScript(script, [name, String(DATAGRAMS)], { timeoutMs: LIMIT_MS });
    child.endInput();
    let [before, next] = [0, 0];
    while (next < DATAGRAMS) {
      const message = await socket.receive();
      const [number, rest] = message.text().split(" ");
      if (Number(number) !== next) throw new Error(`${number} where ${next} was due`);
      if (rest?.length !== next % 100) throw new Error(`${next} is damaged`);
      next++;
      if (next % 8 === 0) spin(); // slower than the sender
      if (next === Math.floor(DATAGRAMS / 10)) before = rss();
    }
    expect(rss() - before).toBeLessThan(64 * MEBIBYTE);
    expect(Number(succeeded(await child.exited))).toBeLessThan(64 * MEBIBYTE);
    expect([socket.tryReceive(), socket.ignored]).toEqual([undefined, 0]);
  },
  LIMIT_MS * slower,
);

const SPIN_MS = 0.05;

function spin(): void {
  const end = performance.now() + SPIN_MS;
  while (performance.now() < end) {}
}

function rss(): number {
  Bun.gc(true);
  return process.memoryUsage.rss();
}

const POURING = `import { crc32 } from "node:zlib";
  import { connectQueue } from "@/src/index.ts";
  const total = Number(process.argv[3]);
  await using socket = await connectQueue(process.argv[2]);
  const chunk = new Uint8Array(65_521);
  let sum = 0, seed = 1;
  for (let at = 0; at < total; at += chunk.length) {
    seed = (seed * 48271) % 2147483647;
    for (let i = 0; i < chunk.length; i += 997) chunk[i] = seed >> (i % 23);
    const part = chunk.subarray(0, Math.min(chunk.length, total - at));
    sum = crc32(part, sum);
    await socket.send(part);
  }
  socket.end();
  console.log(sum, (await socket.receive())?.text(), await socket.receive());`;

test(
  `a stream of ${BYTES} bytes with checksums`,
  async () => {
    const name = freshName();
    using listener = listenQueue(name, { messageBytes: 8192 });
    const script = writeSource(dir, POURING, "pouring.ts");
    await using child = startScript(script, [name, String(BYTES)], { timeoutMs: LIMIT_MS });
    child.endInput();
    using socket = await listener.accept();
    let [sum, bytes, before] = [0, 0, 0];
    for await (const { data } of socket) {
      sum = crc32(data, sum);
      bytes += data.length;
      if (before === 0 && bytes > BYTES / 10) before = rss();
    }
    await socket.send("all of it");
    socket.end();
    expect(rss() - before).toBeLessThan(64 * MEBIBYTE);
    expect(bytes).toBe(BYTES);
    expect(succeeded(await child.exited)).toBe(`${sum} all of it null\n`);
  },
  LIMIT_MS * slower,
);

const VICTIM = `import { connectQueue } from "@/src/index.ts";
  const data = new Uint8Array(5_000).map((_, i) => i * 31);
  for (let round = 0; ; round++) {
    const socket = await connectQueue(process.argv[2]);
    const reading = (async () => { for await (const _ of socket); })();
    for (let i = 0; i < 1 + round % 30; i++) await socket.send(data);
    if (round % 2 === 1) { socket.end(); await reading; }
    socket.close();
    await reading.catch(() => {});
  }`;

/** The other end may be gone by now; what it has sent is here all the same. */
function answer(socket: QueueSocket): void {
  try {
    socket.trySend("go on");
  } catch (error) {
    if ((error as { code?: unknown }).code !== "EPIPE") throw error;
  }
}

/** Read to the end, answering now and then; how many bytes came. */
async function survive(socket: QueueSocket): Promise<number> {
  const expected = new Uint8Array(5_000).map((_, i) => i * 31);
  let count = 0;
  for await (const { data } of socket) {
    for (const byte of data) {
      if (byte !== expected[count % expected.length]) throw new Error(`byte ${count} is damaged`);
      count++;
    }
    answer(socket);
  }
  return count;
}

test(
  "clients killed at any moment: an end at this side, nothing leaks",
  () =>
    leakFree(async () => {
      const name = freshName();
      using listener = listenQueue(name);
      const script = writeSource(dir, VICTIM, "victim.ts");
      let [connections, bytes] = [0, 0];
      for (let round = 0; round < 6; round++) {
        await using child = startScript(script, [name]);
        const serving: Promise<unknown>[] = [];
        for (let left = 5 + ((round * 17) % 40); left > 0; left--) {
          const socket = await listener.accept();
          const reading = survive(socket).then((count) => void (bytes += count));
          serving.push(reading.finally(() => socket.close()));
          connections++;
        }
        child.kill("SIGKILL");
        expect((await child.exited).signal).toBe("SIGKILL");
        await Promise.all(serving);
        for (let late = listener.tryAccept(); late !== undefined; late = listener.tryAccept()) {
          expect(await survive(late)).toBeGreaterThanOrEqual(0);
          late.close();
        }
      }
      expect(connections).toBeGreaterThan(100);
      expect(bytes).toBeGreaterThan(100_000);
    }),
  120_000 * slower,
);

const SERVER = `import { listenQueue } from "@/src/index.ts";
  using listener = listenQueue(process.argv[2]);
  console.log("listening");
  for await (const socket of listener) {
    (async () => { for await (const { data } of socket) await socket.send(data); })();
  }`;

test("servers killed at any moment: an end at this side, and the name is free", async () => {
  const name = freshName();
  const script = writeSource(dir, SERVER, "server.ts");
  for (let round = 0; round < 4; round++) {
    await using child = startScript(script, [name]);
    await child.lineWith("listening");
    const sockets = await Promise.all([1, 2, 3].map(() => connectQueue(name)));
    const ends = sockets.map(async (socket, i) => {
      const sending = (async () => {
        for (;;) await socket.send(pattern(3_000, i + 1));
      })().catch(({ code }) => code);
      let bytes = 0;
      for await (const { data } of socket) {
        bytes += data.length;
        if (i === 0 && bytes > round * 20_000) child.kill("SIGKILL");
      }
      return sending;
    });
    expect(await Promise.all(ends)).toEqual(["EPIPE", "EPIPE", "EPIPE"]);
    for (const socket of sockets) socket.close();
    await child.exited;
  }
  removeName(name);
});

const IN_SIGHT = `import { mkdirSync, readdirSync } from "node:fs";
  import { connectQueue, listenQueue, openQueueDatagram } from "@/src/index.ts";
  const [where, verb] = process.argv.slice(2);
  if (verb === "child") {
    console.log("up");
    for (;;) {
      const socket = await connectQueue("/server");
      using datagram = openQueueDatagram();
      await socket.send("x");
      await socket.receive();
      socket.close();
    }
  }
  const listener = listenQueue("/server");
  const serve = async (socket) => {
    for await (const message of socket) await socket.send(message.data).catch(() => {});
    socket.close();
  };
  let served = 0;
  (async () => { for await (const socket of listener) { served++; serve(socket); } })();
  let left = 0;
  for (let round = 0; round < 6; round++) {
    const child = Bun.spawn([process.execPath, import.meta.filename, where, "child"],
      { stdout: "pipe" });
    for await (const _ of child.stdout) break;
    const until = served + 1 + round * 19;
    while (served < until) await new Promise(setImmediate);
    child.kill("SIGKILL");
    await child.exited;
    left += readdirSync(where).length - 1; // of all that were killed in between two calls
    openQueueDatagram().close(); // whoever makes a queue next removes that
    const names = readdirSync(where);
    if (names.join() !== "server.queue-socket") throw new Error(names.join());
  }
  listener.close();
  console.log(served > 250, left, readdirSync(where).length);
  process.exit();`;

peerTest(
  "with /dev/mqueue in sight: killed at any moment, nothing stays",
  ["root", "unshare"],
  async () => {
    const script = `mkdir -p "$1" && mount -t mqueue none "$1" && exec "$2" "$3" "$1" parent`;
    const file = writeSource(dir, IN_SIGHT, "in-sight.ts");
    const where = dir.file("mqueue");
    const command = ["unshare", "--mount", "--ipc", "sh", "-c", script, "sh", where];
    await using child = start([...command, process.execPath, file], { timeoutMs: 110_000 });
    child.endInput();
    const [enough, left, atEnd] = succeeded(await child.exited)
      .trim()
      .split(" ");
    console.log(`note: ${left} of 6 were killed between making a queue and removing its name`);
    expect([enough, atEnd]).toEqual(["true", "0"]);
    expect(readdirSync(where)).toEqual([]);
  },
  120_000 * slower,
);
