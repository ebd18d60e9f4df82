// A local HTTP API whose handlers know who calls: a log, and one route for its own user only.
//
//   bun examples/http-api.ts

import { request as ask, createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { callerOf, listen, serveHttp, userName } from "bunix";

const path = join(tmpdir(), `http-api-${process.pid}.sock`);
const server = createServer((request, response) => {
  const caller = callerOf(request); // undefined: not over this socket
  const who = userName(caller?.uid ?? null) ?? "somebody";
  console.log(`${request.method} ${request.url} by ${who}`);
  const mayStop = caller !== undefined && caller.uid === process.getuid?.();
  if (request.url === "/stop" && !mayStop) response.writeHead(403).end("not you\n");
  else response.end(`hello, ${who}\n`);
});

await using service = serveHttp(listen(path, { mode: 0o666 }), server);
for (const route of ["/", "/stop"]) {
  const options = { socketPath: path, path: route, agent: false };
  await new Promise<void>((resolve) => {
    ask(options, (answer) => {
      answer.setEncoding("utf8").on("data", (text) => process.stdout.write(text));
      answer.on("end", resolve);
    }).end();
  });
}
console.log("still open:", service.connections);
