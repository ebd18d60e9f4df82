// A listening TCP socket with an owner of ours, for servers that come and go.

import { integer } from "../base/checks.ts";
import { Fd } from "../fd/fd.ts";

/** Where to listen. */
export interface ListenTcpOptions {
  /** Default "0.0.0.0": every IPv4 address of this machine. "::" is every address of both kinds. */
  readonly hostname?: string | undefined;
  /** 0: a free one. */
  readonly port: number;
  /**
   * SO_REUSEPORT: several sockets of one user listen on the same port, and the kernel spreads
   * connections among them. All of them have to say so. Default false.
   */
  readonly reusePort?: boolean | undefined;
}

const MAX_PORTS = 65_535;

/**
 * A TCP socket that listens, opened with Bun's own means and yours to close: for `serveOn`, or
 * to be handed to another process. Until somebody accepts, connections wait in its backlog. Which
 * port it has: `fd.describe().socket?.port`.
 *
 * @throws TypeError, RangeError; Bun's error, EADDRINUSE or EACCES, as Bun.listen throws it
 * @see tcp(7)
 */
export function listenTcp({ hostname = "0.0.0.0", port, reusePort = false }: ListenTcpOptions): Fd {
  integer("port", port, { max: MAX_PORTS });
  if (typeof reusePort !== "boolean") throw new TypeError("reusePort must be true or false");
  const where = { hostname, port, reusePort }; // bun-types knows reusePort of other sockets only
  const listener = Bun.listen({ ...where, socket: { data: () => {} } });
  try {
    return Fd.duplicate(listener);
  } finally {
    listener.stop(); // before its loop can accept: this all happens in one turn
  }
}
