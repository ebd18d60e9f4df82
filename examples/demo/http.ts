// One HTTP request, answered on a listening socket that another process has opened.

import { createServer } from "node:net";
import { type Fd, serveOn } from "bunix";

/** Answer one request with `text`; resolves with its first line when all is closed again. */
export function serveOne(listening: Fd, text: string): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  let request = "";
  const server = createServer((connection) => {
    connection.on("error", reject);
    connection.on("data", (bytes) => {
      request += bytes.toString("latin1");
      if (!request.includes("\r\n\r\n")) return;
      connection.end(response(text));
      server.close(() => resolve(request.slice(0, request.indexOf("\r\n"))));
    });
  });
  server.on("error", reject);
  serveOn(listening, (where) => server.listen(where));
  return promise;
}

function response(text: string): string {
  const head = [
    "HTTP/1.1 200 OK",
    "content-type: text/plain; charset=utf-8",
    `content-length: ${Buffer.byteLength(text)}`,
    "connection: close",
  ];
  return `${head.join("\r\n")}\r\n\r\n${text}`;
}
