// Whether this Bun's node:http serves a connection that it did not accept itself
// (facts: #http-serves-handed-connections). Tried once, with a request of ours, on a stream that
// leads nowhere: all of it happens in one turn.

import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";

const GET = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
const WHY = "node:http of this Bun ignores connections that are handed to it; Bun 1.4 serves them";

/** What a server of node:http notes on a stream that it reads from. */
export interface HttpStream extends Duplex {
  /** The answer that is being given; null: none is due. */
  _httpMessage?: (ServerResponse & { readonly req?: IncomingMessage }) | null;
  /** null once the stream is somebody else's: a WebSocket, a tunnel. */
  parser?: unknown;
  readonly bytesRead?: number;
  readonly bytesWritten?: number;
}

let known: string | null | undefined;

/** null: it does. */
export function whyNoServing(): string | null {
  known ??= tried() ? "" : WHY;
  return known === "" ? null : known;
}

function tried(): boolean {
  const { createServer } = process.getBuiltinModule("node:http");
  const stream = nowhere();
  let works = false;
  const server: Server = createServer((request, response) => {
    works = request.socket === (stream as unknown) && stream._httpMessage === response;
    response.end();
  });
  try {
    server.emit("connection", stream);
    stream.emit("data", Buffer.from(GET));
    return works && stream.parser !== null;
  } catch {
    return false;
  } finally {
    stream.destroy();
  }
}

function nowhere(): HttpStream {
  const { Duplex } = process.getBuiltinModule("node:stream");
  const stream = new Duplex({
    read() {},
    write(_chunk, _encoding, done) {
      done();
    },
  });
  return stream.on("error", () => {});
}

let asked: boolean | undefined;

/** Whether Bun.serve tells which descriptor a request came over: `server.requestFD`. */
export function tellsDescriptors(): boolean {
  asked ??= triedServe();
  return asked;
}

function triedServe(): boolean {
  try {
    const unix = `\0bunix-${crypto.randomUUID()}`;
    const server = Bun.serve({ unix, fetch: () => new Response() });
    void server.stop(true);
    return typeof (server as { requestFD?: unknown }).requestFD === "function";
  } catch {
    return false;
  }
}
