// serveNotify hears what systemd's own tool and library say: systemd-notify and libsystemd.

import { expect } from "bun:test";
import { type NotifyServer, serveNotify } from "../../src/index.ts";
import { eventually, leakFree, marked, markOf } from "../api/tools.ts";
import { run, succeeded } from "../support/child.ts";
import { compileC, peerTest } from "../support/peers.ts";

/** The program in C that asks libsystemd. */
const library = (...words: string[]): string[] => [
  compileC("test/fixtures/activation-peer.c", ["-l:libsystemd.so.0"]),
  ...words,
];
const withLibrary = ["systemd-socket-activate", "cc"];

/** What is said by this process's children, as a script's. */
const listening = (server: NotifyServer) => server.service(process.pid, { access: "all" });

peerTest(
  "systemd-notify in a script: ready, status, and it is waited for",
  ["systemd-notify"],
  () =>
    leakFree(async () => {
      using server = serveNotify();
      using service = listening(server);
      const env = server.environment();
      const script = 'systemd-notify --status="loading $1"; systemd-notify --ready --status=up';
      succeeded(await run(["sh", "-c", script, "sh", "it"], { env }));
      expect([service.state, service.status]).toEqual(["ready", "up"]); // its barrier was passed
    }),
);

peerTest("libsystemd as the service itself: nothing is lost", withLibrary, () =>
  leakFree(async () => {
    using server = serveNotify();
    using file = marked("a");
    using other = marked("b");
    const env = { ...process.env, ...server.environment({ watchdogMs: 5000 }) };
    const hear = (command: string[], fds: number[] = []) => {
      const stdio = ["ignore", "pipe", "inherit", ...fds] as ["ignore", "pipe", "inherit"];
      const child = Bun.spawn(command, { env, stdio });
      const service = server.service(child.pid, { maxStoredFds: 2 });
      return { child, service };
    };
    const ready = hear(library("notify", "READY=1\nSTATUS=C speaks"));
    await ready.service.ready();
    expect(ready.service.status).toBe("C speaks");
    const stores = hear(library("store", "FDSTORE=1\nFDNAME=n"), [file.fd, other.fd]);
    await eventually(() => stores.service.storedNames.length === 2, "two descriptors");
    const taken = stores.service.takeFds();
    expect(taken.map(({ name, fd }) => [name, markOf(fd)])).toEqual([
      ["n", "a"],
      ["n", "b"],
    ]);
    for (const { fd } of taken) fd.close();
    const barrier = hear(library("barrier"));
    expect(await new Response(barrier.child.stdout).text()).toBe("1\n");
    const watchdog = hear(library("watchdog"));
    expect(await new Response(watchdog.child.stdout).text()).toBe("1 5000000\n");
    for (const { child, service } of [ready, stores, barrier, watchdog]) {
      expect(await child.exited).toBe(0);
      service.close();
    }
  }),
);

peerTest(
  "systemd-notify speaks for its parent as root (it may say so), for another user it does not",
  ["systemd-notify", "setpriv", "root"],
  () =>
    leakFree(async () => {
      using server = serveNotify();
      using service = server.service(process.pid);
      const env = server.environment();
      const other = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
      succeeded(await run([...other, "systemd-notify", "--status=other"], { env }));
      expect([service.status, server.refused]).toEqual([null, 2]); // and its barrier
      succeeded(await run(["systemd-notify", "--status=root"], { env }));
      expect(service.status).toBe("root");
    }),
);
