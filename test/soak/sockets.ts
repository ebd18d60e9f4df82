// The soak's sockets: every kind, with and without descriptors and credentials.

import {
  capabilities,
  connect,
  listen,
  type Message,
  openDatagram,
  SharedMemory,
  socketPair,
} from "../../src/index.ts";
import { type Channel, channel, check, moved } from "./channel.ts";

const BURST = 2_000;
const FEW = 200;
const DATA = new Uint8Array(64).fill(7);

/** Bytes with a known end, handed to a function as they come. */
function streamed(): Channel {
  const [near, far] = socketPair("stream");
  let bytes = 0;
  let wanted = 0;
  let whole: (() => void) | null = null;
  void far.consume(({ data }) => {
    check("a byte", data[0], 7);
    bytes += data.length;
    if (bytes >= wanted) whole?.();
  });
  return channel("stream, consume()", [near, far], async () => {
    [bytes, wanted] = [0, BURST * DATA.length];
    const all = new Promise<void>((resolve) => {
      whole = resolve;
    });
    for (let i = 0; i < BURST; i++) await near.send(DATA);
    await all;
    check("bytes", bytes, wanted);
    return moved(BURST);
  });
}

function withDescriptors(kind: "stream" | "seqpacket" | "datagram", each: number): Channel {
  const [near, far] = socketPair(kind);
  const fds = new Array<number>(each).fill(near.fd);
  return channel(`${kind}, ${each} descriptors each`, [near, far], async () => {
    for (let i = 0; i < FEW; i++) {
      const sending = near.send(DATA, { fds });
      using message = await far.receive();
      check("descriptors", message?.fds.length, each);
      await sending;
    }
    return moved(FEW, FEW * each);
  });
}

function packets(): Channel {
  const [near, far] = socketPair("seqpacket");
  return channel("seqpacket, try…", [near, far], () => {
    for (let i = 0; i < BURST; i++) {
      check("sent", near.trySend(DATA), DATA.length);
      check("came", far.tryReceive()?.data.length, DATA.length);
    }
    return moved(BURST);
  });
}

function blocking(): Channel {
  const [near, far] = socketPair("stream");
  const into = new Uint8Array(DATA.length);
  return channel("stream, …Sync, receiveInto", [near, far], () => {
    for (let i = 0; i < FEW; i++) {
      near.sendSync(DATA);
      check("into", far.receiveIntoSync(into)?.bytes, DATA.length);
    }
    return moved(FEW);
  });
}

function datagrams(): Channel {
  const receiver = openDatagram({ autobind: true });
  const sender = openDatagram();
  const to = receiver.localAddress;
  return channel("datagram, named", [receiver, sender], async () => {
    const sending = Promise.all(Array.from({ length: FEW }, (_, i) => sender.send(`${i}`, { to })));
    for (let i = 0; i < FEW; i++) check("datagram", (await receiver.receive())?.text(), `${i}`);
    await sending;
    return moved(FEW);
  });
}

function credentials(): Channel {
  const passPidfd = capabilities().passPidfd.available;
  const [near, far] = socketPair("seqpacket", { passCredentials: true, passPidfd });
  const sees = (message: Message | null | undefined): void => {
    check("its pid", message?.credentials?.pid, process.pid);
    check("a pidfd", message?.pidfd !== undefined, passPidfd);
    message?.close();
  };
  return channel("seqpacket, credentials and pidfds", [near, far], async () => {
    for (let i = 0; i < FEW; i++) {
      await near.send(DATA);
      sees(await far.receive());
    }
    return moved(FEW, passPidfd ? FEW : 0);
  });
}

function batches(): Channel {
  const [near, far] = socketPair("seqpacket");
  const batch = new Array<Uint8Array>(64).fill(DATA);
  return channel("batches", [near, far], async () => {
    for (let i = 0; i < 20; i++) {
      const sending = near.sendBatch(batch);
      for (let have = 0; have < batch.length; ) {
        have += (await far.receiveBatch({ max: batch.length }))?.length ?? 0;
      }
      await sending;
    }
    return moved(20 * batch.length);
  });
}

function duplex(): Channel {
  const [near, far] = socketPair("stream");
  const [out, into] = [near.toDuplex(), far.toDuplex()];
  let [bytes, fds, wanted] = [0, 0, 0];
  let whole: (() => void) | null = null;
  into.on("fds", (numbers: number[]) => {
    fds += numbers.length;
    into.closeFds(numbers);
  });
  into.on("data", (chunk: Uint8Array) => {
    bytes += chunk.length;
    if (bytes >= wanted) whole?.();
  });
  const ends = [{ close: () => void out.destroy() }, { close: () => void into.destroy() }];
  return channel("duplex, with descriptors", ends, async () => {
    [bytes, fds, wanted] = [0, 0, 2 * FEW * DATA.length];
    const all = new Promise<void>((resolve) => {
      whole = resolve;
    });
    for (let i = 0; i < FEW; i++) {
      out.writeWithFds(DATA, [near]);
      out.write(DATA);
    }
    await all;
    check("descriptors", fds, FEW);
    return moved(2 * FEW, FEW);
  });
}

function connections(): Channel {
  const address = `@bunix-soak-${process.pid}`;
  const server = listen(address);
  void (async () => {
    for await (const socket of server) {
      void (async () => {
        for await (const message of socket) await socket.send(message.data);
        socket.close();
      })();
    }
  })();
  return channel("connections made and closed", [server], async () => {
    for (let i = 0; i < 20; i++) {
      using client = await connect(address);
      await client.send(DATA);
      check("an answer", (await client.receive())?.data.length, DATA.length);
      client.end();
      check("the end", await client.receive(), null);
    }
    return moved(40);
  });
}

function memory(): Channel {
  const [near, far] = socketPair("seqpacket");
  return channel("shared memory", [near, far], async () => {
    for (let i = 0; i < 10; i++) {
      using made = SharedMemory.create(65_536);
      made.bytes[i] = i;
      await near.send("memory", { fds: [made] });
      using message = await far.receive();
      using mapped = SharedMemory.map(message!.fds[0]!);
      check("a shared byte", mapped.bytes[i], i);
    }
    return moved(10, 10);
  });
}

function givenUp(): Channel {
  const [near, far] = socketPair("stream");
  return channel("receives given up", [near, far], async () => {
    const stop = new AbortController();
    const waits = Array.from({ length: 50 }, () => far.receive({ signal: stop.signal }));
    stop.abort("enough");
    const ends = await Promise.allSettled(waits);
    check("given up", ends.filter(({ status }) => status === "rejected").length, waits.length);
    await near.send(DATA);
    check("what came later", (await far.receive())?.data.length, DATA.length);
    return moved(1);
  });
}

/** All of them. */
export const sockets = (): Channel[] => [
  streamed(),
  packets(),
  blocking(),
  withDescriptors("stream", 1),
  withDescriptors("seqpacket", 64),
  withDescriptors("datagram", 3),
  datagrams(),
  credentials(),
  batches(),
  duplex(),
  connections(),
  memory(),
  givenUp(),
];
