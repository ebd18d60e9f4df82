// Handing over where a service manager has its hand in it.

import { expect, setDefaultTimeout, test } from "bun:test";
import { existsSync } from "node:fs";
import { connect, listenTcp, openDatagram } from "../../src/index.ts";
import { fetchOnce, portOf } from "../api/servers.ts";
import { eventually } from "../api/tools.ts";
import { type Child, root, slower, start } from "../support/child.ts";
import { peerTest } from "../support/peers.ts";
import { tempDir } from "../support/tmp.ts";

setDefaultTimeout(60_000 * slower);

const script = `${root}/test/fixtures/handover-managed.ts`;

/** Started as systemd does it: descriptors from 3 on, and variables that name this very process. */
function managed(args: readonly string[], fds: readonly number[], notify = ""): Child {
  const program = 'LISTEN_PID=$$ exec "$0" "$@"';
  return start(["sh", "-c", program, process.execPath, script, ...args], {
    fds,
    env: {
      LISTEN_FDS: `${fds.length}`,
      LISTEN_FDNAMES: fds.map(() => "web").join(":"),
      ...(notify === "" ? {} : { NOTIFY_SOCKET: notify }),
    },
  });
}

test("the first one gets its socket from the manager, the next ones from each other", async () => {
  using dir = tempDir();
  using tcp = listenTcp({ hostname: "127.0.0.1", port: 0 });
  const target = { host: "127.0.0.1", port: portOf(tcp.fd) };
  const control = dir.file("control");
  using store = openDatagram(dir.file("notify"));
  await using first = managed([control, "one"], [tcp.fd], dir.file("notify"));
  await first.lineWith("serving one");
  using message = await store.receive();
  expect(message?.text()).toContain("READY=1");
  using stored = await store.receive();
  expect(stored?.text()).toContain("FDSTORE=1");
  expect(stored?.text()).toContain("FDNAME=web");
  expect(stored?.fds.length).toBe(1);
  expect(await fetchOnce(target)).toBe("one");
  // by hand: nothing is inherited
  await using second = start([process.execPath, script, control, "two"]);
  await second.lineWith("serving two");
  await first.lineWith("left one");
  expect(await fetchOnce(target)).toBe("two");
  // by the manager again, which has the same socket still
  await using third = managed([control, "three"], [tcp.fd]);
  await third.lineWith("serving three");
  await second.lineWith("left two");
  expect(await fetchOnce(target)).toBe("three");
  third.kill();
  expect((await third.exited).signal).toBe("SIGTERM");
  expect(existsSync(control)).toBe(true); // stale: the next one takes it over
  // all are gone; what the manager had stored starts the next one
  const [fd] = stored?.fds ?? [];
  if (fd === undefined) throw new Error("nothing was stored");
  await using fourth = managed([control, "four"], [fd.fd]);
  await fourth.lineWith("serving four");
  expect(await fetchOnce(target)).toBe("four");
});

peerTest("systemd-socket-activate", ["systemd-socket-activate"], async () => {
  using dir = tempDir();
  const [path, control] = [dir.file("web"), dir.file("control")];
  const command = ["systemd-socket-activate", "-l", path, "--fdname=web", process.execPath];
  await using manager = start([...command, script, control, "activated"]);
  const starts = (): Promise<boolean> =>
    connect(path).then(
      (socket) => {
        socket.close();
        return true;
      },
      () => false, // not bound yet, or not listening
    );
  await eventually(starts, "it listens");
  await manager.lineWith("serving activated");
  expect(await fetchOnce({ path })).toBe("activated");
  await using next = start([process.execPath, script, control, "next"]);
  await next.lineWith("serving next");
  await manager.lineWith("left activated");
  expect(await fetchOnce({ path })).toBe("next");
  next.kill();
  await next.exited;
  expect(existsSync(path)).toBe(true); // the manager's, not ours
});
