// A web service under systemd, whose units are in docs/systemd.md: it counts its requests, and goes
// on counting after restarts and upgrades. Started by hand it asks itself once.
//
//   bun examples/service.ts

import { drain, drainable, listenTcp, SharedMemory, serveOn } from "bunix";
import { inheritedFdsByName, notify, watchdog } from "bunix/activation";

const { web, count: kept } = inheritedFdsByName();
using memory = kept?.[0] ? SharedMemory.map(kept[0].fd) : SharedMemory.create(4);
const count = new Uint32Array(memory.bytes.buffer, memory.bytes.byteOffset, 1);
const answer = (_: Request, _server: object): Response =>
  Response.json({ request: Atomics.add(count, 0, 1) + 1, pid: process.pid });
const options = { fetch: drainable(answer) };
using door = web?.[0]?.fd ?? listenTcp({ hostname: "127.0.0.1", port: 0 });
const server = serveOn(door, (where) => Bun.serve({ ...where, ...options }));

if (kept === undefined) await notify({}, { fds: [memory], fdNames: "count" }); // for the next run
const managed = await notify({ ready: true, status: "serving" });
using _dog = watchdog()?.start();
process.on("SIGHUP", async () => {
  await notify({ reloading: true });
  await notify({ ready: true, status: "serving, reloaded" });
});
const told = new Promise((resolve) => process.once("SIGTERM", resolve));
if (!managed) console.log(await (await fetch(server.url)).text());
else await told;
await notify({ stopping: true });
await drain(server, { idleMs: 1_000 }); // what was accepted is answered
