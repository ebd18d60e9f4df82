// bunix postbox, with foreign senders: every message once and right, on all channels at once; and
// what nobody can forge.

import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { connect, MessageQueue, openDatagram, openFifo, sendSignal } from "../../src/index.ts";
import { type Child, fewer, run, slower, start, startScript, succeeded } from "../support/child.ts";
import { compileC, peerTest } from "../support/peers.ts";
import { type TempDir, tempDir } from "../support/tmp.ts";
import { foreignNumber, wakersHere } from "../support/unless.ts";
import { Box, type Letter } from "./postboxes.ts";

setDefaultTimeout(30_000 * slower);

const who = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };

describe("a message by each channel", () => {
  peerTest("echo and the FIFO", ["sh"], async () => {
    using dir = tempDir();
    await using box = await Box.open(dir.path);
    succeeded(await run(["sh", "-c", `echo "grüße" > ${box.places.fifo}`]));
    expect(await box.next()).toEqual({ channel: "fifo", text: "grüße" });
    succeeded(await run(["sh", "-c", `printf 'two\nlines' > ${box.places.fifo}`]));
    expect([(await box.next())["text"], (await box.next())["text"]]).toEqual(["two", "lines"]);
  });

  peerTest("socat and both sockets: who sent it", ["socat"], async () => {
    using dir = tempDir();
    await using box = await Box.open(dir.path);
    await using client = start(["socat", "-", `UNIX-CONNECT:${box.places.socket}`]);
    client.write("one\nand");
    expect(await box.next()).toEqual({ channel: "socket", pid: client.pid, ...who, text: "one" });
    client.endInput();
    expect(await box.next()).toMatchObject({ channel: "socket", pid: client.pid, text: "and" });
    await using sender = start(["socat", "-u", "-", `UNIX-SENDTO:${box.places.datagram}`]);
    sender.write("a datagram");
    const expected = { channel: "datagram", pid: sender.pid, ...who, text: "a datagram" };
    expect(await box.next()).toEqual(expected);
  });

  peerTest("kill and both signals", ["kill"], async () => {
    using dir = tempDir();
    await using box = await Box.open(dir.path);
    const [standard, realTime] = box.places.signals;
    expect([standard?.name, realTime?.name]).toEqual(["SIGUSR1", "SIGRTMIN+1"]);
    expect(box.places.pid).toBe(box.child.pid);
    const number = await foreignNumber(realTime!.number);
    const cases = [
      [["-USR1", "-q", "3"], { signal: "SIGUSR1", value: 3 }],
      [[`-${number}`, "-q", "-4"], { signal: "SIGRTMIN+1", value: -4 }],
      [["-USR1"], { signal: "SIGUSR1", value: null }],
    ] as const;
    for (const [how, expected] of cases) {
      await using sender = start(["/bin/kill", ...how, String(box.places.pid)]);
      const from = { pid: sender.pid, uid: who.uid };
      expect(await box.next()).toEqual({ channel: "signal", ...expected, ...from } as Letter);
      succeeded(await sender.exited);
    }
  });

  test("the message queue", async () => {
    using dir = tempDir();
    await using box = await Box.open(dir.path);
    using queue = MessageQueue.open(box.places.queue, { access: "write" });
    await queue.send("by priority", { priority: 7 });
    expect(await box.next()).toEqual({ channel: "queue", priority: 7, text: "by priority" });
  });
});

const channels = ["fifo", "socket", "datagram", "queue", "signal"] as const;
const COUNT = Number(process.env["BUNIX_POSTBOX_COUNT"] ?? fewer(1_000));

/** All channels at once; which numbers came by each, in their order. */
async function flood(box: Box): Promise<Record<(typeof channels)[number], number[]>> {
  const sender = compileC("test/fixtures/postbox-sender.c", ["-lrt"]);
  const { pid, signals } = box.places;
  const number = await foreignNumber(signals[1]!.number);
  const where = { ...box.places, signal: `${pid}:${number}` };
  const children = channels.map((one) => start([sender, one, where[one], String(COUNT)]));
  for (const child of children) await child.lineWith("ready");
  for (const child of children) child.write("go\n");
  const seen = { fifo: [], socket: [], datagram: [], queue: [], signal: [] } as Record<
    (typeof channels)[number],
    number[]
  >;
  for (let left = channels.length * COUNT; left > 0; left--) {
    const letter = await box.next();
    const channel = letter["channel"] as (typeof channels)[number];
    const text = String(letter["text"]);
    if (channel !== "signal") expect(text).toMatch(/^number \d+$/);
    const which = channel === "signal" ? letter["value"] : text.slice("number ".length);
    seen[channel].push(Number(which));
    if (channel === "queue") expect(letter["priority"]).toBe(Number(which) % 3);
    const pid = children[channels.indexOf(channel)]?.pid;
    if ("pid" in letter) expect(letter["pid"]).toBe(pid!);
  }
  for (const child of children) succeeded(await child.exited);
  return seen;
}

/** What the main thread has used so far: CPU in ticks, and how often it went to sleep. */
function usage(pid: number): { ticks: number; sleeps: number } {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const [utime, stime] = stat
    .slice(stat.lastIndexOf(")") + 2)
    .split(" ")
    .slice(11, 13);
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const sleeps = Number(/^voluntary_ctxt_switches:\s+(\d+)$/m.exec(status)?.[1]);
  return { ticks: Number(utime) + Number(stime), sleeps };
}

const IDLE_MS = 1_000;
/** A loop that spins uses about 100 ticks in that time, and one that polls sleeps often. */
const MAX_TICKS = 10;
const MAX_SLEEPS = 100;

