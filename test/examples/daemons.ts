// Daemons that the examples talk to, each with directories of its own, ready once it is returned.

import { writeFileSync } from "node:fs";
import { openDatagram } from "../../src/index.ts";
import { freshAddress } from "../api/pairs.ts";
import { type Child, start } from "../support/child.ts";
import { compileC } from "../support/peers.ts";
import type { TempDir } from "../support/tmp.ts";
import { wakersHere } from "../support/unless.ts";

export const wakers = wakersHere();

/** What a daemon in a mount namespace needs. */
export const apart = ["unshare", "mount", "root"];

/** Not on $PATH. */
export const journald = "/usr/lib/systemd/systemd-journald";

/** A daemon with an empty `directory`, and the way there from outside. */
function startApart(directory: string, script: string, env: Record<string, string> = {}) {
  const command = `mount -t tmpfs tmpfs ${directory}\n${script}`;
  const child = start(["unshare", "-m", "sh", "-ec", command], { env });
  return { child, root: `/proc/${child.pid}/root` };
}

export interface Daemon extends AsyncDisposable {
  readonly child: Child;
  /** What its clients are told. */
  readonly address: string;
}

/** End it with SIGTERM, so that it removes what it has made. */
function daemon(child: Child, address: string): Daemon {
  return {
    child,
    address,
    async [Symbol.asyncDispose]() {
      child.kill("SIGTERM");
      await child.exited;
    },
  };
}

const BUS = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>ADDRESS</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*"/>
    <allow receive_sender="*"/>
    <allow own="*"/>
  </policy>
</busconfig>`;

/** A bus of one's own; `listen` is a D-Bus address. */
export async function startBus(dir: TempDir, listen: string): Promise<Daemon> {
  const config = dir.file("bus.conf");
  writeFileSync(config, BUS.replace("ADDRESS", listen));
  const options = [`--config-file=${config}`, "--nofork", "--print-address=1"];
  const child = start(["dbus-daemon", ...options]);
  return daemon(child, await child.lineWith(listen));
}

/** An X server on a display that is free. */
export async function startDisplay(...more: string[]): Promise<Daemon> {
  const options = ["-displayfd", "1", "-screen", "0", "640x480x24", "-nolisten", "tcp"];
  const child = start(["Xvfb", ...options, ...more]);
  return daemon(child, `:${await child.lineWith("")}`);
}

/** A compositor made of libwayland; what is committed comes out of its standard output. */
export async function startCompositor(dir: TempDir, keymap: string): Promise<Daemon> {
  const program = compileC("test/fixtures/compositor.c", ["-lwayland-server"]);
  const address = dir.file("wayland-9");
  const child = start([program, address, keymap]);
  await child.lineWith("ready");
  return daemon(child, address);
}

/** busybox's syslogd; what it logs comes out of its standard output. */
export async function startSyslogd(): Promise<Daemon> {
  const { child, root } = startApart("/dev", "exec busybox syslogd -n -O -");
  await child.lineWith("syslogd started");
  return daemon(child, `${root}/dev/log`);
}

const JOURNAL = `[Journal]
Storage=volatile
Audit=no
ReadKMsg=no
ForwardToWall=no
`;

export interface Journal extends Daemon {
  /** Where the entries are. */
  readonly files: string;
}

/** systemd-journald with a /run of its own; `address` is the directory of its sockets. */
export async function startJournald(dir: TempDir): Promise<Journal> {
  const config = dir.file("journald.conf");
  writeFileSync(config, JOURNAL);
  const name = freshAddress("abstract");
  using notifications = openDatagram(name);
  const id = dir.file("machine-id"); // a container may have an empty one
  writeFileSync(id, `${"0123456789abcdef".repeat(2)}\n`);
  const script = `mount --bind ${id} /etc/machine-id
    mkdir -p /run/systemd/journald.conf.d
    cp ${config} /run/systemd/journald.conf.d/
    exec ${journald}`;
  const { child, root } = startApart("/run", script, { NOTIFY_SOCKET: name });
  const gone = child.exited.then(({ stderr }) => {
    throw new Error(`journald has ended: ${stderr}`);
  });
  for (let ready = false; !ready; ) {
    using message = await Promise.race([notifications.receive(), gone]);
    ready = message?.text().includes("READY=1") ?? false;
  }
  gone.catch(() => {}); // later it ends because we end it
  const running = daemon(child, `${root}/run/systemd/journal`);
  return { ...running, files: `${root}/run/log/journal` };
}
