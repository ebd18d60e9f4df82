// Every way to send and to receive over a socket, under every fault.

import { once } from "node:events";
import {
  type Fd,
  type Message,
  receiveMessage,
  type SeqpacketSocket,
  type SocketType,
  type StreamSocket,
  sendMessage,
  socketPair,
} from "../../src/index.ts";
import { markedMany, markOf } from "../api/tools.ts";
import { again, type Keep, same, setUp, underFaults } from "./driver.ts";

setUp();

type Socket = StreamSocket | SeqpacketSocket;
interface Pair<S = Socket> {
  readonly a: S;
  readonly b: S;
  readonly fds: readonly Fd[];
}

/** Two sockets, and three descriptors to pass. */
const pair =
  (type: SocketType) =>
  (keep: Keep): Pair => {
    const [a, b] = socketPair(type) as [Socket, Socket];
    return { a: keep(a), b: keep(b), fds: markedMany(3).map(keep) };
  };

/** What was sent before is read, and a message goes through; or the socket is closed. */
async function works({ a, b }: Pair): Promise<void> {
  if (a.closed || b.closed) return;
  const message = await Promise.race([a.send("works"), Bun.sleep(5_000)]).then(async () => {
    for (;;) {
      const message = await b.receive();
      if (message === null || message.text().endsWith("works")) return message;
      message.close();
    }
  });
  if (message === null) throw new Error("the end");
}

type Say = (text: string) => void;

/** Two sends come to whom `hear` has listen, all of it, before that ends. */
async function consumed(
  hear: (say: Say) => Promise<void>,
  { a, fds }: Pick<Pair, "a" | "fds">,
): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  let heard = "";
  const consuming = hear((text) => {
    heard += text;
    if (heard === "onetwo") resolve();
  });
  const failed = consuming.then(() => Promise.reject(new Error("ended")));
  failed.catch(() => {});
  await a.send("one");
  await a.send("two", { fds });
  await Promise.race([promise, failed]);
}

/** So many bytes, and the marks of the descriptors that came with them. */
async function receiveAll(
  receive: () => Message | null | undefined | Promise<Message | null | undefined>,
  bytes: number,
): Promise<{ text: string; marks: string[]; cut: boolean }> {
  let [text, cut] = ["", false];
  const marks: string[] = [];
  for (let tries = 0; text.length < bytes && tries < bytes + 5; tries++) {
    const message = await receive();
    if (message === null) throw new Error(`ended after ${text}`);
    if (message === undefined) continue;
    text += message.text();
    cut ||= message.fdsTruncated;
    marks.push(...message.fds.map(markOf));
    message.close();
  }
  return { text, marks, cut };
}

const MARKS = ["fd 0", "fd 1", "fd 2"];

/** All three, or fewer and it is said so. */
function sameMessage(got: { text: string; marks: string[]; cut: boolean }, text: string): void {
  same(got.text, text);
  if (!got.cut) same(got.marks, MARKS);
}

for (const type of ["stream", "seqpacket", "datagram"] as const) {
  const prepare = pair(type);

  underFaults(`${type}: send, receive`, {
    prepare,
    after: works,
    run: async ({ a, b }) => {
      const stop = new AbortController();
      const coming = b.receive({ signal: stop.signal });
      coming.catch(() => {});
      await a.send("hello").catch((error) => {
        stop.abort();
        throw error;
      });
      let text = (await coming)?.text() ?? "";
      while (text.length < 5) text += (await b.receive())?.text();
      same(text, "hello");
    },
  });

  underFaults(`${type}: send with descriptors, receive`, {
    prepare,
    after: works,
    run: async ({ a, b, fds }) => {
      await a.send("hello", { fds });
      sameMessage(await receiveAll(() => b.receive(), 5), "hello");
    },
  });

  underFaults(`${type}: trySend, tryReceive, with descriptors`, {
    prepare,
    after: works,
    run: async ({ a, b, fds }) => {
      const data = Buffer.from("hello");
      const sent = again(() => a.trySend(data, { fds }));
      sameMessage(await receiveAll(() => b.tryReceive(), sent), "hello".slice(0, sent));
    },
  });

  underFaults(`${type}: send and give away`, {
    prepare,
    run: async ({ a, b, fds: given }) => {
      try {
        await a.send(["hel", "lo"], { fds: given, transfer: true });
      } catch (error) {
        same(
          given.map(({ closed }) => closed),
          [false, false, false],
        );
        throw error;
      }
      same(
        given.map(({ closed }) => closed),
        [true, true, true],
      );
      sameMessage(await receiveAll(() => b.receive(), 5), "hello");
    },
  });

  underFaults(`${type}: sendSync, receiveSync`, {
    prepare,
    after: works,
    run: async ({ a, b, fds }) => {
      a.sendSync("hello", { fds, timeoutMs: 5_000 });
      sameMessage(await receiveAll(() => b.receiveSync({ timeoutMs: 5_000 }), 5), "hello");
    },
  });

  underFaults(`${type}: receiveInto, its other forms`, {
    prepare,
    after: works,
    run: async ({ a, b, fds }) => {
      await a.send("abc", { fds });
      const room = new Uint8Array(1);
      const parts: string[] = [];
      const marks: string[] = [];
      const take = (from: { bytes: number; fds: readonly Fd[]; close(): void } | null): void => {
        if (from === null) throw new Error("the end");
        parts.push(Buffer.from(room.subarray(0, from.bytes)).toString());
        marks.push(...from.fds.map(markOf));
        from.close();
      };
      take(await b.receiveInto(room));
      if (type === "stream") {
        take(again(() => b.tryReceiveInto(room)));
        take(b.receiveIntoSync(room, { timeoutMs: 5_000 }));
      }
      same(parts.join(""), type === "stream" ? "abc" : "a");
      if (marks.length > 0) same(marks, MARKS.slice(0, marks.length));
    },
  });

  underFaults(`${type}: a send that waits, with descriptors`, {
    prepare: (keep) => {
      const ends = pair(type)(keep);
      const chunk = Buffer.alloc(10_000, "x");
      while (ends.a.trySend(chunk) !== null) {}
      return ends;
    },
    run: async ({ a, b, fds }) => {
      const sending = a.send("last", { fds });
      sending.catch(() => {});
      const marks: string[] = [];
      for (let text = ""; !text.endsWith("last"); ) {
        const coming = b.receive().then((message) => ({ message }));
        const first = await Promise.race([coming, sending.then(() => coming)]);
        text = `${text}${first.message?.text()}`.slice(-8);
        marks.push(...(first.message?.fds ?? []).map(markOf));
        first.message?.close();
      }
      await sending;
      if (marks.length > 0) same(marks, MARKS.slice(0, marks.length));
    },
  });

  underFaults(`${type}: consumeInto`, {
    prepare,
    run: async ({ a, b, fds }) => {
      const room = new Uint8Array(8);
      const text = (bytes: number): string => Buffer.from(room.subarray(0, bytes)).toString();
      const hear = (say: Say): Promise<void> =>
        b.consumeInto(room, ({ bytes }) => say(text(bytes)));
      await consumed(hear, { a, fds });
    },
  });

  underFaults(`${type}: consume, an iterator`, {
    prepare,
    run: async ({ a, b, fds }) => {
      const hear = (say: Say): Promise<void> => b.consume((message) => say(message.text()));
      await consumed(hear, { a, fds });
      await b.send("back");
      for await (const message of a) {
        message.close();
        break;
      }
    },
  });
}

