// bunix listen ADDRESS: print who connects and what they send; send standard input to them.

import { formatAddress } from "../address/address.ts";
import { UnixError } from "../base/errors.ts";
import { printable } from "../base/printable.ts";
import { listen } from "../listener/listener.ts";
import type { DatagramSocket } from "../socket/datagram.ts";
import { openDatagram } from "../socket/open-datagram.ts";
import type { SocketKinds } from "../socket/types.ts";
import type { Credentials } from "../structs/credentials.ts";
import type { Address } from "../structs/sockaddr-un.ts";
import { wanted } from "./commands.ts";
import { type Parsed, parse, UsageError } from "./options.ts";
import { addressOf, peerOf, peerText, Reporter, typeOf } from "./talk.ts";
import { Input, Output, Stop } from "./terminal.ts";

/** Listen until told to stop; the result is the exit code. */
export async function listenCommand(args: readonly string[]): Promise<number> {
  const parsed = parse(args, wanted("listen"));
  const [text] = parsed.rest;
  if (text === undefined) throw new UsageError("listen where? A path, or @name");
  const type = typeOf(parsed);
  using stop = new Stop();
  using output = new Output();
  using input = new Input();
  const report = new Reporter(output, parsed);
  const parts = { parsed, report, input };
  using talk = type === "datagram" ? new Datagrams(parts, text) : new Connections(parts, text);
  report.say(talk.place);
  // the end of standard input does not end the command
  const typing = talk.type().then(() => new Promise<never>(() => {}));
  await Promise.race([talk.run(), typing, stop.next(), output.gone]);
  return 0;
}

interface Parts {
  readonly parsed: Parsed;
  readonly report: Reporter;
  readonly input: Input;
}

type Connection = SocketKinds["stream" | "seqpacket"];

const place = (address: Address, type: string) => ({
  text: `listening on ${printable(formatAddress(address))} (${type}), Ctrl-C to end`,
  json: { event: "listening", address: formatAddress(address), type, pid: process.pid },
});

/** Streams, and connections of messages. */
class Connections implements Disposable {
  readonly #parts: Parts;
  readonly #listener;
  readonly #open = new Set<Connection>();
  #someone = Promise.withResolvers<void>();
  #count = 0;

  constructor(parts: Parts, text: string) {
    this.#parts = parts;
    const type = typeOf(parts.parsed) === "seqpacket" ? "seqpacket" : "stream";
    this.#listener = listen<"stream" | "seqpacket">(addressOf(parts.parsed, text), { type });
  }

  get place() {
    return place(this.#listener.address, this.#listener.type);
  }

  /** Until the first connection has ended, with --once; else for ever. */
  async run(): Promise<void> {
    const failed = Promise.withResolvers<never>();
    for (;;) {
      const connection = await Promise.race([this.#listener.accept(), failed.promise]);
      const talk = this.#talk(connection, ++this.#count);
      if (this.#parts.parsed.flags.has("once")) return await talk;
      talk.catch(failed.reject);
    }
  }

  async #talk(connection: Connection, number: number): Promise<void> {
    const { report } = this.#parts;
    const about = { connection: number };
    using held = connection;
    const peer = peerOf(held);
    const json = { event: "connected", ...about, peer };
    await report.say({ text: `#${number} connected: ${peerText(peer)}`, json });
    this.#open.add(held);
    this.#someone.resolve();
    const why = await this.#receive(held, number);
    this.#leave(held);
    const reason = why === null ? {} : { error: why.code };
    const text = `#${number} ended${why === null ? "" : `: ${why.message}`}`;
    await report.say({ text, json: { event: "ended", ...about, ...reason } });
  }

  /** Print all messages; null at the end, or the error that ended the connection. */
  async #receive(connection: Connection, number: number): Promise<UnixError | null> {
    const { report } = this.#parts;
    try {
      for await (const message of connection) {
        await report.message(message, `#${number}`, { connection: number });
      }
      return null;
    } catch (error) {
      if (error instanceof UnixError) return error;
      throw error;
    }
  }

  #leave(connection: Connection): void {
    this.#open.delete(connection);
    if (this.#open.size === 0) this.#someone = Promise.withResolvers();
  }

  /** Standard input to all clients; while there are none it waits. */
  async type(): Promise<void> {
    await this.#someone.promise;
    const { input } = this.#parts;
    if (this.#listener.type === "stream") {
      for (let data = await input.next(); data !== null; data = await input.next()) {
        await this.#toAll(data);
      }
    } else for await (const line of input.lines()) await this.#toAll(line);
  }

  async #toAll(data: Uint8Array): Promise<void> {
    await this.#someone.promise;
    await Promise.allSettled(Array.from(this.#open, (connection) => connection.send(data)));
  }

  [Symbol.dispose](): void {
    this.#listener.close();
    for (const connection of this.#open) connection.close();
  }
}

/** Datagrams; standard input goes to the last sender that has an address. */
class Datagrams implements Disposable {
  readonly #parts: Parts;
  readonly #socket: DatagramSocket;
  #last: Address | null = null;
  readonly #someone = Promise.withResolvers<void>();

  constructor(parts: Parts, text: string) {
    this.#parts = parts;
    this.#socket = openDatagram(addressOf(parts.parsed, text), { passCredentials: true });
  }

  get place() {
    return place(this.#socket.localAddress, "datagram");
  }

  async run(): Promise<void> {
    const { parsed, report } = this.#parts;
    for await (const message of this.#socket) {
      const { from, credentials } = message;
      if (from !== undefined && from.kind !== "unnamed") {
        this.#last = from;
        this.#someone.resolve();
      }
      const sender = { peer: credentials ?? null };
      await report.message(message, this.#name(from, credentials), sender);
      if (parsed.flags.has("once")) return;
    }
  }

  #name(from: Address | undefined, credentials: Credentials | undefined): string {
    const named = from === undefined || from.kind === "unnamed" ? "" : ` ${formatAddress(from)}`;
    return `${peerText(credentials ?? null)}${printable(named)}`;
  }

  async type(): Promise<void> {
    await this.#someone.promise;
    for await (const line of this.#parts.input.lines()) {
      if (this.#last === null) continue;
      try {
        await this.#socket.send(line, { to: this.#last });
      } catch (error) {
        if (!(error instanceof UnixError)) throw error;
        if (this.#socket.closed) return;
        console.error(`bunix: ${error.message}`);
      }
    }
  }

  [Symbol.dispose](): void {
    this.#socket.close();
  }
}