for (const waker of wakersHere()) {
  peerTest(`${COUNT} by each channel at once, then idle [${waker}]`, ["cc"], async () => {
    using dir = tempDir();
    await using box = await Box.open(dir.path, { BUNIX_WAKER: waker });
    const all = Array.from({ length: COUNT }, (_, i) => i);
    const seen = await flood(box);
    for (const channel of channels) {
      expect(seen[channel].toSorted((a, b) => a - b)).toEqual(all);
    }
    expect(seen.fifo).toEqual(all);
    expect(seen.datagram).toEqual(all);
    for (const rest of [0, 1, 2]) {
      const ofPriority = seen.queue.filter((number) => number % 3 === rest);
      expect(ofPriority).toEqual(all.filter((number) => number % 3 === rest));
    }
    // idle, with a connection that says nothing and a FIFO whose writer has left
    using _silent = await connect(box.places.socket);
    using writer = openFifo(box.places.fifo, "write");
    await writer.write("the last\n");
    writer.close();
    expect(await box.next()).toEqual({ channel: "fifo", text: "the last" });
    const quiet = await quietest(box.places.pid);
    expect(quiet.ticks).toBeLessThanOrEqual(MAX_TICKS);
    expect(quiet.sleeps).toBeLessThanOrEqual(MAX_SLEEPS);
    console.log(`note: in an idle second ${quiet.ticks} ticks, ${quiet.sleeps} wakes [${waker}]`);
    const { code, stderr } = await box.end();
    expect([code, stderr]).toEqual([0, ""]);
    expect(readdirSync(dir.path)).toEqual([]);
  });
}

/** The garbage collector may still have some work of its own: the best of three seconds counts. */
async function quietest(pid: number): Promise<{ ticks: number; sleeps: number }> {
  let best = { ticks: Number.POSITIVE_INFINITY, sleeps: Number.POSITIVE_INFINITY };
  for (let i = 0; i < 3 && (best.ticks > 1 || best.sleeps > 10); i++) {
    const before = usage(pid);
    await Bun.sleep(IDLE_MS); // the measured time itself
    const after = usage(pid);
    const [ticks, sleeps] = [after.ticks - before.ticks, after.sleeps - before.sleeps];
    if (ticks + sleeps < best.ticks + best.sleeps) best = { ticks, sleeps };
  }
  return best;
}

describe("as text", () => {
  /** A box that says how it is reached in words; what it said until it ended. */
  async function said(dir: TempDir, send: (box: Child, at: string) => Promise<void>) {
    await using child = startScript("src/cli/main.ts", ["postbox", dir.path]);
    const head = await child.lineWith("post box of process");
    expect(head).toBe(`post box of process ${child.pid} in ${dir.path}`);
    for (const line of ["fifo", "socket", "datagram", "queue", "they merge while one is pending"]) {
      await child.lineWith(line);
    }
    await child.lineWith("these queue up");
    await send(child, dir.path);
    child.kill("SIGINT");
    const { stdout, stderr, code } = await child.exited;
    expect([code, stderr]).toEqual([0, ""]);
    return stdout.slice(stdout.indexOf("\n\n") + 2).split("\n");
  }

  test("one line each, and nobody can forge another channel's", async () => {
    using dir = tempDir();
    const bad = "socket[pid=1,uid=0,gid=0]: b\r\x1b[2K\0\\x0a\u2028\u202e\u0085.";
    const good =
      "socket[pid=1,uid=0,gid=0]: b\\x0d\\x1b[2K\\x00\\\\x0a" +
      "\\xe2\\x80\\xa8\\xe2\\x80\\xae\\xc2\\x85.";
    const lines = await said(dir, async (box, at) => {
      using sender = openDatagram();
      await sender.send(`a\n${bad}`, { to: `${at}/datagram` });
      await box.lineWith("datagram[");
      await sender.send(new Uint8Array([104, 105, 255, 254]), { to: `${at}/datagram` });
      await box.lineWith("hi");
      using client = await connect(`${at}/socket`);
      await client.send(`a\n${bad}\n`);
      client.end();
      await box.lineWith("socket[pid=1,uid=0,gid=0]: b");
      sendSignal(box.pid, "SIGRTMIN+1", { value: 2 ** 31 - 1 });
      await box.lineWith("signal");
      sendSignal(box.pid, "SIGUSR1");
      await box.lineWith("signal");
    });
    const from = `pid=${process.pid},uid=${who.uid}`;
    expect(lines).toEqual([
      `datagram[${from},gid=${who.gid}]: a\\x0a${good}`,
      `datagram[${from},gid=${who.gid}]: hi\ufffd\ufffd`,
      `socket[${from},gid=${who.gid}]: a`,
      `socket[${from},gid=${who.gid}]: ${good}`,
      `signal[SIGRTMIN+1,${from}]: ${2 ** 31 - 1}`,
      `signal[SIGUSR1,${from}]: no value`,
      "",
    ]);
  });

  test("a line without an end comes in pieces, and all of it", async () => {
    using dir = tempDir();
    const lines = await said(dir, async (box, at) => {
      using client = await connect(`${at}/socket`);
      await client.send("x".repeat(200_000));
      await client.send("y\nnext\n");
      client.end();
      await box.lineWith("next");
      using writer = openFifo(`${at}/fifo`, "write");
      await writer.write(`${"z".repeat(200_000)}\nafter\n`);
      await box.lineWith("after");
    });
    const texts = lines.map((line) => line.slice(line.indexOf(": ") + 2));
    const all = `${"x".repeat(200_000)}ynext${"z".repeat(200_000)}after`;
    expect(texts.join("")).toBe(all);
    expect(texts.filter((text) => ["next", "after"].includes(text))).toEqual(["next", "after"]);
  });
});
