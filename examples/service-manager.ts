// A manager: its service is ready, stores a descriptor, hangs, and is started again with that.
//
//   bun examples/service-manager.ts

import { readFileSync } from "node:fs";
import { inheritedFdsByName, notify, SharedMemory, serveNotify, spawn, watchdog } from "bunix";

if (process.argv[2] === "serve") {
  const before = inheritedFdsByName()["state"]?.[0]?.fd; // of the run before
  if (before === undefined) {
    using state = SharedMemory.create("what I knew");
    await notify({}, { fds: [state], fdNames: "state" }); // and then no sign of life
  } else watchdog()?.start();
  const status = before ? `again, with "${readFileSync(before.fd, "utf8")}"` : "for the first time";
  await notify({ ready: true, status });
  await new Promise((resolve) => setTimeout(resolve, 60_000));
} else {
  using manager = serveNotify();
  for (let run = 1, kept = {}; run <= 2; run++) {
    const env = { ...process.env, ...manager.environment({ watchdogMs: 300 }) };
    const child = spawn([process.execPath, import.meta.path, "serve"], { env, fds: kept });
    const how = { exited: child.exited, maxStoredFds: 4, onWatchdog: () => child.kill("SIGKILL") };
    using service = manager.service(child.pid, { ...how, watchdogMs: 300 });
    await service.ready();
    console.log(`run ${run} is ready ${service.status}`);
    if (run === 2) child.kill();
    await child.exited;
    kept = Object.fromEntries(service.takeFds().map(({ name, fd }) => [name, fd]));
  }
}
