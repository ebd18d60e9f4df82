// SIGKILL in mid-conversation: the survivor sees a correct beginning of what was sent, then an end
// or a reset; nothing hangs and nothing leaks.

import { expect, test } from "bun:test";
import { crc32 } from "node:zlib";
import { type Fd, type Listener, listen, UnixError } from "../../src/index.ts";
import { type AnySocket, freshAddress, freshPath } from "../api/pairs.ts";
import { closeAll, leakFree, markOf } from "../api/tools.ts";
import { type Child, slower, start, startScript } from "../support/child.ts";
import { peerTest } from "../support/peers.ts";
import { rounds } from "../support/rounds.ts";

/** A generator that gives the same numbers each run; a failure names its round. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1_664_525 + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Checks the messages of one talker as their bytes come. */
class Checker {
  #rest: Buffer = Buffer.alloc(0);
  readonly #fds: Fd[] = [];
  /** Whole messages so far. */
  count = 0;

  take(data: Uint8Array, fds: Fd[]): void {
    this.#fds.push(...fds);
    this.#rest = Buffer.concat([this.#rest, data]);
    while (this.#rest.length >= 12) {
      const bytes = this.#rest.readUInt32LE(4);
      if (this.#rest.length < 12 + bytes) return;
      this.#check(this.#rest.subarray(12, 12 + bytes));
      this.#rest = this.#rest.subarray(12 + bytes);
    }
  }

  #check(body: Buffer): void {
    const number = this.#rest.readUInt32LE(0);
    if (number !== this.count) throw new Error(`message ${number} where ${this.count} was due`);
    if (crc32(body) !== this.#rest.readUInt32LE(8)) throw new Error(`message ${number} is damaged`);
    this.count += 1;
    if (number % 3 !== 0) return;
    const fd = this.#fds.shift();
    if (fd === undefined) throw new Error(`the descriptor of message ${number} is missing`);
    const mark = markOf(fd);
    fd.close();
    if (mark !== `${number}`) throw new Error(`descriptor ${mark} came with message ${number}`);
  }

  /** After the end: a packet is never half there; descriptors only of a message cut in two. */
  finish(packets: boolean): void {
    if (packets && this.#rest.length > 0) throw new Error("half a packet");
    if (this.#fds.length > (this.#rest.length > 0 ? 1 : 0)) throw new Error("stray descriptors");
    closeAll(this.#fds);
  }
}

const ends = ["ECONNRESET", "EPIPE"];

/** After an error: whatever still comes must be right, too; at most one reset is among it. */
async function drain(socket: AnySocket, checker: Checker): Promise<void> {
  for (let resets = 0; ; ) {
    try {
      const message = await socket.receive();
      if (message === null) return;
      checker.take(message.data, message.takeFds());
    } catch (error) {
      if ((error as UnixError).code !== "ECONNRESET" || resets++ > 0) throw error;
    }
  }
}

/** Read to the end, saying something now and then; kill after `after` messages. */
async function survive(
  socket: AnySocket,
  { after, kill, close }: { after: number; kill: () => void; close: boolean },
): Promise<number> {
  const checker = new Checker();
  let killed = false;
  const packets = socket.type !== "stream";
  try {
    for (;;) {
      if (!killed && checker.count >= after) {
        kill();
        killed = true;
        if (close) break; // we go away at the same time
      }
      const message = await socket.receive();
      if (message === null) break;
      checker.take(message.data, message.takeFds());
      // with a descriptor now and then, which nobody may leak; never waiting for the victim
      if (checker.count % 5 === 0) socket.trySend("go on", { fds: [0] });
    }
  } catch (error) {
    if (!(error instanceof UnixError) || !ends.includes(error.code)) throw error;
    if (!killed) kill();
    await drain(socket, checker);
  }
  checker.finish(packets);
  return checker.count;
}

async function pythonRounds(type: "stream" | "seqpacket"): Promise<void> {
  const address = type === "stream" ? freshPath() : freshAddress("abstract");
  using server: Listener = listen(address, { type });
  await using talker = start(["python3", "test/fixtures/talker.py", type, address], {
    timeoutMs: 150_000,
  });
  const next = random(500);
  let messages = 0;
  const done = await rounds({ atLeast: 40, seconds: 2 }, async (round) => {
    talker.write("talk\n");
    const pid = Number(await talker.line());
    using socket = await server.accept();
    const kill = (): void => void process.kill(pid, "SIGKILL");
    const plan = { after: Math.floor(next() * 20), kill, close: next() < 0.2 };
    messages += await survive(socket, plan).catch((error) => {
      throw new Error(`round ${round}: ${error}`, { cause: error });
    });
    socket.close();
    talker.write(`wait ${pid}\n`);
    expect(await talker.line()).toBe("reaped");
  });
  expect(messages).toBeGreaterThan(done);
  console.log(`note: ${done} killed, ${type}`);
}

for (const type of ["stream", "seqpacket"] as const) {
  const name = `peers killed on a ${type} socket, one after the other`;
  peerTest(name, ["python3"], () => leakFree(() => pythonRounds(type)), 120_000);
}

for (const type of ["stream", "seqpacket"] as const) {
  test(
    `processes with this library killed on a ${type} socket`,
    () =>
      leakFree(async () => {
        const address = freshAddress("abstract");
        using server: Listener = listen(address, { type });
        const next = random(7);
        await rounds({ atLeast: 5, seconds: 1 }, async (round) => {
          const victim: Child = startScript("test/fixtures/victim.ts", [type, address]);
          using socket = await server.accept();
          const kill = (): void => victim.kill("SIGKILL");
          const after = Math.floor(next() * 300);
          const count = await survive(socket, { after, kill, close: round % 5 === 4 });
          expect(count).toBeGreaterThanOrEqual(after);
          expect((await victim.exited).signal).toBe("SIGKILL");
        });
      }),
    60_000 * slower,
  );
}
