// Whether this Bun's node:http serves a connection that it did not accept itself
// (facts: #http-serves-handed-connections). Tried once, with a request of ours, on a stream that
// discards what is written; within one turn of the loop.

import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";

const GET = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
const WHY = "node:http of this Bun ignores connections that it did not accept; Bun 1.4 serves them";

/** What a server of node:http keeps on a stream that it reads from. */
export interface HttpStream extends Duplex {
  /** The response that is being sent; null: none. */
  _httpMessage?: (ServerResponse & { readonly req?: IncomingMessage }) | null;
  /** null once node:http no longer reads the stream: a WebSocket, a tunnel. */
  parser?: unknown;
  readonly bytesRead?: number;
  readonly bytesWritten?: number;
}

let known: string | null | undefined;

/** Why it does not; null: it does. */
export function whyNoServing(): string | null {
  known ??= tryHttp() ? "" : WHY;
  return known === "" ? null : known;
}

function tryHttp(): boolean {
  const { createServer } = process.getBuiltinModule("node:http");
  const stream = discardingStream();
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

function discardingStream(): HttpStream {
  const { Duplex } = process.getBuiltinModule("node:stream");
  const stream = new Duplex({
    read() {},
    write(_chunk, _encoding, done) {
      done();
    },
  });
  return stream.on("error", () => {});
}

let requestFdKnown: boolean | undefined;

/** Whether Bun.serve tells which descriptor a request came over: `server.requestFD`. */
export function tellsDescriptors(): boolean {
  requestFdKnown ??= tryBunServe();
  return requestFdKnown;
}

function tryBunServe(): boolean {
  try {
    const unix = `\0bunix-${crypto.randomUUID()}`;
    const server = Bun.serve({ unix, fetch: () => new Response() });
    void server.stop(true);
    return typeof (server as { requestFD?: unknown }).requestFD === "function";
  } catch {
    return false;
  }
}
