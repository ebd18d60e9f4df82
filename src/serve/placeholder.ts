// The address where a server of Bun is started before its listening socket is exchanged, and how
// that socket is found.

import { UnsupportedError } from "../base/errors.ts";
import { inodeOf } from "../fd/inode.ts";
import { decodeInet, isLoopback } from "../structs/sockaddr-in.ts";
import { decodeSockaddr, toBytes } from "../structs/sockaddr-un.ts";
import { rawName } from "../syscalls/socket.ts";
import { isListening, type Registration, registrations } from "./epoll-entry.ts";

/**
 * The address where the server is to be started, only for a moment. Spread it into the options of
 * Bun.serve, Bun.listen, or of `listen` of a node:net, node:http or node:https server.
 */
export type PlaceholderAddress = (
  | { readonly unix: string; readonly path: string }
  | { readonly hostname: string; readonly host: string; readonly port: 0 }
) & {
  /** If Bun.serve takes one (no Bun up to 1.4.5): a duplicate, preferred to the address. */
  readonly fd?: number;
};

export const BUN_DIFFERS = "it depends on how Bun keeps its sockets, and this Bun differs";

/**
 * An address of the same family: an abstract name that cannot be guessed, or a free port of the
 * loopback interface. It is bound for a moment, leaves nothing behind, and a client that connects
 * to it is disconnected.
 */
export function placeholderFor(family: "unix" | "inet" | "inet6"): PlaceholderAddress {
  if (family === "unix") {
    const name = `\0bunix-${crypto.randomUUID()}`;
    return { unix: name, path: name };
  }
  const host = family === "inet" ? "127.0.0.1" : "::1";
  return { hostname: host, host, port: 0 };
}

/** The event loop's registration of the socket that `start` opened. */
export function findStarted(
  where: PlaceholderAddress,
  { before, port }: { before: ReadonlySet<number>; port?: number | undefined },
): Registration {
  const found = registrations().filter(
    ({ fd, inode }) =>
      !before.has(inode) && inodeOf(fd) === inode && isListening(fd) && isAt(fd, where, port),
  );
  const [entry, another] = found;
  if (entry === undefined) {
    const place = "unix" in where ? where.unix.replace("\0", "@") : where.hostname;
    const reason = `no socket that listens at ${place} appeared in the event loop`;
    throw new UnsupportedError("serveOn", `${reason}; did start spread \`where\`? ${BUN_DIFFERS}`);
  }
  if (another !== undefined) throw new TypeError("start has to start one server, not several");
  return entry;
}

function isAt(fd: number, where: PlaceholderAddress, port: number | undefined): boolean {
  const name = rawName(fd);
  if (typeof name === "number") return false;
  if ("unix" in where) {
    const found = decodeSockaddr(name, name.length);
    const wanted = toBytes(where.unix).subarray(1);
    return found.kind === "abstract" && Buffer.compare(found.name, wanted) === 0;
  }
  const found = decodeInet(name);
  if (found === null || !isLoopback(found)) return false;
  return port === undefined || found.port === port;
}
