// Notifications: systemd's tool and library say them to a socket of ours, and a manager in Python
// hears ours.

import { describe, expect } from "bun:test";
import type { DatagramSocket, Fd, Message } from "../../src/index.ts";
import { manager, program } from "../api/managers.ts";
import { freshAddress } from "../api/pairs.ts";
import { leakFree, marked, markOf, must } from "../api/tools.ts";
import { run, start, succeeded } from "../support/child.ts";
import { compileC, peerTest } from "../support/peers.ts";

/** The program in C that asks libsystemd. */
const library = (...words: string[]): string[] => [
  compileC("test/fixtures/activation-peer.c", ["-l:libsystemd.so.0"]),
  ...words,
];
const withLibrary = ["systemd-socket-activate", "cc"];

describe("notifications of others reach a socket of ours", () => {
  async function next(socket: DatagramSocket): Promise<{ text: string; message: Message }> {
    const message = must(await socket.receive());
    return { text: message.text(), message };
  }

  /** The one descriptor of a barrier. */
  async function barrier(socket: DatagramSocket): Promise<Fd> {
    const { text, message } = await next(socket);
    expect([text, message.fds.length]).toEqual(["BARRIER=1", 1]);
    return message.takeFds()[0]!;
  }

  peerTest("sd_notify, with descriptors and a barrier", withLibrary, () =>
    leakFree(async () => {
      using socket = manager();
      succeeded(await run(library("notify", "READY=1\nSTATUS=up")));
      expect((await next(socket)).text).toBe("READY=1\nSTATUS=up");
      using a = marked("a");
      using b = marked("b");
      succeeded(await run(library("store", "FDSTORE=1\nFDNAME=n"), { fds: [a.fd, b.fd] }));
      const { text, message } = await next(socket);
      expect([text, message.fds.map(markOf)]).toEqual(["FDSTORE=1\nFDNAME=n", ["a", "b"]]);
      message.close();
      await using child = start(library("barrier"));
      (await barrier(socket)).close();
      expect(succeeded(await child.exited)).toBe("1\n");
    }),
  );

  peerTest("systemd-notify, to a receiver that takes no descriptors", ["systemd-notify"], () =>
    leakFree(async () => {
      for (const acceptFds of [0, false] as const) {
        using socket = manager(freshAddress("path"), { acceptFds });
        const child = run(["systemd-notify", "--ready"]);
        expect((await next(socket)).text.trimEnd().split("\n")).toContain("READY=1");
        const { text, message } = await next(socket);
        expect([text, message.fds.length, message.fdsTruncated]).toEqual(["BARRIER=1", 0, true]);
        succeeded(await child); // its end of the barrier was closed
      }
    }),
  );

  peerTest("systemd-notify", ["systemd-notify"], () =>
    leakFree(async () => {
      using socket = manager();
      const words = ["--ready", "--status=up and about", "--pid=4711", "X_OWN=1"];
      await using child = start(["systemd-notify", ...words]);
      const { text } = await next(socket);
      const lines = text.trimEnd().split("\n");
      expect(lines.sort()).toEqual(["MAINPID=4711", "READY=1", "STATUS=up and about", "X_OWN=1"]);
      (await barrier(socket)).close(); // what it waits for
      succeeded(await child.exited);
    }),
  );
});

interface Told {
  readonly started?: number;
  readonly ended?: number;
  readonly names?: string[];
  readonly fields?: Readonly<Record<string, string>>;
  readonly fds?: number;
  readonly pid?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly now?: number;
}

/** What the manager in Python tells of `runs` runs of a program. */
async function managed(runs: number, source: string): Promise<Told[]> {
  const command = ["python3", "test/fixtures/activation-manager.py", String(runs)];
  const said = succeeded(await run([...command, ...program(source)]));
  const lines = said.trimEnd().split("\n");
  return lines.filter((line) => line.startsWith("{")).map((line) => JSON.parse(line) as Told);
}

peerTest("a service whose user cannot be named where it lives", ["unshare"], async () => {
  if ((await run(["unshare", "-U", "true"])).code !== 0) {
    console.log("note: no user namespaces here");
    return;
  }
  using socket = manager(freshAddress("abstract"));
  const source = `
import { notify } from "@/src/index.ts";
await notify({ ready: true });`;
  succeeded(await run(["unshare", "-U", ...program(source)]));
  using told = must(await socket.receive());
  expect([told.text(), told.credentials?.uid]).toEqual(["READY=1", process.getuid?.()]);
});

describe("a manager in Python", () => {
  peerTest("hears every field, and from whom", ["python3"], async () => {
    const source = `
import { notify } from "@/src/index.ts";
await notify({ reloading: true, status: "läuft" });
const signal = AbortSignal.timeout(20_000);
await notify({ ready: true, mainPid: process.pid }, { barrier: true, signal });
await notify({ stopping: true });`;
    const told = await managed(1, source);
    const { started } = told.shift()!;
    const last = told.pop()!;
    expect(last).toEqual({ ended: 0, names: [] });
    const self = { pid: started!, uid: process.getuid?.() ?? -1, gid: process.getgid?.() ?? -1 };
    for (const one of told) expect(one).toMatchObject(self);
    const fields = told.map((one) => ({ ...one.fields }));
    const time = Number(fields[0]!["MONOTONIC_USEC"]);
    expect(fields).toEqual([
      { RELOADING: "1", MONOTONIC_USEC: String(time), STATUS: "läuft" },
      { READY: "1", MAINPID: String(started) },
      { BARRIER: "1" },
      { STOPPING: "1" },
    ]);
    expect(told[2]!.fds).toBe(1);
    expect(time).toBeLessThanOrEqual(told[0]!.now!);
    expect(told[0]!.now! - time).toBeLessThan(60_000_000); // the same clock: not years apart
  });

  peerTest("keeps descriptors over a restart, until they are removed", ["python3"], async () => {
    const source = `
import { readFileSync } from "node:fs";
import { adoptSocket, inheritedFds, listen, notify, SharedMemory, UnixError } from "@/src/index.ts";
const entries = inheritedFds();
const found = (name) => entries.find((entry) => entry.name === name);
if (entries.length === 0) {
  const memory = SharedMemory.create(8);
  memory.bytes.set(new TextEncoder().encode("run 1"));
  const listener = listen("@bunix-stored-" + process.ppid);
  await notify({ ready: true }, { fds: [memory.fd, listener], fdNames: ["state", "listener"] });
  process.exit(0);
}
if (found("state")) {
  const text = new TextDecoder().decode(SharedMemory.map(found("state").fd).bytes.slice(0, 5));
  const listener = adoptSocket(found("listener").fd);
  const { listening } = found("listener").description.socket;
  const status = text + ", " + listener.address.kind + ", " + listening;
  await notify({ ready: true, status }, { removeFds: "state" });
} else await notify({ status: entries.map(({ name }) => name).join() });
process.exit(0);`;
    const told = await managed(3, source);
    const ends = told.filter(({ ended }) => ended !== undefined);
    expect(ends).toEqual([
      { ended: 0, names: ["state", "listener"] },
      { ended: 0, names: ["listener"] },
      { ended: 0, names: ["listener"] },
    ]);
    const status = told.flatMap(({ fields }) => fields?.["STATUS"] ?? []);
    expect(status).toEqual(["run 1, abstract, true", "listener"]);
  });
});
