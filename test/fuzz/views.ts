// Fuzzing: bytes as a program that makes a view of any kind over any buffer, lets it lie, gives it
// to a channel, and takes its bytes away at some moment. Whatever comes of that, what arrives is
// its true bytes or nothing, no byte beside it is written, and the channel goes on.

import { expect } from "bun:test";
import { MessageQueue, makeFifo, openFifo, type Received, socketPair } from "../../src/index.ts";
import { turns } from "../api/tools.ts";
import { tempDir } from "../support/tmp.ts";
import { growable, lies, proxied, resizable } from "../support/views.ts";
import type { Target } from "./engine.ts";

/** Takes decisions out of the input; at its end all are the first. */
class Choices {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  below(count: number): number {
    return (this.#bytes[this.#at++] ?? 0) % count;
  }

  of<T>(options: readonly T[]): T {
    return options[this.below(options.length)]!;
  }
}

const CANARY = 0xee;
const CLAIMED = 60_000;
const kinds = [Uint8Array, DataView, Float64Array, Int8Array, BigInt64Array, Uint8ClampedArray];
const buffers = ["plain", "small", "resizable", "shared", "growable"] as const;
const sizes = [1, 8, 64, 1024, 1032, 2048, 2056, 8000];
const endings = ["nothing", "transfer", "clone", "less", "least", "more"] as const;
/** Of a view that follows its buffer, which has what is there when it is asked: api/gone-views. */
const endingsOfFollowers = ["nothing", "transfer", "clone"] as const;

/** A view, the truth about it, and what can be done to it. */
interface Case {
  readonly given: Uint8Array;
  readonly bytes: number;
  /** What is in it. */
  readonly truth: Uint8Array;
  /** A Proxy: no view at all. */
  readonly fake: boolean;
  /** Do what is to happen to it. True: its bytes are gone from then on. */
  readonly end: () => boolean;
  /** All memory around it, wherever that is now; [from, to) is the view's. */
  readonly around: () => { readonly all: Uint8Array; readonly from: number; readonly to: number };
}

function makeCase(choices: Choices): Case {
  const kind = choices.of(buffers);
  const size = choices.of(sizes);
  const offset = kind === "small" ? 0 : 8 * choices.below(3);
  const after = kind === "small" ? 0 : 8 * choices.below(3);
  const whole = offset + size + after;
  let buffer: ArrayBufferLike = new ArrayBuffer(whole);
  if (kind === "small") ({ buffer } = new Uint8Array(size));
  if (kind === "resizable") buffer = resizable(whole);
  if (kind === "shared") buffer = new SharedArrayBuffer(whole);
  if (kind === "growable") buffer = growable(whole);
  const all = new Uint8Array(buffer).fill(CANARY);
  const View = size % 8 === 0 ? choices.of(kinds) : Uint8Array;
  const elements =
    View === DataView ? size : size / (View as Uint8ArrayConstructor).BYTES_PER_ELEMENT;
  const tracks = after === 0 && choices.below(4) === 3;
  const view = new (View as Uint8ArrayConstructor)(
    buffer as ArrayBuffer,
    offset,
    tracks ? undefined : elements,
  );
  for (let i = 0; i < size; i++) all[offset + i] = i % 251;
  const truth = all.slice(offset, offset + size);
  const lie = choices.of([null, ...Object.values(lies), proxied]);
  const liar =
    lie === null || (View !== Uint8Array && lie !== proxied && lie !== lies["own properties"]);
  const given = liar ? view : lie(view, CLAIMED);
  const ending = choices.of<(typeof endings)[number]>(tracks ? endingsOfFollowers : endings);
  let now: ArrayBufferLike = buffer;
  return {
    given,
    bytes: size,
    truth,
    fake: !liar && lie === proxied,
    end: () => {
      const shared = buffer instanceof SharedArrayBuffer;
      if (ending === "transfer" && !shared) now = (buffer as ArrayBuffer).transfer();
      else if (ending === "clone" && !shared) now = cloned(buffer as ArrayBuffer);
      else if (ending === "more" && kind === "resizable")
        (buffer as ArrayBuffer).resize(whole + 64);
      else if (ending === "more" && kind === "growable")
        (buffer as SharedArrayBuffer).grow(whole + 64);
      else if (ending === "less" && kind === "resizable")
        (buffer as ArrayBuffer).resize(offset + size - 1);
      else if (ending === "least" && kind === "resizable") (buffer as ArrayBuffer).resize(0);
      else return false;
      return ending !== "more";
    },
    around: () => ({ all: new Uint8Array(now), from: offset, to: offset + size }),
  };
}

const cloned = (buffer: ArrayBuffer): ArrayBuffer =>
  structuredClone(buffer, { transfer: [buffer] });

/** What came of a call: a value, or an error of the kind that misuse gets. */
async function outcome<T>(call: () => T | Promise<T>): Promise<T | "refused"> {
  try {
    return await call();
  } catch (error) {
    expect(error).toBeInstanceOf(TypeError);
    return "refused";
  }
}

/** The first `written` of its bytes are `what`, and no other is changed. */
function unharmed({ around }: Case, written: number, what: number): void {
  const { all, from, to } = around();
  const right = (byte: number, i: number): boolean => {
    if (i >= from && i < from + written) return byte === what;
    if (i >= from && i < to) return byte === (i - from) % 251;
    return byte === CANARY || (byte === 0 && i >= to); // a buffer that grew has more
  };
  expect(all.findIndex((byte, i) => !right(byte, i))).toBe(-1);
}

const FILLER = Buffer.alloc(1024, "f");
/** Fill it until not a byte more fits; how many went in. */
function filled(put: (data: Uint8Array) => number | string | null): number {
  let bytes = 0;
  for (const data of [FILLER, FILLER.subarray(0, 1)]) {
    for (let taken = put(data); taken !== null; taken = put(data)) bytes += Number(taken);
  }
  return bytes;
}

type Kind = "stream" | "seqpacket" | "datagram";

/** Sends whose bytes go before the call, in a getter during it, or while it waits for room. */
async function sending(choices: Choices): Promise<void> {
  const kind: Kind = choices.of(["stream", "seqpacket", "datagram"]);
  const form = choices.of(["plain", "list", "fds", "batch"] as const);
  const moment = choices.of(["before", "during", "waiting"] as const);
  const one = makeCase(choices);
  const [near, far] = socketPair(kind);
  try {
    let gone = moment === "before" && one.end();
    let fillers = 0;
    if (moment === "waiting") fillers = filled((data) => near.trySend(data));
    const getter = {
      get fd(): number {
        if (moment === "during") gone = one.end();
        return 0;
      },
    };
    const list = new Proxy([one.given, "!"], {
      get(pieces, name, self) {
        if (name === "1" && moment === "during") gone = one.end();
        return Reflect.get(pieces, name, self) as unknown;
      },
    });
    const call = (): Promise<void> => {
      if (form === "list") return near.send(list);
      if (form === "fds") return near.send(one.given, { fds: [getter] });
      if (form === "batch" && "sendBatch" in near) return near.sendBatch([one.given]);
      return near.send(one.given);
    };
    const sent = outcome(call);
    if (moment === "waiting") gone = one.end();
    const after = outcome(() => near.send("after"));
    let got = Buffer.alloc(0);
    while (!got.toString("latin1").endsWith("after")) {
      using message = await far.receive();
      got = Buffer.concat([got, message!.data]);
    }
    const expected = gone || one.fake ? "refused" : undefined;
    expect([await sent, await after]).toEqual([expected, undefined]);
    const data = Buffer.from(got.subarray(fillers, got.length - "after".length));
    const right = Buffer.concat([one.truth, Buffer.from(form === "list" ? "!" : "")]);
    expect(data.equals(expected === undefined ? right : Buffer.alloc(0))).toBe(true);
    unharmed(one, 0, 0);
  } finally {
    near.close();
    far.close();
  }
}

/** Receives whose room goes before the call, while it waits, or in the handler. */
async function receiving(choices: Choices): Promise<void> {
  const kind: Kind = choices.of(["stream", "seqpacket", "datagram"]);
  const form = choices.of(["into", "try", "consume"] as const);
  const moment = choices.of(["never", "before", "waiting"] as const);
  const one = makeCase(choices);
  const data = Buffer.alloc(choices.of([1, 100, 5000]), 0xa5);
  const [near, far] = socketPair(kind);
  try {
    let gone = moment === "before" && one.end();
    const waits = form !== "try" && moment === "waiting";
    if (!waits) near.trySend(data);
    const stop = new Error("enough");
    const call = async (): Promise<number | undefined> => {
      if (form === "try") return far.tryReceiveInto(one.given)?.bytes;
      if (form === "into") return (await far.receiveInto(one.given))?.bytes;
      let bytes: number | undefined;
      const each = ({ bytes: some }: Received): never => {
        bytes = some;
        throw stop;
      };
      await far.consumeInto(one.given, each).catch((error: unknown) => {
        if (error !== stop) throw error;
      });
      return bytes;
    };
    const came = outcome(call);
    if (waits) {
      gone = one.end();
      near.trySend(data);
    }
    const bytes = await came;
    if (gone || one.fake) {
      expect(bytes).toBe("refused");
      unharmed(one, 0, 0);
      expect(far.tryReceive()?.data.length).toBe(data.length);
      return;
    }
    const expected = Math.min(data.length, one.bytes);
    expect(bytes).toBe(expected);
    unharmed(one, expected, 0xa5);
  } finally {
    near.close();
    far.close();
  }
}

let serial = 0;

async function queued(choices: Choices): Promise<void> {
  const one = makeCase(choices);
  const name = `/bunix-fuzz-${process.pid}-${++serial}`;
  const size = { maxMessages: 1, messageBytes: 8192 };
  using queue = MessageQueue.open(name, { create: true, exclusive: true, ...size });
  queue.unlink();
  await queue.send("full");
  const sent = outcome(() => queue.send(one.given));
  const gone = one.end();
  const after = queue.send("after");
  expect((await queue.receive()).text()).toBe("full");
  const next = await queue.receive();
  const refused = gone || one.fake;
  expect(await sent).toBe(refused ? "refused" : undefined);
  expect(Buffer.from(next.data).equals(refused ? Buffer.from("after") : one.truth)).toBe(true);
  if (!refused) await queue.receive();
  await after;
  unharmed(one, 0, 0);
}

async function written(choices: Choices): Promise<void> {
  const one = makeCase(choices);
  using dir = tempDir();
  makeFifo(dir.file("f"));
  using reader = openFifo(dir.file("f"), "read");
  using writer = openFifo(dir.file("f"), "write");
  const fillers = filled((data) => writer.tryWrite(data));
  const sent = outcome(() => writer.write(one.given));
  const gone = one.end();
  const after = writer.write("after");
  let got = Buffer.alloc(0);
  while (!got.toString("latin1").endsWith("after"))
    got = Buffer.concat([got, (await reader.read())!]);
  await after;
  const refused = gone || one.fake;
  expect(await sent).toBe(refused ? "refused" : undefined);
  const data = Buffer.from(got.subarray(fillers, got.length - "after".length));
  expect(data.equals(refused ? Buffer.alloc(0) : one.truth)).toBe(true);
  unharmed(one, 0, 0);
}

const programs = [sending, receiving, sending, receiving, queued, written];

/** All of them. */
export const memory: readonly Target[] = [
  {
    name: "views",
    cost: 10,
    seeds: programs.map((_, i) => Uint8Array.of(i, 1, 2, 1, 2, 3, 1, 1, 0, 2, 1)),
    async run(bytes) {
      const choices = new Choices(bytes);
      await choices.of(programs)(choices);
      if (choices.below(8) === 7) await turns();
    },
  },
];
