// Whole messages to a child and back: ours against the same bytes without a channel, and against
// Bun's and node's own IPC. Parent and child share a processor.

import { openSync } from "node:fs";
import { join } from "node:path";
import { Fd } from "../src/index.ts";
import { spawn } from "../src/spawn.ts";
import { type Contenders, folder, interleave, output, report, scaled } from "./harness.ts";

const command = (kind: string, work: string): string[] => [
  process.execPath,
  join(folder, "servers/channel.ts"),
  kind,
  work,
];
type Work = "take" | "answer";

const file = Fd.adopt(openSync("/dev/null", "r"));

/** Messages until nothing is compiled any more: some 20,000, whatever they are. */
const WARM_UP = scaled(30_000);

/** Nanoseconds per message, once both ends are warm. */
async function timed(count: number, run: (count: number) => Promise<void>): Promise<number> {
  await run(WARM_UP);
  const begin = Bun.nanoseconds();
  await run(count);
  return (Bun.nanoseconds() - begin) / count;
}

/** Requests that are asked for before the first answer is awaited. */
const AT_ONCE = 50;
/** Bytes that wait here before the sender waits, too. */
const AHEAD = 256 * 1024;

type Value = object | Uint8Array;

/** So many sent, then one that is answered. `together`: without waiting for each. */
async function ours(work: Work, count: number, value: Value, together = false): Promise<number> {
  const bytes = value instanceof Uint8Array;
  const options = { messages: { codec: bytes ? "bytes" : "json" } } as const;
  await using child = spawn(command(bytes ? "bytes" : "messages", work), { channel: options });
  const { messages } = child;
  return await timed(count, async (some) => {
    if (work === "answer") {
      for (let i = 0; i < some; i += together ? AT_ONCE : 1) {
        const asked = Array.from({ length: together ? AT_ONCE : 1 }, () => messages.request(value));
        for (const one of asked) (await one).close();
      }
      return;
    }
    for (let i = 0; i < some; i++) {
      if (!together && messages.trySend(value)) continue;
      const sent = messages.send(value);
      if (!together || messages.queuedBytes > AHEAD) await sent;
    }
    await messages.send(bytes ? "0" : 0);
    await messages.receive();
  });
}

/** The same bytes over the same socket, without a channel. */
async function raw(work: Work, count: number, data: string | Uint8Array, fd?: Fd): Promise<number> {
  await using child = spawn(command("raw", work), { channel: true });
  const { channel } = child;
  const options = fd === undefined ? undefined : { fds: [fd] };
  return await timed(count, async (some) => {
    for (let i = 0; i < some; i++) {
      if (channel.trySend(data, options) === null) await channel.send(data, options);
      if (work === "answer") (await channel.receive())?.close();
    }
    if (work === "answer") return;
    await channel.send("0");
    await channel.receive();
  });
}

/** The same with JSON written before each send and parsed after each receive: what a user does. */
async function rawJson(work: Work, count: number, value: object, fd?: Fd): Promise<number> {
  await using child = spawn(command("raw-json", work), { channel: true });
  const { channel } = child;
  const options = fd === undefined ? undefined : { fds: [fd] };
  return await timed(count, async (some) => {
    for (let i = 0; i < some; i++) {
      const text = JSON.stringify(value);
      if (channel.trySend(text, options) === null) await channel.send(text, options);
      if (work === "answer") (await channel.receive())?.json();
    }
    if (work === "answer") return;
    await channel.send("0");
    await channel.receive();
  });
}

/** What writing and reading the JSON alone takes, in one process. */
function floor(count: number, value: object): Promise<number> {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  const room = Buffer.alloc(64 * 1024);
  let last: unknown;
  const run = async (some: number): Promise<void> => {
    for (let i = 0; i < some; i++) {
      const bytes = room.write(JSON.stringify(value));
      last = JSON.parse(decoder.decode(room.subarray(0, bytes)));
    }
  };
  return timed(count, run).finally(() => last);
}

async function ipc(work: Work, count: number, value: object, atOnce = 1): Promise<number> {
  let missing = 0;
  let all: () => void = () => {};
  const got = (): void => void (--missing === 0 && all());
  const next = (): Promise<void> => new Promise((resolve) => (all = resolve));
  const child = Bun.spawn(command("ipc", work), {
    ipc: got,
    serialization: "json",
    stdio: ["ignore", "inherit", "inherit"],
  });
  const result = await timed(count, async (some) => {
    for (let i = 0; i < some; i += atOnce) {
      missing = atOnce;
      const coming = work === "answer" ? next() : null;
      for (let k = 0; k < atOnce; k++) child.send(value);
      await coming;
    }
    if (work === "answer") return;
    missing = 1;
    const coming = next();
    child.send(0);
    await coming;
  });
  child.disconnect();
  await child.exited;
  return result;
}

const node = (work: Work, count: number, size: number): number => {
  const script = join(folder, "peers/node/ipc.mjs");
  return Number(output(["node", script, work, String(count), String(size)]));
};

for (const work of ["take", "answer"] as const) {
  for (const size of [64, 4096]) {
    const count = scaled(work === "take" ? 30_000 : 10_000);
    const value = { i: 1, pad: "x".repeat(size - 16) };
    const text = JSON.stringify(value);
    const bytes = new Uint8Array(size);
    const both = { ...value, fd: file };
    const contenders: Contenders = {
      "channel, JSON": () => ours(work, count, value),
      "channel, JSON, together": () => ours(work, count, value, true),
      "trySend and consume, JSON": () => raw(work, count, text),
      "stringify, trySend, parse": () => rawJson(work, count, value),
      "channel, bytes": () => ours(work, count, bytes),
      "channel, bytes, together": () => ours(work, count, bytes, true),
      "trySend and consume, bytes": () => raw(work, count, bytes),
      "channel, a descriptor": () => ours(work, count, both),
      "trySend and consume, a descriptor": () => raw(work, count, text, file),
      "stringify, trySend, fd, parse": () => rawJson(work, count, value, file),
      "JSON there and back in one process": () => floor(count, value),
      "Bun's IPC": () => ipc(work, count, value),
    };
    if (work === "answer") {
      contenders["Bun's IPC, together"] = () => ipc(work, count, value, AT_ONCE);
    }
    if (Bun.which("node") !== null) contenders["node's IPC"] = () => node(work, count, size);
    const taken = await interleave(contenders);
    const what = work === "take" ? "one way" : "request and answer";
    const rates = Object.fromEntries(
      Object.entries(taken).map(([name, all]) => [name, all.map((ns) => 1e9 / ns)]),
    );
    const together = work === "take" ? "Bun's IPC" : "Bun's IPC, together";
    report({ work: `messages of ${size} bytes to a child, ${what}`, unit: "messages/s" }, rates, [
      ["channel, JSON", "trySend and consume, JSON", 0.9],
      ["channel, JSON, together", "trySend and consume, JSON", 0.9],
      ["channel, JSON", "stringify, trySend, parse", 0.9],
      ["channel, bytes", "trySend and consume, bytes", 0.9],
      ["channel, bytes, together", "trySend and consume, bytes", 0.9],
      ["channel, a descriptor", "trySend and consume, a descriptor", 0.9],
      ["channel, a descriptor", "stringify, trySend, fd, parse", 0.9],
      ["channel, JSON", "Bun's IPC", 2],
      ["channel, JSON, together", together, 2],
      ...("node's IPC" in taken ? [["channel, JSON", "node's IPC", 2] as const] : []),
      ...("node's IPC" in taken ? [["channel, JSON, together", "node's IPC", 2] as const] : []),
    ]);
  }
}
