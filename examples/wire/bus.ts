// A connection to a message bus: over toDuplex(), so that descriptors come along.

import type { Duplex } from "node:stream";
import { connect, type DescriptorDuplex } from "bunix";
import { type BusMessage, decode, encode, lengthOf, types } from "./dbus.ts";

const HELLO = { destination: "org.freedesktop.DBus", interface: "org.freedesktop.DBus", path: "/" };

/** A message, and the descriptors that came with it: the receiver's to close. */
export type Received = BusMessage & { passed: number[] };

export class Bus {
  readonly #stream: DescriptorDuplex & Duplex;
  readonly #chunks: AsyncIterator<Buffer>;
  #bytes = Buffer.alloc(0);
  #fds: number[] = [];
  #serial = 0;

  private constructor(stream: DescriptorDuplex & Duplex) {
    this.#stream = stream;
    this.#chunks = stream[Symbol.asyncIterator]();
    stream.on("fds", (fds) => this.#fds.push(...fds)); // before the bytes that they belong to
  }

  /** `where` is a D-Bus address: "unix:path=/run/user/1000/bus". */
  static async connect(where: string): Promise<Bus> {
    const [, kind, escaped] = /^unix:(?:.*,)?(path|abstract)=([^,;]+)/.exec(where) ?? [];
    if (escaped === undefined) throw new Error(`not the address of a Unix socket: ${where}`);
    const name = decodeURIComponent(escaped);
    const socket = await connect(kind === "path" ? { path: name } : { abstract: name });
    const bus = new Bus(socket.toDuplex());
    const uid = Buffer.from(`${process.getuid?.()}`).toString("hex");
    await bus.#authenticate(`\0AUTH EXTERNAL ${uid}`, "OK ");
    await bus.#authenticate("NEGOTIATE_UNIX_FD", "AGREE_UNIX_FD");
    bus.#stream.write("BEGIN\r\n");
    await bus.ask("Hello");
    return bus;
  }

  async #authenticate(command: string, expected: string): Promise<void> {
    this.#stream.write(`${command}\r\n`);
    const line = await this.#take((bytes) => bytes.indexOf("\n") + 1 || bytes.length + 1);
    if (!line.toString().startsWith(expected)) throw new Error(`${command}: ${line}`);
  }

  /** Wait until so many bytes are here as `length` says of them. */
  async #take(length: (bytes: Buffer) => number): Promise<Buffer> {
    while (this.#bytes.length < length(this.#bytes)) {
      const { done, value } = await this.#chunks.next();
      if (done) throw new Error("the bus has gone");
      this.#bytes = Buffer.concat([this.#bytes, value]);
    }
    const taken = this.#bytes.subarray(0, length(this.#bytes));
    this.#bytes = this.#bytes.subarray(taken.length);
    return taken;
  }

  /** Send a message, with duplicates of `fds`: its serial number. */
  send(message: Omit<BusMessage, "serial">, fds: number[] = []): number {
    const serial = ++this.#serial;
    const count = fds.length > 0 ? { fds: fds.length } : {};
    this.#stream.writeWithFds(encode({ ...message, ...count, serial }), fds);
    return serial;
  }

  /** The next message, whatever it is. */
  async receive(): Promise<Received> {
    const message = decode(await this.#take(lengthOf));
    return { ...message, passed: this.#fds.splice(0, message.fds ?? 0) };
  }

  /** The answer to the message with that serial; what comes before it is passed over. */
  async answerTo(serial: number): Promise<Received> {
    for (;;) {
      const message = await this.receive();
      if (message.replySerial !== serial) this.#stream.closeFds(message.passed);
      else if (message.type !== types.error) return message;
      else throw new Error(`${message.errorName}: ${message.body}`);
    }
  }

  /** Call a method of the bus itself. */
  ask(member: string, signature = "", body: (string | number)[] = []): Promise<Received> {
    return this.answerTo(this.send({ ...HELLO, type: types.call, member, signature, body }));
  }

  close(): void {
    this.#stream.destroy();
  }
}
