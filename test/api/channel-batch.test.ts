// Messages of one turn: they go out together, in their order, each with an outcome of its own.

import { describe, expect, setDefaultTimeout, test } from "bun:test";
import {
  type Channel,
  openChannel,
  type SeqpacketSocket,
  type StreamSocket,
  socketPair,
} from "../../src/index.ts";
import { slower, start } from "../support/child.ts";
import { peerTest } from "../support/peers.ts";
import { codeOf, leakFree, marked, markOf, turns } from "./tools.ts";

setDefaultTimeout(30_000 * slower);

const types = ["stream", "seqpacket"] as const;
type Type = (typeof types)[number];
type Socket = StreamSocket | SeqpacketSocket;
type Value = Record<string, unknown>;

const pair = (type: Type): [Socket, Socket] => socketPair(type, { passCredentials: false });
const open = (socket: Socket): Channel<Value, unknown> => openChannel<Value, unknown>(socket);

/** How many whole frames of `bytes` bytes stand in what can be received now. */
function receivable(socket: Socket, bytes: number): number {
  let all = 0;
  for (let one = socket.tryReceive(); one; one = socket.tryReceive()) all += one.data.length;
  return Math.floor(all / bytes);
}

describe.each(types.map((type) => [type] as const))("%s", (type) => {
  test("the first goes at once, the rest of the turn in one piece", () =>
    leakFree(async () => {
      const [near, raw] = pair(type);
      const a = open(near);
      const sent = Array.from({ length: 100 }, (_, n) => a.send({ n }));
      using first = raw.tryReceive();
      expect(Buffer.from(first!.data.subarray(12)).toString()).toBe('{"n":0}');
      expect(raw.tryReceive()).toBeUndefined();
      await Promise.all(sent);
      using rest = raw.tryReceive();
      expect(rest!.data.length).toBe(10 * (12 + 7) + 90 * (12 + 8) - (12 + 7));
      expect(a.queuedBytes).toBe(0);
      a.close();
      raw.close();
    }));

  test("all kinds of sends in one turn keep their order", () =>
    leakFree(async () => {
      const [near, far] = pair(type);
      const [a, b] = [open(near), open(far)];
      using fd = marked("x");
      const { signal } = new AbortController();
      const sent: unknown[] = [];
      for (let n = 0; n < 300; n += 6) {
        sent.push(a.send({ n }), a.send({ n: n + 1 }), a.send({ n: n + 2, fd }));
        sent.push(a.send({ n: n + 3 }, { signal }), a.send({ n: n + 4, pad: "x".repeat(40_000) }));
        sent.push(a.trySend({ n: n + 5 }) || a.send({ n: n + 5 }));
      }
      for (let n = 0; n < 300; n++) {
        using message = (await b.receive())!;
        expect(message.value["n"]).toBe(n);
        expect(message.fds.map(markOf)).toEqual(n % 6 === 2 ? ["x"] : []);
      }
      await Promise.all(sent);
      a.close();
      b.close();
    }));

  test("what was sent before close(), end() or a disposal goes out", () =>
    leakFree(async () => {
      const ways = ["close", "end", Symbol.asyncDispose] as const;
      for (const way of ways) {
        const [near, far] = pair(type);
        const [a, b] = [open(near), open(far)];
        for (let n = 0; n < 10; n++) void a.send({ n });
        void a[way]();
        let got = 0;
        await b.consume(({ value }) => expect(value["n"]).toBe(got++));
        expect(got).toBe(10);
        a.close();
        b.close();
      }
    }));

  test("a message is called sent only if the kernel has all of it", () =>
    leakFree(async () => {
      const [near, raw] = pair(type);
      const a = open(near);
      const bytes = 12 + 5000;
      const pad = "x".repeat(5000 - 2);
      const outcomes = Array.from({ length: 400 }, () => "");
      const sending = outcomes.map((_, i) =>
        a.send(pad as never).then(
          () => (outcomes[i] = "sent"),
          (error) => (outcomes[i] = error.code),
        ),
      );
      await turns();
      const sent = outcomes.filter((one) => one === "sent").length;
      expect(sent).toBeGreaterThan(0);
      expect(sent).toBeLessThan(400);
      expect(outcomes.slice(0, sent).every((one) => one === "sent")).toBe(true);
      expect(receivable(raw, bytes)).toBeGreaterThanOrEqual(sent);
      raw.close();
      await Promise.all(sending);
      expect(outcomes.filter((one) => one === "")).toEqual([]);
      expect(["EPIPE", "ECONNRESET"]).toContain(outcomes.at(-1)!);
      a.close();
    }));

  test("sends after the peer has left fail, each of them", () =>
    leakFree(async () => {
      const [near, raw] = pair(type);
      const a = open(near);
      raw.close();
      const codes = await Promise.all([1, 2, 3].map((n) => codeOf(() => a.send({ n }))));
      expect(codes).toEqual(["EPIPE", "EPIPE", "EPIPE"]);
      a.close();
      expect(await codeOf(() => a.send({}))).toBe("ERR_CLOSED");
    }));

  test("a handler that turns the loop while others receive", () =>
    leakFree(async () => {
      const [near, far] = pair(type);
      const [other, another] = pair(type);
      const [a, b, c, d] = [open(near), open(far), open(other), open(another)];
      const got: unknown[] = [];
      let others = 0;
      const ends = [
        d.consume(() => void others++),
        b.consume(({ value }) => {
          got.push(value["n"]);
          if (got.length > 1) return;
          void c.send({ n: "another" });
          expect(Bun.sleep(1).then(() => Promise.reject(new Error("x")))).rejects.toThrow("x");
        }),
      ];
      for (let n = 0; n < 50; n++) void a.send({ n });
      await a[Symbol.asyncDispose]();
      await ends[1];
      expect(got).toEqual(Array.from({ length: 50 }, (_, n) => n));
      await c[Symbol.asyncDispose]();
      await ends[0];
      expect(others).toBe(1);
      b.close();
      d.close();
    }));

  peerTest("credentials are a message's if all of its frames have the same", ["python3"], () =>
    leakFree(async () => {
      const [near, far] = socketPair(type, { passCredentials: true });
      const theirs = far.release();
      theirs.nonBlocking = false;
      const child = start(["python3", "-c", twoSenders], { fds: [theirs.fd] });
      theirs.close();
      const b = open(near);
      const pids: unknown[] = [];
      await b.consume(({ value, credentials }) => {
        pids.push([value, credentials?.pid]);
      });
      const { stdout, code } = await child.exited;
      const [first, second] = stdout.split(" ").map(Number);
      expect([pids, code]).toEqual([
        [
          ["both by the first", first],
          ["by one and the other", undefined],
          ["by the second", second],
          ["both by the second", second],
          ["by the first", first],
        ],
        0,
      ]);
      b.close();
    }),
  );
});

/** Two processes that have the same socket, and take turns. */
const twoSenders = `
import json, os, socket, struct
sock = socket.socket(fileno=3)
def frame(text, more): return struct.pack("<IHBBI", len(text), 0, 0, more, 0) + text
def halves(text):
    whole = json.dumps(text).encode()
    return frame(whole[:5], 1), frame(whole[5:], 0)
for_second, for_first = os.pipe(), os.pipe()
def wait(pipe): os.read(pipe[0], 1)
def turn(pipe): os.write(pipe[1], b"x")
second = os.fork()
mixed = halves("by one and the other")
if second == 0:
    wait(for_second)
    sock.send(mixed[1])
    sock.send(frame(b'"by the second"', 0))
    for half in halves("both by the second"): sock.send(half)
    turn(for_first)
    os._exit(0)
for half in halves("both by the first"): sock.send(half)
sock.send(mixed[0])
turn(for_second)
wait(for_first)
sock.send(frame(b'"by the first"', 0))
os.waitpid(second, 0)
print(os.getpid(), second)
`;
