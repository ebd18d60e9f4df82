// http.ts PATH node|serve: HTTP that knows its caller, until it is killed. "node": serveHttp and
// node:http; each answer asks who calls. "serve": Bun.serve on a listener with rules.

import { createServer } from "node:http";
import { callerOf } from "../../src/http/caller.ts";
import { serveHttp } from "../../src/http/serve.ts";
import { listen, serveOn } from "../../src/index.ts";

const [path = "", kind = "node"] = process.argv.slice(2);
const allow = ({ uid }: { readonly uid: number | null }): boolean => uid === process.getuid?.();
const listener = listen(path, { allow });

if (kind === "node") {
  const server = createServer((request, response) => {
    response.end(callerOf(request)?.uid === process.getuid?.() ? "hello\n" : "who?\n");
  });
  serveHttp(listener, server);
} else {
  serveOn(listener, (where) => Bun.serve({ ...where, fetch: () => new Response("hello\n") }));
}