for (const type of ["seqpacket", "datagram"] as const) {
  const prepare = pair(type);
  underFaults(`${type}: batches`, {
    prepare,
    after: works,
    run: async ({ a, b, fds }) => {
      const [from, to] = [a as SeqpacketSocket, b as SeqpacketSocket];
      await from.sendBatch(["a", "b", { data: "c", fds }, new Uint8Array([100])]);
      let [text, cut] = ["", false];
      const marks: string[] = [];
      while (text.length < 4) {
        for (const message of (await to.receiveBatch()) ?? []) {
          text += message.text();
          cut ||= message.fdsTruncated;
          marks.push(...message.fds.map(markOf));
          message.close();
        }
      }
      sameMessage({ text, marks, cut }, "abcd");
      const sent = from.trySendBatch(["e", { data: "f", fds, transfer: true }]);
      const here = sent === 0 ? [] : (to.tryReceiveBatch() ?? []);
      for (const message of here) message.close();
    },
  });
}

const stream = pair("stream") as (keep: Keep) => Pair<StreamSocket>;

underFaults("stream: end, and the end", {
  prepare: stream,
  run: async ({ a, b }) => {
    await a.send("bye");
    a.end();
    let text = "";
    for await (const message of b) text += message.text();
    same(text, "bye");
  },
});

underFaults("stream: a Duplex", {
  prepare: stream,
  run: async ({ a, b, fds }, keep) => {
    const near = a.toDuplex();
    keep({ close: () => void near.destroy() });
    const failed = once(near, "error").then(([error]) => Promise.reject(error));
    failed.catch(() => {});
    const work = (async () => {
      near.write("one");
      near.writeWithFds(Buffer.from("two"), fds);
      const got = await receiveAll(() => b.receive(), 6);
      sameMessage(got, "onetwo");
      await b.send("back", { fds });
      const [taken] = await Promise.race([once(near, "fds"), once(near, "data")]);
      if (Array.isArray(taken)) near.closeFds(taken);
    })();
    work.catch(() => {});
    await Promise.race([work, failed]);
  },
});

underFaults("stream: web streams", {
  prepare: stream,
  run: async ({ a, b }) => {
    const writer = a.writable.getWriter();
    writer.closed.catch(() => {});
    const reader = b.readable.getReader();
    reader.closed.catch(() => {});
    await writer.write(Buffer.from("hello"));
    let text = "";
    while (text.length < 5) text += Buffer.from((await reader.read()).value ?? []).toString();
    same(text, "hello");
    await reader.cancel();
  },
});

underFaults("stream: sendMessage, receiveMessage", {
  prepare: stream,
  after: works,
  run: async ({ a, b, fds }) => {
    const sent = again(() => sendMessage(a.fd, "hello", { fds }));
    const got = await receiveAll(() => receiveMessage(b.fd), sent);
    sameMessage(got, "hello".slice(0, sent));
  },
});

underFaults("stream: release, asyncDispose", {
  prepare: stream,
  run: async ({ a, b }) => {
    using released = a.release();
    same(released.closed, false);
    await b[Symbol.asyncDispose]();
    same(b.closed, true);
  },
});
