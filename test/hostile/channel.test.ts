// A channel whose other end keeps to nothing: garbage, lengths, counts, depth, numbers, descriptors
// that belong to no message, floods, silence. Each ends in an error with a code, leaving nothing.
//
// BUNIX_HOSTILE_SEED repeats a run that failed, BUNIX_HOSTILE_COUNT makes it longer.

import { describe, expect, test } from "bun:test";
import {
  type Channel,
  type ChannelOptions,
  Fd,
  openChannel,
  type SeqpacketSocket,
  type StreamSocket,
  socketPair,
  UnixError,
} from "../../src/index.ts";
import { frame, kind, vectors } from "../api/channel-frames.ts";
import { codeOf, eventually, leakFree, marked, openFds, thrown, turns } from "../api/tools.ts";
import { fewer } from "../support/child.ts";
import { settledMebibytes } from "./peers.ts";

const SEED = Number(process.env["BUNIX_HOSTILE_SEED"] ?? 1 + Math.floor(Math.random() * 2 ** 31));
const COUNT = Number(process.env["BUNIX_HOSTILE_COUNT"] ?? fewer(300));
const MAX_GROWN_MEBIBYTES = 100;

console.log(`note: BUNIX_HOSTILE_SEED=${SEED}`);

const types = ["stream", "seqpacket"] as const;
type Raw = StreamSocket | SeqpacketSocket;

/** A generator of numbers from 0 to below 1 (mulberry32), so that a seed repeats a run. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

function against(type: (typeof types)[number], options: ChannelOptions = {}): [Channel, Raw] {
  const [near, far] = socketPair(type);
  return [openChannel(near, options), far];
}

/** What a server and consumer says of what `raw` sends. */
async function outcome(
  type: (typeof types)[number],
  attack: (raw: Raw) => unknown,
  options: ChannelOptions = {},
): Promise<string> {
  const [channel, raw] = against(type, options);
  const serving = channel.serve(({ value }) => value).catch(() => {});
  const said = channel
    .consume(() => {})
    .then(
      () => "the end",
      (error: unknown) => (error instanceof UnixError ? error.code : String(error)),
    );
  const asked = channel.request("x").then(
    () => "answered",
    (error: unknown) => (error as { code?: string }).code ?? String(error),
  );
  await attack(raw);
  raw.close();
  const code = await said;
  await serving;
  await asked;
  channel.close();
  return code;
}

const nested = (depth: number): string => "[".repeat(depth) + "]".repeat(depth);

/** What is wrong, and the code that it gets. */
const wrong: Readonly<Record<string, [readonly Buffer[], code?: string]>> = {
  "a kind that is none": [[frame("1", { kind: 5 })]],
  "flags that are none": [[frame("1", { flags: 2 })]],
  "a length that comes to 0 with the one before, in 32 bits": [
    [frame("x".repeat(10), { flags: 1 }), frame("", { bytes: 0xffff_fff6 })],
    "EMSGSIZE",
  ],
  "more descriptors than a frame has": [[frame("1", { fds: 254 })]],
  "descriptors that did not come": [[frame("1", { fds: 1 })]],
  "a message with a number": [[frame("1", { number: 1 })]],
  "a request without one": [[frame("1", { kind: kind.request })]],
  "an answer to nothing": [[frame("1", { kind: kind.answer, number: 99 })]],
  "an error for nothing": [[frame('{"message":"x"}', { kind: kind.error, number: 99 })]],
  "the same answer twice": [
    [frame("1", { kind: kind.answer, number: 1 }), frame("1", { kind: kind.answer, number: 1 })],
  ],
  "an error that is none": [[frame("[]", { kind: kind.error, number: 1 })]],
  "an error that is no JSON": [[frame("\xff", { kind: kind.error, number: 1 })]],
  "a cancel with bytes": [[frame("1", { kind: kind.cancel, number: 7 })]],
  "a message in another's middle": [[frame("1", { flags: 1 }), frame("1", { kind: 1, number: 1 })]],
  "a frame that goes on without anything": [[frame("", { flags: 1 })]],
  "no JSON": [[frame("{")]],
  "no UTF-8": [[frame(Uint8Array.of(0x22, 0xff, 0x22))]],
  "nothing as JSON": [[frame("")]],
  "a place without a descriptor": [[frame('{"$fd":0}')]],
  "a place that is no number": [[frame('{"$fd":"length"}')]],
  "a place with more beside it": [[frame('{"$fd":0,"x":1}')]],
  "a length over the limit": [[frame("1", { bytes: 0xffff_ffff })], "EMSGSIZE"],
  "lengths over the limit together": [
    [frame("1", { flags: 1 }), frame("1", { bytes: 16 * 2 ** 20 })],
    "EMSGSIZE",
  ],
};

