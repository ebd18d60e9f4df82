// http.ts PATH node|serve: the same answers by Bun's own servers, which do not know who calls.

import { createServer } from "node:http";

const [path = "", kind = "node"] = process.argv.slice(2);

if (kind === "node") createServer((_, response) => void response.end("hello\n")).listen(path);
else Bun.serve({ unix: path, fetch: () => new Response("hello\n") });
