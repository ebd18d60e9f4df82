// examples/dbus.ts on a bus of its own, with GDBus (python3) at the other end, both ways round.

import { describe, expect } from "bun:test";
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { eventually } from "../api/tools.ts";
import {
  type Child,
  root,
  run,
  runScript,
  start,
  startScript,
  succeeded,
} from "../support/child.ts";
import { debianPython, peerTest } from "../support/peers.ts";
import { tempDir } from "../support/tmp.ts";
import { startBus, wakers } from "./daemons.ts";

const needs = ["dbus-daemon", "python3-gi"];
const example = "examples/dbus.ts";
const python = [debianPython, join(root, "test/fixtures/dbus-peer.py")];
const COUNT = 40;

interface Scene {
  readonly env: Record<string, string>;
  readonly files: string[];
  /** All that stands in the files. */
  readonly text: string;
}

/** A bus, and files whose contents tell them apart. */
async function onBus(how: "path" | "abstract", body: (scene: Scene) => Promise<void>) {
  using dir = tempDir();
  await using bus = await startBus(dir, `unix:${how}=${dir.file("bus")}`);
  const files = Array.from({ length: COUNT }, (_, i) => dir.file(`file-${i}`));
  for (const [i, file] of files.entries()) writeFileSync(file, `this is file ${i}\n`);
  const text = files.map((_, i) => `this is file ${i}\n`).join("");
  await body({ env: { DBUS_SESSION_BUS_ADDRESS: bus.address }, files, text });
}

const open = ({ pid }: Child): number => readdirSync(`/proc/${pid}/fd`).length;

for (const waker of wakers) {
  describe(waker, () => {
    const ours = { BUNIX_WAKER: waker };

    peerTest("we call a service of GDBus: each answer with its own descriptor", needs, () =>
      onBus("path", async ({ env, files, text }) => {
        await using service = start([...python, "serve"], { env });
        await service.lineWith("on the bus");
        const said = await runScript(example, ["call", ...files], { env: { ...env, ...ours } });
        expect(succeeded(said)).toBe(text);
      }),
    );

    peerTest("GDBus calls our service, which keeps nothing open", needs, () =>
      onBus("abstract", async ({ env, files, text }) => {
        await using service = startScript(example, ["serve"], { env: { ...env, ...ours } });
        await service.lineWith("on the bus");
        expect(succeeded(await run([...python, "call", ...files], { env }))).toBe(text);
        const before = open(service);
        expect(succeeded(await run([...python, "call", ...files], { env }))).toBe(text);
        await eventually(() => open(service) <= before, "it has closed what it sent");
      }),
    );
  });
}

peerTest("we call ourselves; what cannot be opened is an error of D-Bus", needs, () =>
  onBus("path", async ({ env, files, text }) => {
    await using service = startScript(example, ["serve"], { env });
    await service.lineWith("on the bus");
    expect(succeeded(await runScript(example, ["call", ...files], { env }))).toBe(text);
    const refused = await runScript(example, ["call", `${files[0]}-not`], { env });
    expect(refused.code).not.toBe(0);
    expect(refused.stderr).toContain("org.freedesktop.DBus.Error.FileNotFound");
    const mixed = [`${files[0]}-not`, ...files.slice(1, 3)];
    expect(succeeded(await run([...python, "call", ...mixed], { env }))).toBe(
      "org.freedesktop.DBus.Error.FileNotFound\nthis is file 1\nthis is file 2\n",
    );
  }),
);

peerTest(
  "sd-bus, stricter than the others, takes our answers for D-Bus",
  ["dbus-daemon", "busctl"],
  () =>
    onBus("path", async ({ env, files }) => {
      await using service = startScript(example, ["serve"], { env });
      await service.lineWith("on the bus");
      const options = [`--address=${env["DBUS_SESSION_BUS_ADDRESS"]}`, "call"];
      const where = ["org.example.Files", "/org/example/Files", "org.example.Files"];
      const ask = (...call: string[]) => run(["busctl", ...options, ...where, ...call]);
      expect(succeeded(await ask("Open", "s", files[0] ?? ""))).toMatch(/^h \d+\n$/);
      const refused = await ask("Shut", "s", "a file");
      expect(refused.code).not.toBe(0);
      expect(refused.stderr).toContain("there is Open(s) alone");
    }),
);
