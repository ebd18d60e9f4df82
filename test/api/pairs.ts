// Connected pairs: every kind of socket, over every kind of address, from both ends. Test bodies
// are written once and run over all of them.

import { system } from "../../native/platform.ts";
import {
  connect,
  connectSync,
  type DatagramSocket,
  listen,
  type Message,
  openDatagram,
  type Payload,
  type SendOptions,
  type SeqpacketSocket,
  type SocketOptions,
  type SocketType,
  type StreamSocket,
  socketPair,
} from "../../src/index.ts";
import { atEnd } from "../support/at-end.ts";
import { tempDir } from "../support/tmp.ts";

export type AnySocket = StreamSocket | SeqpacketSocket | DatagramSocket;
export type Route = "path" | "abstract" | "pair";

/** macOS has neither seqpacket sockets nor abstract names. */
const everywhere = system !== "darwin";
export const kinds: readonly SocketType[] = everywhere
  ? ["stream", "seqpacket", "datagram"]
  : ["stream", "datagram"];
const routes: readonly Route[] = everywhere ? ["path", "abstract", "pair"] : ["path", "pair"];
export const connectionTypes = everywhere
  ? (["stream", "seqpacket"] as const)
  : (["stream"] as const);
/** Where there is something to connect to. */
export const addressRoutes = everywhere ? (["abstract", "path"] as const) : (["path"] as const);

const directory = tempDir();
atEnd(directory.remove);
let serial = 0;

/** A path that nothing is at yet. Removed when the process's tests are done. */
export const freshPath = (): string => directory.file(`s${++serial}`);

/** A name that nobody has. */
export function freshAddress(route: Exclude<Route, "pair">): string {
  return route === "path" ? freshPath() : `@bunix-test-${process.pid}-${++serial}`;
}

/** Two sockets that talk to each other; `using` closes both. */
export interface Ends<S extends AnySocket = AnySocket> extends Disposable {
  readonly near: S;
  readonly far: S;
}

export function ends<S extends AnySocket>(...both: readonly S[]): Ends<S> {
  const [near, far] = both as readonly [S, S];
  const close = (): void => {
    near.close();
    far.close();
  };
  return { near, far, [Symbol.dispose]: close };
}

async function connected(
  type: "stream" | "seqpacket",
  address: string,
  options?: SocketOptions,
): Promise<Ends> {
  using server = listen(address, { ...options, type });
  const near = await connect(address, { ...options, type });
  return ends<AnySocket>(near, await server.accept());
}

function datagrams(route: "path" | "abstract", options?: SocketOptions): Ends {
  const [first, second] = [freshAddress(route), freshAddress(route)];
  const near = openDatagram(first, options);
  const far = openDatagram(second, { ...options, connect: first });
  near.connect(second);
  return ends<AnySocket>(near, far);
}

async function make(kind: SocketType, route: Route, options?: SocketOptions): Promise<Ends> {
  if (route === "pair") return ends<AnySocket>(...socketPair(kind, options));
  if (kind === "datagram") return datagrams(route, options);
  return connected(kind, freshAddress(route), options);
}

/** One row of the matrix. */
export interface Variant {
  readonly name: string;
  readonly kind: SocketType;
  readonly route: Route;
  readonly stream: boolean;
  readonly open: (options?: SocketOptions) => Promise<Ends>;
}

function variant(kind: SocketType, route: Route, reversed: boolean): Variant {
  const open = async (options?: SocketOptions): Promise<Ends> => {
    const made = await make(kind, route, options);
    return reversed ? ends(made.far, made.near) : made;
  };
  const name = `${kind} over ${route}${reversed ? ", reversed" : ""}`;
  return { name, kind, route, stream: kind === "stream", open };
}

/** All kinds × all addresses × both directions. */
export const variants: readonly Variant[] = kinds.flatMap((kind) =>
  routes.flatMap((route) => [variant(kind, route, false), variant(kind, route, true)]),
);

/** One pair of each kind, for what cannot depend on the address. */
export const pairVariants: readonly Variant[] = kinds.map((kind) => variant(kind, "pair", false));

/** How a call is made: without waiting, blocking the thread, or with a promise. */
export interface Form {
  readonly name: string;
  send(socket: AnySocket, data: Payload, options?: SendOptions): Promise<void>;
  receive(socket: AnySocket): Promise<Message | null | undefined>;
}

export const forms: readonly Form[] = [
  {
    name: "try",
    async send(socket, data, options) {
      if (socket.trySend(data, options) === null) throw new Error("trySend found no room");
    },
    receive: async (socket) => socket.tryReceive(),
  },
  {
    name: "sync",
    async send(socket, data, options) {
      socket.sendSync(data, { ...options, timeoutMs: 10_000 });
    },
    receive: async (socket) => socket.receiveSync({ timeoutMs: 10_000 }),
  },
  {
    name: "async",
    send: (socket, data, options) => socket.send(data, options),
    receive: (socket) => socket.receive(),
  },
];

/** A client and the server's end of it, connected by blocking calls. */
export function connectedSync(address: string): Ends<StreamSocket> {
  using server = listen(address);
  const near = connectSync(address);
  return ends(near, server.acceptSync({ timeoutMs: 10_000 }));
}
