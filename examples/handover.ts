// A server that is replaced without a moment in which nobody serves.
//
//   bun examples/handover.ts

import { tmpdir } from "node:os";
import { join } from "node:path";
import { drain, drainable, Handover, listenTcp, resumeServer, serveOn } from "bunix";

const [version = 1, address = join(tmpdir(), `handover-${process.pid}`)] = process.argv.slice(2);
const handover = await Handover.open(`${address}`);
const web = handover.descriptor("web", () => listenTcp({ hostname: "127.0.0.1", port: 0 }));
const fetched = (_: Request, _server: object) => new Response(`version ${version}, ${process.pid}`);
const server = serveOn(
  web,
  (where) => Bun.serve({ ...where, fetch: drainable(fetched) }),
  { paused: true }, // until it is certain that this process is the one
);
await handover.ready();
resumeServer(server);
console.log(await (await fetch(server.url)).text());

if (version === 1) {
  const next = Bun.spawn([process.execPath, import.meta.path, "2", `${address}`], {
    stdio: ["ignore", "inherit", "inherit"],
  });
  console.log("replaced by", (await handover.replaced).pid === next.pid);
}
await drain(server);
handover.close();
