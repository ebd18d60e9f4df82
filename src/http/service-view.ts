// The service, as an intake sees it: the same whether Bun accepts or this library.

import type { Listener } from "../listener/listener.ts";
import type { StreamSocket } from "../socket/stream.ts";
import type { ServedConnection } from "./connection-types.ts";
import type { AnyServer, Kind } from "./server-kinds.ts";

export interface ServiceView {
  readonly listener: Listener<StreamSocket>;
  readonly server: AnyServer;
  readonly kind: Kind;
  /** The listener's or the server's `maxConnections` is reached. */
  readonly full: boolean;
  /** A connection begins: it counts until `ended`. */
  enter(connection: ServedConnection): void;
  ended(connection: ServedConnection): void;
  /** A request has come; `answer` is its response. */
  requested(answer: unknown): void;
  warn(text: string): void;
  /** Make it an uncaught exception, as if a listener of an event had thrown it. */
  uncaught(error: unknown): void;
}
