// Bun.serve on a socket that was open before it: here one made by `listen`, with the mode and the
// exclusive address that Bun's own `unix` option does not have.
//
//   bun examples/adopt-server.ts

import { statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { listen, listenTcp, serveOn } from "bunix";

const path = join(tmpdir(), `adopt-server-${process.pid}`);
using listener = listen(path, { mode: 0o660 });
const unix = serveOn(listener, (where) =>
  Bun.serve({ ...where, fetch: () => new Response("over a Unix socket") }),
);
console.log(await (await fetch("http://localhost/", { unix: path })).text());
console.log("mode", (statSync(path).mode & 0o777).toString(8));
await unix.stop(true); // the socket stays its owner's

using tcp = listenTcp({ hostname: "127.0.0.1", port: 0 }); // or inheritedFds()[0].fd
const web = serveOn(tcp, (where) => Bun.serve({ ...where, fetch: () => new Response("over TCP") }));
console.log(await (await fetch(web.url)).text());
await web.stop(true);
