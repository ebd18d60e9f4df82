// Varlink's messages: JSON, each ended by a zero byte, over a stream; descriptors beside them.

import type { Fd, FdLike, SocketReader, StreamSocket } from "bunix";

/** What a method takes or answers; a descriptor stands in it as its index in the message. */
export type Parameters = Readonly<Record<string, unknown>>;

export interface Call {
  readonly method: string;
  readonly parameters?: Parameters;
  /** The caller takes several replies. */
  readonly more?: boolean;
  /** The caller wants none. */
  readonly oneway?: boolean;
}

export interface Reply {
  readonly parameters?: Parameters;
  /** Another one follows. */
  readonly continues?: boolean;
  readonly error?: string;
}

/** The name of an error and its parameters, as a reply has them. */
export class VarlinkError extends Error {
  readonly parameters: Parameters;

  constructor(name: string, parameters: Parameters = {}) {
    super(name);
    this.parameters = parameters;
  }
}

const decoder = new TextDecoder("utf-8", { fatal: true });
const MAX_BYTES = 16 * 1024 * 1024;

/** One end of a connection. The kernel says how many descriptors came, the interface whose. */
export class Messages<Incoming extends Call | Reply> implements Disposable {
  readonly #socket: StreamSocket;
  readonly #reader: SocketReader;

  constructor(socket: StreamSocket) {
    this.#socket = socket;
    this.#reader = socket.reader({ maxBytes: MAX_BYTES });
  }

  /** Resolves when the kernel has all of it. */
  send(message: Call | Reply, fds: readonly FdLike[] = []): Promise<void> {
    return this.#socket.send([JSON.stringify(message), "\0"], { fds });
  }

  /** The next message; null at the end. */
  async receive(): Promise<Incoming | null> {
    const bytes = await this.#reader.until(0);
    if (bytes === null) return null;
    const message: unknown = JSON.parse(decoder.decode(bytes));
    if (typeof message !== "object" || message === null) throw new TypeError("no Varlink message");
    return message as Incoming;
  }

  /**
   * Descriptors in the places of their indices: `names` are the parameters that have one. No more
   * than these are taken, since what came may belong to the next message.
   */
  fill(parameters: Parameters, names: readonly string[]): { parameters: Parameters; fds: Fd[] } {
    const named = names.filter((name) => Number.isInteger(parameters[name]));
    const fds = this.#reader.takeFds(new Set(named.map((name) => parameters[name])).size);
    const places = named.map((name) => [name, fds[Number(parameters[name])]] as const);
    const lost = places.find(([, fd]) => fd === undefined);
    if (lost === undefined)
      return { parameters: { ...parameters, ...Object.fromEntries(places) }, fds };
    for (const fd of fds) fd.close();
    throw new VarlinkError("org.varlink.service.InvalidParameter", { parameter: lost[0] });
  }

  [Symbol.dispose](): void {
    this.#reader.close();
    this.#socket.close();
  }
}

/** The other way round: descriptors out of `parameters`, their indices in their places. */
export function indexed(parameters: Parameters): { parameters: Parameters; fds: FdLike[] } {
  const fds: FdLike[] = [];
  const isFd = (value: unknown): value is { readonly fd: number } =>
    typeof (value as { fd?: unknown } | null)?.fd === "number";
  const places = Object.entries(parameters).map(([name, value]) =>
    isFd(value) ? [name, fds.push(value) - 1] : [name, value],
  );
  return { parameters: Object.fromEntries(places), fds };
}
