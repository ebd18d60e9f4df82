// What connections come into, whoever accepts them: the service, as an intake sees it.

import type { Listener } from "../listener/listener.ts";
import type { StreamSocket } from "../socket/stream.ts";
import type { AnyServer, Kind } from "./kinds.ts";
import type { Served } from "./served.ts";

export interface Hall {
  readonly listener: Listener<StreamSocket>;
  readonly server: AnyServer;
  readonly kind: Kind;
  /** As many are here as may be: of the listener's, or of the server's `maxConnections`. */
  readonly full: boolean;
  /** A connection begins: it is here until `gone`. */
  enter(connection: Served): void;
  gone(connection: Served): void;
  /** A request comes, to be answered by this. */
  requested(answer: unknown): void;
  warn(text: string): void;
  /** As if a listener of an event had thrown it. */
  uncaught(error: unknown): void;
}
