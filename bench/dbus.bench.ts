// Calls a second of the package dbus-native to a bus of its own, over the transport that the
// package has for Bun, over a net.Socket, which takes no descriptors, and over toDuplex(); client
// and bus on one processor.

import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { interleave, onOne, output, pinned, report, scaled, scratch } from "./harness.ts";
import { ours } from "./peers.ts";
import { somewhere } from "./processes.ts";

const CALLS = 6_000;
const PAUSE_MS = 10;

const config = (path: string): string => `<!DOCTYPE busconfig PUBLIC
 "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path=${path}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/>
  </policy>
</busconfig>`;

async function calls(transport: string, atOnce: number): Promise<number> {
  const [path, file] = [somewhere(), join(scratch, "bus.conf")];
  writeFileSync(file, config(path));
  const command = pinned(onOne[0], ["dbus-daemon", `--config-file=${file}`, "--nofork"]);
  const bus = Bun.spawn(command, { stdio: ["ignore", "ignore", "ignore"] });
  try {
    while (!existsSync(path)) {
      if (bus.exitCode !== null) throw new Error("dbus-daemon did not start");
      await Bun.sleep(PAUSE_MS);
    }
    const start = ours("dbus", transport, scaled(CALLS), atOnce);
    return Number.parseFloat(output(pinned(onOne[1], start(path))));
  } finally {
    bus.kill();
    await bus.exited;
  }
}

if (Bun.which("dbus-daemon") === null) console.log("(no dbus-daemon here)");
else {
  for (const [atOnce, amount] of [
    [1, "one at a time"],
    [16, "16 at a time"],
  ] as const) {
    const run = (transport: string) => (): Promise<number> => calls(transport, atOnce);
    const taken = await interleave({
      "bunix toDuplex": run("toDuplex"),
      "dbus-native's transport": run("own"),
      "net.Socket": run("net"),
    });
    report({ work: `D-Bus calls by dbus-native, ${amount}`, unit: "times/s" }, taken, [
      ["bunix toDuplex", "dbus-native's transport", 1.2],
      ["bunix toDuplex", "net.Socket"],
    ]);
  }
}