describe.each(types.map((type) => [type] as const))("%s", (type) => {
  test.each(Object.entries(wrong))("%s", (_, [frames, code = "EPROTO"]) =>
    leakFree(async () => {
      const attack = async (raw: Raw): Promise<void> => {
        for (const one of frames) await raw.send(one).catch(() => {});
      };
      expect(await outcome(type, attack)).toBe(code);
    }),
  );

  test("half a frame, and then the end", () =>
    leakFree(async () => {
      for (const { bytes } of vectors().slice(0, 1)) {
        for (const cut of [1, 11, 12, bytes.length - 1]) {
          const attack = async (raw: Raw): Promise<void> => {
            await raw.receive(); // with it unread the end would be ECONNRESET
            await raw.send(bytes.subarray(0, cut));
          };
          expect(await outcome(type, attack)).toBe("EPROTO");
        }
      }
    }));

  test("descriptors that no message claims, and more than any may", () =>
    leakFree(async () => {
      using fd = marked("x");
      const fds = Array.from({ length: 200 }, () => fd);
      const attacks: Record<string, (raw: Raw) => Promise<unknown>> = {
        unclaimed: (raw) => raw.send(frame("1"), { fds: [fd] }),
        "one too many": (raw) => raw.send(frame("1", { fds: 1 }), { fds: [fd, fd] }),
        "with an answer to nothing": (raw) =>
          raw.send(frame("1", { kind: kind.answer, number: 9, fds: 1 }), { fds: [fd] }),
        "with an error": (raw) =>
          raw.send(frame('{"message":"x"}', { kind: 3, number: 1, fds: 1 }), { fds: [fd] }),
        "with a cancel": (raw) =>
          raw.send(frame("", { kind: kind.cancel, number: 1, fds: 1 }), { fds: [fd] }),
        "in a message that names no JSON": (raw) => raw.send(frame("{", { fds: 1 }), { fds: [fd] }),
        "over maxFds": (raw) => raw.send(frame("1", { fds: 200 }), { fds }),
      };
      for (const [name, attack] of Object.entries(attacks)) {
        const code = name === "over maxFds" ? "EMSGSIZE" : "EPROTO";
        expect([name, await outcome(type, attack, { maxFds: 100 })]).toEqual([name, code]);
      }
    }));

  test("depth: what is nested as deep as may be is a value, deeper is an error, at once", () =>
    leakFree(async () => {
      const [channel, raw] = against(type, { maxMessageBytes: 2 ** 22 });
      const peer = openChannel(raw, {
        codec: { encode: (data: string) => ({ data, fds: [] }), decode: (data) => data.length },
      });
      void channel.serve(({ value }) => ({ value })).catch(() => {});
      const DEEPEST = 2500;
      const objects = `${'{"$fd":'.repeat(DEEPEST - 1)}1${"}".repeat(DEEPEST - 1)}`;
      for (const text of [
        nested(DEEPEST - 1),
        objects.replaceAll("$fd", () => "$$fd"),
        `"${nested(9999)}"`,
      ]) {
        expect((await peer.request(text)).value).toBe(text.length + '{"value":}'.length);
      }
      const deep = JSON.parse(nested(DEEPEST));
      expect(await thrown(() => channel.send({ deep }))).toBeInstanceOf(TypeError);
      await peer.send(nested(1_000_000));
      expect(await codeOf(() => channel.receive())).toBe("EPROTO");
      channel.close();
      peer.close();
    }));

  test("keys that name a prototype change none", () =>
    leakFree(async () => {
      const [channel, raw] = against(type);
      const text =
        '{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}},"$$fd":1}';
      await raw.send(frame(text));
      const { value } = (await channel.receive())!;
      expect(Object.keys(value as object)).toEqual(["__proto__", "constructor", "$fd"]);
      expect(Object.getPrototypeOf(value)).toBe(Object.prototype);
      expect(({} as { polluted?: number }).polluted).toBeUndefined();
      channel.close();
      raw.close();
    }));

  test("the number of a request under way is used again: the end", () =>
    leakFree(async () => {
      const [channel, raw] = against(type);
      const serving = channel.serve(() => new Promise(() => {}));
      const ended = codeOf(() => serving);
      for (let n = 0; n < 2; n++) await raw.send(frame("1", { kind: 1, number: 7 }));
      expect(await ended).toBe("EPROTO");
      channel.close();
      raw.close();
    }));

  test("cancels of anything, and of the same again: nothing is kept, nothing ends", () =>
    leakFree(async () => {
      const [channel, raw] = against(type);
      let cancelled = 0;
      void channel.serve((_, { signal }) => {
        signal.addEventListener("abort", () => cancelled++);
        return new Promise(() => {});
      });
      await raw.send(frame("1", { kind: 1, number: 7 }));
      for (let n = 0; n < COUNT * 10; n++) {
        await raw.send(frame("", { kind: kind.cancel, number: 1 + (n % 1000) }));
      }
      await raw.send(frame("1"));
      expect((await channel.receive())!.value).toBe(1);
      expect(cancelled).toBe(1);
      channel.close();
      raw.close();
    }));

  test("requests beyond maxRequests get EBUSY, those within are served", () =>
    leakFree(async () => {
      const [near, far] = socketPair(type);
      const server = openChannel(near, { maxRequests: 5 });
      const client = openChannel(far);
      let go = (): void => {};
      const open = new Promise<void>((resolve) => (go = resolve));
      let max = 0;
      let served = 0;
      void server.serve(async () => {
        max = Math.max(max, ++served);
        await open;
        served--;
      });
      const asked = Array.from({ length: 50 }, () => client.request(1).then(() => "done", String));
      await eventually(() => served === 5, "five are served");
      await turns();
      go();
      const ends = await Promise.all(asked);
      expect(ends.filter((one) => one === "done").length).toBe(5);
      expect(ends.filter((one) => one.includes("too many requests"))).toHaveLength(45);
      expect(max).toBe(5);
      server.close();
      client.close();
    }));

  test("a peer that asks and never reads holds no more than maxRequests answers", () =>
    leakFree(async () => {
      const [channel, raw] = against(type, { maxRequests: 20 });
      const before = openFds();
      let made = 0;
      const serving = channel.serve((_, context) => {
        made++;
        const fd = marked("x");
        return context.reply({ fd, pad: "x".repeat(20_000) }, { transfer: true });
      });
      const ends = serving.catch((error: UnixError) => error.code);
      for (let n = 1; n <= 2000; n++) {
        await Promise.race([raw.send(frame("1", { kind: 1, number: n })), ends]);
      }
      await turns();
      expect(openFds() - before).toBeLessThan(30);
      expect(made).toBeLessThan(1000);
      channel.close();
      raw.close();
      await ends;
    }));

  test(
    `${COUNT} times noise, damaged frames and cuts: a code each time`,
    () =>
      leakFree(async () => {
        const rand = random(SEED);
        const right = vectors().filter(({ says }) => !says.includes("descriptor"));
        using fd = marked("x");
        for (let n = 0; n < COUNT; n++) {
          const pieces = Array.from({ length: 1 + Math.floor(rand() * 4) }, () => {
            const { bytes } = right[Math.floor(rand() * right.length)]!;
            const copy = Buffer.from(bytes);
            const times = rand() < 0.3 ? 0 : 1 + Math.floor(rand() * 3);
            for (let i = 0; i < times; i++) {
              copy[Math.floor(rand() * copy.length)] = Math.floor(rand() * 256);
            }
            return rand() < 0.1 ? copy.subarray(0, 1 + Math.floor(rand() * copy.length)) : copy;
          });
          const attack = async (raw: Raw): Promise<void> => {
            for (const piece of pieces) {
              const fds = rand() < 0.1 ? [fd] : [];
              await raw.send(piece, { fds }).catch(() => {});
            }
          };
          const code = await outcome(type, attack);
          expect(["the end", "EPROTO", "EMSGSIZE", "ECONNRESET"]).toContain(code);
        }
      }),
    60_000,
  );
});

