// systemd-tmpfiles --clean beside servers that live: it takes what is stale, and nothing else.

import { expect } from "bun:test";
import { existsSync, lstatSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { run, succeeded } from "../support/child.ts";
import { peerTest } from "../support/peers.ts";
import { tempDir } from "../support/tmp.ts";
import { leaveStale, open, startServer, types, visit } from "./crew.ts";

/** Files older than that go. */
const AGE = "1s";

peerTest("live sockets and held lock files stay", ["systemd-tmpfiles", "root"], async () => {
  using dir = tempDir();
  const clean = dir.file("clean");
  const long = dir.file(`clean/${"d".repeat(150)}/s`);
  mkdirSync(dirname(long), { recursive: true });
  symlinkSync("clean", dir.file("link"));
  for (const type of types) {
    const files = ["fresh", "replaced", "mode", "by-link", "lock"].map((one) => `${clean}/${one}`);
    const lockFile = `${clean}/lock`;
    const servers = [
      open(`${clean}/fresh`, type, { lockFile }),
      open(`${clean}/replaced`, type),
      open(`${clean}/replaced`, type, { replace: true }),
      open(`${clean}/mode`, type),
      open(`${clean}/mode`, type, { replace: true, mode: 0o600 }),
      open(dir.file("link/by-link"), type),
      open(long, type),
    ];
    expect(lstatSync(`${clean}/mode`).mode & 0o777).toBe(0o600);
    leaveStale(`${clean}/stale`, type);
    writeFileSync(`${clean}/old`, "");
    await Bun.sleep(2_000); // older than AGE by the clock of files
    writeFileSync(dir.file("tmpfiles.conf"), `d ${clean} 0755 root root ${AGE}\n`);
    succeeded(await run(["systemd-tmpfiles", "--clean", dir.file("tmpfiles.conf")]));
    expect(existsSync(`${clean}/old`)).toBe(false); // it did its work
    expect(existsSync(`${clean}/stale`)).toBe(false);
    for (const file of [...files, long]) expect([file, existsSync(file)]).toEqual([file, true]);
    for (const name of ["fresh", "replaced", "mode", "by-link"]) visit(`${clean}/${name}`, type);
    const second = startServer(dir.file("another"), { lockFile });
    expect(await second.line()).toContain(`process ${process.pid} (`);
    for (const server of servers) server.close();
    for (const file of [...files, long]) expect([file, existsSync(file)]).toEqual([file, false]);
  }
});
