// The checks of bunix doctor. Each cleans up after itself, and throws if something does not work.

import { mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import type { AddressInput } from "../address/address.ts";
import { nextTurn } from "../base/timers.ts";
import type { Capabilities } from "../capabilities/capabilities.ts";
import { probe } from "../inspect/probe.ts";
import { adoptSocket } from "../listener/adopt.ts";
import { listen } from "../listener/listener.ts";
import { connect } from "../socket/connect.ts";
import type { Message } from "../socket/message.ts";
import type { SocketOptions } from "../socket/options.ts";
import { socketPair } from "../socket/pair.ts";
import type { SeqpacketSocket } from "../socket/seqpacket.ts";
import type { StreamSocket } from "../socket/stream.ts";
import { maxPathBytes } from "../structs/sockaddr-un.ts";
import { both, expect, inDirectory, LIMIT_MS } from "./check-tools.ts";
import { channelChecks } from "./checks-channels.ts";

type Need = {
  [K in keyof Capabilities]: Capabilities[K] extends { readonly available: boolean } ? K : never;
}[keyof Capabilities];

/** Something that must work if the capabilities that it needs are there. */
export interface Check {
  readonly name: string;
  readonly needs: readonly Need[];
  readonly run: () => void | Promise<void>;
}

/** In the order in which they are tried. */
export const checks: readonly Check[] = [
  { name: "pass a descriptor, blocking", needs: [], run: passSync },
  { name: "pass a descriptor, awaited", needs: ["waiting"], run: passAwaited },
  { name: "credentials of a peer", needs: [], run: peer },
  { name: "credentials with a message", needs: ["passCredentials"], run: credentials },
  { name: "the sender's pidfd", needs: ["passPidfd"], run: pidfd },
  { name: "message boundaries (seqpacket)", needs: ["seqpacket"], run: boundaries },
  { name: "listen, connect, probe", needs: ["waiting"], run: () => serveIn("socket") },
  { name: "an abstract name", needs: ["waiting", "abstractNames"], run: names },
  { name: "a path of more than 107 bytes", needs: ["waiting", "longPaths"], run: longPaths },
  ...channelChecks,
];

/** The message, which must be there. */
function got(message: Message | null | undefined): Message {
  if (!message) throw new Error("no message came");
  return message;
}

/** Sockets that are closed together. */
class Held<T extends Disposable> implements Disposable {
  readonly all: readonly [T, T];

  constructor(all: readonly [T, T]) {
    this.all = all;
  }

  [Symbol.dispose](): void {
    for (const one of this.all) one[Symbol.dispose]();
  }
}

const pair = (type: "stream" | "seqpacket" = "stream", options?: SocketOptions) =>
  new Held(socketPair(type, options));

/** The descriptor that came must be the other end of `near`, and close-on-exec. */
function leadsTo(message: Message, near: StreamSocket | SeqpacketSocket): void {
  const [fd] = message.takeFds();
  if (fd === undefined) throw new Error("no descriptor came");
  expect(fd.closeOnExec, true, "close-on-exec");
  using far = adoptSocket(fd);
  near.sendSync("through it");
  if (!("receiveSync" in far)) throw new Error("it is another descriptor");
  using said = got(far.receiveSync({ timeoutMs: LIMIT_MS }));
  expect(said.text(), "through it", "what came through it");
}

function passSync(): void {
  using way = pair();
  using passed = pair();
  const [a, b] = way.all;
  const [near, far] = passed.all;
  a.sendSync("take this", { fds: [far] });
  using message = got(b.receiveSync({ timeoutMs: LIMIT_MS }));
  leadsTo(message, near);
}

async function passAwaited(): Promise<void> {
  using way = pair();
  using passed = pair();
  const [a, b] = way.all;
  const [near, far] = passed.all;
  const coming = b.receive();
  await nextTurn(); // so that it has to wait
  await a.send("take this", { fds: [far] });
  using message = got(await coming);
  leadsTo(message, near);
}

function peer(): void {
  using way = pair();
  const { pid, uid } = way.all[0].peerCredentials();
  expect(pid, process.pid, "pid");
  expect(uid, process.geteuid?.(), "uid");
}

function credentials(): void {
  using way = pair("stream", { passCredentials: true });
  way.all[0].sendSync("who am I?");
  using message = got(way.all[1].tryReceive());
  expect(message.credentials?.pid, process.pid, "pid");
}

function pidfd(): void {
  using way = pair("stream", { passPidfd: true });
  way.all[0].sendSync("who am I?");
  using message = got(way.all[1].tryReceive());
  expect(message.pidfd?.describe().kind, "pidfd", "what came");
}

function boundaries(): void {
  using way = pair("seqpacket");
  const [a, b] = way.all;
  for (const text of ["one", "two"]) a.sendSync(text);
  for (const text of ["one", "two"]) {
    using message = got(b.tryReceive());
    expect(message.text(), text, "a message");
  }
}

/** Listen, connect, and ask who listens. */
async function serve(address: AddressInput): Promise<void> {
  using listener = listen(address);
  const ends = await both(connect(address), listener.accept());
  using client = ends[0];
  using accepted = ends[1];
  await client.send("hello");
  using message = got(await accepted.receive());
  expect(message.text(), "hello", "what came");
  expect(probe(address).state, "listening", "bunix probe");
}

/** At a path in a new directory. */
function serveIn(name: string): Promise<void> {
  return inDirectory(async (directory) => {
    const path = join(directory, name);
    mkdirSync(dirname(path), { recursive: true });
    await serve(path);
    expect(probe(path).state, "free", "the address afterwards");
  });
}

function longPaths(): Promise<void> {
  return serveIn(join("d".repeat(maxPathBytes), "socket"));
}

function names(): Promise<void> {
  return serve({ abstract: `bunix-doctor-${crypto.randomUUID()}` });
}
