// A listening TCP socket that an Fd owns, so that it can outlive a server.

import { integer } from "../base/checks.ts";
import { Fd } from "../fd/fd.ts";

/** Where to listen. */
export interface ListenTcpOptions {
  /** Default "0.0.0.0": every IPv4 address of this machine. "::" is every address of both kinds. */
  readonly hostname?: string | undefined;
  /** 0: the kernel chooses a free one. */
  readonly port: number;
  /**
   * SO_REUSEPORT: several sockets of one user listen on the same port, and the kernel spreads
   * connections among them. All of them have to say so. Default false.
   */
  readonly reusePort?: boolean | undefined;
}

const MAX_PORTS = 65_535;

/**
 * A listening TCP socket, opened by Bun.listen; the caller closes it. For `serveOn`, or to be
 * passed to another process. Until a server accepts, connections wait in its backlog. Its port is
 * `fd.describe().socket?.port`.
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
