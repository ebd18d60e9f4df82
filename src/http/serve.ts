// node:http servers on a listener of ours: each admitted connection becomes theirs.

import type { Server } from "node:http";
import type { Listener } from "../listener/listener.ts";
import type { StreamSocket } from "../socket/stream.ts";
import { callerFor, markCaller } from "./caller.ts";

/** Every admitted connection of `listener` becomes the server's. */
export function serveHttp(listener: Listener<StreamSocket>, server: Server): void {
  void listener.consume((socket) => {
    const caller = callerFor(socket);
    const stream = socket.toDuplex({ allowHalfOpen: true });
    stream.on("error", () => {});
    markCaller(stream, caller);
    server.emit("connection", stream);
  });
}
