// Channels of messages, readers of streams and pipes, under every fault.

import {
  type Channel,
  type ChannelMessage,
  type Fd,
  openChannel,
  pipe,
  type SeqpacketSocket,
  type StreamSocket,
  socketPair,
  spawn,
  UnixError,
} from "../../src/index.ts";
import { markedMany, markOf } from "../api/tools.ts";
import { again, type Keep, same, setUp, underFaults } from "./driver.ts";

setUp();

interface Value {
  readonly n: number;
  readonly fd?: Fd;
}

interface Ends {
  readonly near: StreamSocket | SeqpacketSocket;
  readonly far: StreamSocket | SeqpacketSocket;
  readonly fds: readonly Fd[];
}

const ends =
  (type: "stream" | "seqpacket") =>
  (keep: Keep): Ends => {
    const [near, far] = socketPair(type);
    return { near: keep(near), far: keep(far), fds: markedMany(3).map(keep) };
  };

type Both = Record<"a" | "b", Channel<Value, Value>>;

const open = ({ near, far }: Ends, keep: Keep): Both => ({
  a: keep(openChannel<Value, Value>(near)),
  b: keep(openChannel<Value, Value>(far)),
});

/** A message with its descriptor, if it has one, that is to be `n`. */
function check(message: ChannelMessage<Value> | null, n: number, mark?: string): void {
  same(message?.value.n, n);
  if (mark !== undefined) same(markOf(message!.value.fd!), mark);
  message!.close();
}

/** What either side says of the other's failure. */
const theirs = (error: unknown): boolean =>
  error instanceof UnixError && /EPIPE|ECONNRESET|EPROTO|EMFILE|ERR_CLOSED/.test(error.code);

for (const type of ["stream", "seqpacket"] as const) {
  underFaults(`a channel over ${type}: send, receive, consume, end`, {
    prepare: ends(type),
    run: async (sockets, keep) => {
      const { fds } = sockets;
      const { a, b } = open(sockets, keep);
      const coming = b.receive();
      coming.catch(() => {});
      await a.send({ n: 1, fd: fds[0]! });
      check(await coming, 1, markOf(fds[0]!));
      again(() => a.trySend({ n: 2 }) || null);
      check(await b.receive(), 2);
      await a.send({ n: 3, fd: fds[1]! });
      for (const fd of (await b.receive())!.takeFds()) fd.close();
      await a.send({ n: 4 });
      a.end();
      let last = 0;
      await b.consume(({ value }) => {
        last = value.n;
      });
      same(last, 4);
    },
    right: theirs,
  });

  underFaults(`a channel over ${type}: a large message that waits for room`, {
    prepare: ends(type),
    run: async (sockets, keep) => {
      const { fds } = sockets;
      const { a, b } = open(sockets, keep);
      const sending = a.send({ n: 1, fd: fds[0]!, pad: "x".repeat(600_000) } as Value);
      sending.catch(() => {});
      const failed = sending.then(() => new Promise<never>(() => {}));
      check(await Promise.race([b.receive(), failed]), 1, markOf(fds[0]!));
      await sending;
    },
    right: theirs,
  });

  underFaults(`a channel over ${type}: requests and answers with descriptors`, {
    prepare: ends(type),
    run: async (sockets, keep) => {
      const { fds } = sockets;
      const { a, b } = open(sockets, keep);
      const serving = b.serve(({ value }, context) =>
        context.reply({ n: value.n + 1, fd: value.fd! }),
      );
      serving.catch(() => {});
      const asked = [1, 2].map((n) => a.request({ n, fd: fds[n]! }));
      for (const one of asked) one.then(keep, () => {}); // also where another one fails
      for (const [i, one] of asked.entries()) check(await one, i + 2, markOf(fds[i + 1]!));
      a.close();
      await serving;
    },
    right: theirs,
  });
}

underFaults("a reader of a stream: all kinds of pieces, descriptors", {
  prepare: (keep) => {
    const [near, far] = socketPair("stream");
    const fds = markedMany(2).map(keep);
    return { near: keep(near), far: keep(far), fds };
  },
  run: async ({ near, far, fds }, keep) => {
    const reader = keep(near.reader());
    await far.send("one\ntwo");
    await far.send("\0abc", { fds });
    far.end();
    same(await reader.line(), "one");
    same(Buffer.from((await reader.until(0))!).toString(), "two");
    const taken = reader.takeFds();
    for (const [i, fd] of taken.entries()) same(markOf(fd), markOf(fds[i]!));
    for (const fd of taken) fd.close();
    same(Buffer.from((await reader.exactly(2))!).toString(), "ab");
    same(Buffer.from(await reader.rest()).toString(), "c");
  },
  right: theirs,
});

underFaults("half-close of a seqpacket socket", {
  prepare: (keep) => socketPair("seqpacket").map(keep) as [SeqpacketSocket, SeqpacketSocket],
  run: async ([near, far]) => {
    await near.send("last");
    near.end();
    same((await far.receive())?.text(), "last");
    same(await far.receive(), null);
    await far.send("back");
    same((await near.receive())?.text(), "back");
  },
  right: theirs,
});

underFaults("pipe", {
  run: (_, keep) => {
    const { read, write } = pipe({ child: "write" });
    keep(read);
    keep(write);
    same([read.nonBlocking, write.nonBlocking], [true, false]);
  },
});

underFaults("a child with a channel of messages", {
  run: async () => {
    await using child = spawn(["true"], { channel: "messages" });
    child.messages.close();
    await child.exited;
  },
});
