// Channels whose other ends are Python (test/fixtures/channel-peer.py), which writes and reads at
// random boundaries, and C (test/fixtures/channel-peer.c).
// time limit: 600 s

import { expect } from "bun:test";
import { readSync } from "node:fs";
import { type Channel, type Fd, openChannel, RemoteError, socketPair } from "../../src/index.ts";
import { leakFree, marked, turns } from "../api/tools.ts";
import { fewer, start } from "../support/child.ts";
import { compileC, peerTest } from "../support/peers.ts";

/** Messages in each direction; BUNIX_CHANNEL_MESSAGES=100000 for the long run. */
const MESSAGES = Number(process.env["BUNIX_CHANNEL_MESSAGES"] ?? fewer(1500));
/** What hangs is killed: some 4 ms for a message, on a machine that is busy. */
const LIMIT_MS = Math.max(600_000, MESSAGES * 40);
const kinds = ["stream", "seqpacket"] as const;

interface Numbered {
  readonly i: number;
  readonly fds: readonly Fd[];
  readonly pad: string;
}

interface Both {
  readonly channel: Channel<Numbered, unknown>;
  readonly child: ReturnType<typeof start>;
}

type Type = (typeof kinds)[number];

const withPeer = (type: Type, args: readonly string[]): Both =>
  withProgram(type, ["python3", "test/fixtures/channel-peer.py", ...args]);

const withC = (type: Type, args: readonly string[]): Both =>
  withProgram(type, [compileC("test/fixtures/channel-peer.c"), ...args]);

function withProgram(type: Type, command: readonly string[]): Both {
  const [near, far] = socketPair(type, { maxMessageBytes: 1 << 20 });
  const theirs = far.release();
  theirs.nonBlocking = false;
  const child = start(command, { fds: [theirs.fd], timeoutMs: LIMIT_MS });
  theirs.close();
  return { channel: openChannel<Numbered, unknown>(near), child };
}

const seedOf = (): number => Math.floor(Math.random() * 2 ** 31);

function textOf(fd: Fd): string {
  const bytes = new Uint8Array(100);
  return Buffer.from(bytes.subarray(0, readSync(fd.fd, bytes, 0, 100, 0))).toString();
}

/** The child answers requests with themselves, one with an error, and ends with the channel. */
async function requests({ channel, child }: Both): Promise<void> {
  const answers = await Promise.all(
    Array.from({ length: 200 }, async (_, i) => {
      using fd = marked(`request ${i}`);
      using answer = await channel.request({ i, fds: [fd], pad: "" });
      return answer.value.i === i && textOf(answer.value.fds[0]!) === `request ${i}`;
    }),
  );
  expect(answers.filter((right) => !right)).toEqual([]);
  const error = await channel.request("fail").catch((reason) => reason);
  expect(error).toBeInstanceOf(RemoteError);
  expect([error.message, error.code]).toEqual(["no", "ENO"]);
  channel.close();
  expect(await child.exited).toMatchObject({ stderr: "", code: 0 });
}

for (const type of kinds) {
  peerTest(
    `${type}: both directions at once, descriptors in their messages`,
    ["python3"],
    () =>
      leakFree(async () => {
        const seed = seedOf();
        console.log(`note: ${type}: seed ${seed}`);
        const args = ["exchange", String(seed), String(MESSAGES)];
        const { channel, child } = withPeer(type, args);
        let received = 0;
        const receiving = channel.consume(({ value }) => {
          expect(value.i).toBe(received);
          expect(value.fds.map(textOf)).toEqual(value.fds.map((_, n) => `${received}:${n}`));
          received++;
        });
        for (let i = 0; i < MESSAGES; i++) {
          const count = Math.random() < 0.5 ? Math.floor(Math.random() * 9) : 0;
          const size = Math.random() < 0.95 ? Math.random() * 300 : Math.random() * 200_000;
          const fds = Array.from({ length: count }, (_, n) => marked(`${i}:${n}`));
          await channel.send({ i, fds, pad: "é".repeat(size / 2) });
          for (const fd of fds) fd.close();
        }
        const { stdout, stderr, code } = await child.exited;
        expect({ stdout, stderr, code }).toEqual({
          stdout: `right ${MESSAGES}\n`,
          stderr: "",
          code: 0,
        });
        await receiving;
        expect(received).toBe(MESSAGES);
        channel.close();
        await turns();
      }),
    LIMIT_MS,
  );

  peerTest(`${type}: requests, answers with descriptors, errors`, ["python3"], () =>
    leakFree(async () => {
      await requests(withPeer(type, ["serve", String(seedOf())]));
    }),
  );

  peerTest(`${type}: C: messages of all sizes come back, requests are answered`, ["cc"], () =>
    leakFree(async () => {
      const both = withC(type, ["serve"]);
      const { channel } = both;
      for (const size of [0, 1, 1000, 70_000, 300_000]) {
        using fd = marked(String(size));
        const sending = channel.send({ i: size, fds: [fd], pad: "x".repeat(size) });
        using message = (await channel.receive())!;
        await sending;
        const { i, fds, pad } = message.value;
        expect([i, textOf(fds[0]!), pad.length]).toEqual([size, String(size), size]);
      }
      await requests(both);
    }),
  );

  peerTest(`${type}: C asks, and cancels`, ["cc"], () =>
    leakFree(async () => {
      const { channel, child } = withC(type, ["ask", "300"]);
      const serving = channel.serve(({ value }, { signal }) => {
        if ((value as unknown) !== "wait") return value;
        return new Promise((_, fail) =>
          signal.addEventListener("abort", () => fail(signal.reason)),
        );
      });
      const said = { stdout: "right 300, the last one failed\n", stderr: "", code: 0 };
      expect(await child.exited).toMatchObject(said);
      await serving;
      channel.close();
    }),
  );
}
