// A manager: it waits until its service is ready, keeps what the service stores with it, and starts
// it again with that when it shows no sign of life. The service speaks sd_notify, as for systemd.
//
//   bun examples/service-manager.ts

import { readFileSync } from "node:fs";
import { inheritedFdsByName, notify, SharedMemory, serveNotify, spawn, watchdog } from "bunix";

if (process.argv[2] === "serve") {
  const before = inheritedFdsByName()["state"]?.[0]?.fd; // what the run before has stored
  if (before === undefined) {
    using state = SharedMemory.create(Buffer.from("what I knew"));
    await notify({}, { fds: [state.fd], fdNames: "state" });
  } else watchdog()?.start(); // the first run shows no sign of life
  const status = before ? `again, with "${readFileSync(before.fd, "utf8")}"` : "for the first time";
  await notify({ ready: true, status });
  setInterval(() => {}, 1000);
} else {
  using manager = serveNotify();
  for (let run = 1, kept = {}; run <= 2; run++) {
    const env = { ...process.env, ...manager.environment({ watchdogMs: 300 }) };
    const child = spawn([process.execPath, import.meta.path, "serve"], { env, fds: kept });
    const onWatchdog = () => child.kill("SIGKILL");
    const options = { exited: child.exited, watchdogMs: 300, maxStoredFds: 4, onWatchdog };
    using service = manager.service(child.pid, options);
    await service.ready();
    console.log(`run ${run} is ready ${service.status}`);
    if (run === 2) child.kill();
    await child.exited;
    kept = Object.fromEntries(service.takeFds().map(({ name, fd }) => [name, fd]));
  }
}