test("a stream byte by byte, descriptors with any byte of their frame", () =>
  leakFree(async () => {
    const rand = random(SEED);
    const [channel, raw] = against("stream");
    using fd = marked("x");
    const whole = frame('{"a":{"$fd":0},"b":{"$fd":1}}', { fds: 2 });
    let got = 0;
    const end = channel.consume(({ value, fds }) => {
      const { a, b } = value as { a: Fd; b: Fd };
      expect([a instanceof Fd, b instanceof Fd, fds.length]).toEqual([true, true, 2]);
      got++;
    });
    for (let n = 0; n < 50; n++) {
      const [first, second] = [rand(), rand()].map((one) => Math.floor(one * whole.length));
      for (let at = 0; at < whole.length; at++) {
        const count = Number(at === first) + Number(at === second);
        const fds = Array.from({ length: count }, () => fd);
        await raw.send(whole.subarray(at, at + 1), { fds });
      }
    }
    raw.close();
    await end;
    expect(got).toBe(50);
    channel.close();
  }));

test(
  "a message in frames of a byte each takes its own memory, not that of its frames",
  () =>
    leakFree(async () => {
      const [channel, raw] = against("stream", { codec: "bytes" });
      const BYTES = 1_000_000;
      const before = settledMebibytes();
      const piece = Buffer.concat(Array.from({ length: 1000 }, () => frame("x", { flags: 1 })));
      const coming = channel.receive();
      for (let n = 0; n < BYTES; n += 1000) await raw.send(piece);
      await turns();
      expect(settledMebibytes() - before).toBeLessThan(MAX_GROWN_MEBIBYTES);
      await raw.send(frame("!"));
      expect((await coming)!.value).toHaveLength(BYTES + 1);
      channel.close();
      raw.close();
    }),
  60_000,
);

test("seqpacket: an empty packet is no frame, whatever comes with it", () =>
  leakFree(async () => {
    using fd = marked("x");
    for (const fds of [[], [fd]]) {
      expect(await outcome("seqpacket", (raw) => raw.send("", { fds }))).toBe("EPROTO");
    }
  }));
