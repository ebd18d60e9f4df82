// The server's side of Varlink: interfaces, their methods, and org.varlink.service.

import type { Fd, FdLike, Listener, StreamSocket } from "bunix";
import { type Call, indexed, Messages, type Parameters, VarlinkError } from "./messages.ts";

/** What a method is called with. */
export interface Context {
  readonly more: boolean;
  readonly oneway: boolean;
}

type Result = Parameters | undefined;

export interface Method {
  /** Parameters that are descriptors. They are closed when the method has ended. */
  readonly fds?: readonly string[];
  /**
   * A generator's yields are replies that continue; what it returns is the last. Descriptors in
   * replies are given away: they are closed here once the kernel has them.
   */
  run(
    parameters: Parameters,
    context: Context,
  ): Result | Promise<Result> | AsyncGenerator<Parameters, Result>;
}

export interface Interface {
  readonly description: string;
  readonly methods: Readonly<Record<string, Method>>;
}

export interface Info {
  readonly vendor: string;
  readonly product: string;
  readonly version: string;
  readonly url: string;
}

const SERVICE = "org.varlink.service";
const DESCRIPTION = `interface ${SERVICE}
method GetInfo() -> (
  vendor: string, product: string, version: string, url: string, interfaces: []string
)
method GetInterfaceDescription(interface: string) -> (description: string)
error InterfaceNotFound (interface: string)
error MethodNotFound (method: string)
error InvalidParameter (parameter: string)
error ExpectedMore ()
`;

const failure = (name: string, parameters: Parameters = {}): VarlinkError =>
  new VarlinkError(`${SERVICE}.${name}`, parameters);

function closeIfOwned(fd: FdLike): void {
  if (typeof fd === "object" && "close" in fd) fd.close();
}

/** Interfaces that connections are served with. */
export class Service {
  readonly #interfaces: ReadonlyMap<string, Interface>;

  constructor(info: Info, interfaces: Readonly<Record<string, Interface>>) {
    const all = new Map(Object.entries(interfaces));
    const describe = (name: unknown): string => {
      const found = all.get(String(name));
      if (found === undefined) throw failure("InvalidParameter", { parameter: "interface" });
      return found.description;
    };
    const methods: Record<string, Method> = {
      GetInfo: { run: () => ({ ...info, interfaces: [...all.keys()] }) },
      GetInterfaceDescription: { run: (asked) => ({ description: describe(asked["interface"]) }) },
    };
    all.set(SERVICE, { description: DESCRIPTION, methods });
    this.#interfaces = all;
  }

  /** Serve everybody whom the listener admits; a connection that breaks the rules ends alone. */
  async listen(listener: Listener<StreamSocket>): Promise<void> {
    for await (const socket of listener) {
      this.serve(socket).catch((error) => console.error(`a connection ended: ${error}`));
    }
  }

  /** One connection, to its end: replies come in the order of the calls. */
  async serve(socket: StreamSocket): Promise<void> {
    using messages = new Messages<Call>(socket);
    for (let call = await messages.receive(); call !== null; call = await messages.receive()) {
      const given: Fd[] = [];
      try {
        await this.#answer(messages, call, given);
      } catch (error) {
        if (!(error instanceof VarlinkError)) throw error;
        const { message, parameters } = error;
        if (call.oneway !== true) await messages.send({ error: message, parameters });
      } finally {
        for (const fd of given) fd.close();
      }
    }
  }

  #find(method: string): Method {
    const at = method.lastIndexOf(".");
    const [name, member] = [method.slice(0, Math.max(at, 0)), method.slice(at + 1)];
    const found = this.#interfaces.get(name);
    if (found === undefined) throw failure("InterfaceNotFound", { interface: name });
    if (Object.hasOwn(found.methods, member)) return found.methods[member]!;
    throw failure("MethodNotFound", { method: member });
  }

  async #answer(messages: Messages<Call>, call: Call, given: Fd[]): Promise<void> {
    const { more = false, oneway = false } = call;
    const { fds: names = [], run } = this.#find(String(call.method));
    const { parameters, fds } = messages.fill(call.parameters ?? {}, names);
    given.push(...fds);
    const reply = async (result: Result, continues: boolean): Promise<void> => {
      const out = indexed(result ?? {});
      const head = continues ? { continues } : {};
      try {
        if (!oneway) await messages.send({ parameters: out.parameters, ...head }, out.fds);
      } finally {
        for (const fd of out.fds) closeIfOwned(fd);
      }
    };
    const replies = run(parameters, { more, oneway });
    if (replies === undefined || !(Symbol.asyncIterator in replies)) {
      await reply(await replies, false);
      return;
    }
    if (!more) throw failure("ExpectedMore");
    const each = replies as AsyncGenerator<Parameters, Result>;
    let next = await each.next();
    for (; next.done !== true; next = await each.next()) await reply(next.value, true);
    await reply(next.value, false);
  }
}
