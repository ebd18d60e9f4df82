// The client's side of Varlink. Calls go out at once; replies come in the order of the calls.

import { connect, type Fd, type StreamSocket } from "bunix";
import { indexed, Messages, type Parameters, type Reply, VarlinkError } from "./messages.ts";

export class Caller implements Disposable {
  readonly #messages: Messages<Reply>;
  /** Ends with the last reply of the call before. */
  #turn: Promise<void> = Promise.resolve();

  constructor(socket: StreamSocket) {
    this.#messages = new Messages(socket);
  }

  static async to(address: string): Promise<Caller> {
    return new Caller(await connect(address));
  }

  /** @param fds parameters of the reply that are descriptors, which are the caller's to close */
  async call(
    method: string,
    parameters: Parameters = {},
    fds: readonly string[] = [],
  ): Promise<Parameters> {
    for await (const reply of this.#replies({ method, parameters, fds })) return reply;
    throw new Error(`${method}: the connection ended before the reply`);
  }

  /** A call that has several replies. */
  more(
    method: string,
    parameters: Parameters = {},
    fds: readonly string[] = [],
  ): AsyncGenerator<Parameters> {
    return this.#replies({ method, parameters, fds, more: true });
  }

  /** A call that nobody answers. */
  async oneway(method: string, parameters: Parameters = {}): Promise<void> {
    const out = indexed(parameters);
    await this.#messages.send({ method, parameters: out.parameters, oneway: true }, out.fds);
  }

  async *#replies({ method, parameters, fds, more }: Asked): AsyncGenerator<Parameters> {
    const out = indexed(parameters);
    const before = this.#turn;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#turn = promise;
    const message = { method, parameters: out.parameters, ...(more === true && { more }) };
    const sending = this.#messages.send(message, out.fds);
    let continues = true;
    const next = async (): Promise<ReturnType<Messages<Reply>["fill"]>> => {
      const reply = await this.#messages.receive();
      if (reply === null) throw new Error(`${method}: the connection ended before the reply`);
      continues = reply.continues === true;
      if (reply.error !== undefined) throw new VarlinkError(reply.error, reply.parameters);
      return this.#messages.fill(reply.parameters ?? {}, fds);
    };
    try {
      await Promise.all([sending, before]);
      while (continues) yield (await next()).parameters;
    } finally {
      await this.#skip(() => (continues ? next() : null)).finally(resolve);
    }
  }

  /** Replies that nobody reads come all the same. */
  async #skip(next: () => Promise<{ readonly fds: readonly Fd[] }> | null): Promise<void> {
    try {
      for (let reply = next(); reply !== null; reply = next()) {
        for (const fd of (await reply).fds) fd.close();
      }
    } catch {
      // the last one was an error, or the end
    }
  }

  [Symbol.dispose](): void {
    this.#messages[Symbol.dispose]();
  }
}

interface Asked {
  readonly method: string;
  readonly parameters: Parameters;
  readonly fds: readonly string[];
  readonly more?: boolean;
}
