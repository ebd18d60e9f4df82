// The guide's units under systemd itself: only in a machine where it is PID 1 and nothing is at
// stake (test/kernels/run.ts). A server on a passed socket, hardened as docs/systemd.md has it.

import { afterAll, expect, setDefaultTimeout } from "bun:test";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root, run, slower, succeeded } from "../support/child.ts";
import { testUnless } from "../support/unless.ts";

setDefaultTimeout(120_000 * slower);

const UNITS = "/run/systemd/system";
/** Where every user may read it, whatever this repository's folder is. */
const PROGRAM = join(root, "web-service.ts");

const whyNot =
  process.env["BUNIX_RIG"] === "kernels" && existsSync("/run/systemd/system")
    ? null
    : "takes a virtual machine with systemd: npm run test:kernels -- 6.1 kernels/units";

/** "# name" begins a unit in the guide's first block. */
function guide(): Map<string, string> {
  const text = readFileSync(join(root, "docs/systemd.md"), "utf8");
  const block = /```ini\n(.*?)```/s.exec(text)?.[1] ?? "";
  const units = Array.from(block.matchAll(/^# (\S+)\n(.*?)(?=^# |$(?![\s\S]))/gms));
  return new Map(units.map(([, name, unit]) => [name!, unit!]));
}

const server = `
import { capabilities, inheritedFds, notify, serveOn, watchdog } from "${root}/src/index.ts";
const web = inheritedFds().find(({ name }) => name === "web");
const counts = Object.entries(capabilities()).filter(([, one]) => one?.available === false);
const fetch = () => Response.json({ pid: process.pid, uid: process.getuid(), without: counts });
const server = serveOn(web.fd, (where) => Bun.serve({ ...where, fetch }));
await notify({ ready: true, status: "serving" });
using dog = watchdog()?.start();
process.on("SIGTERM", async () => { await server.stop(); process.exit(0); });
await new Promise(() => {});
`;

const systemctl = async (...args: string[]): Promise<string> => {
  const done = await run(["systemctl", ...args]);
  if (done.code === 0) return done.stdout.trim();
  const log = await run(["journalctl", "-n", "40", "--no-pager", "-u", "web.service"]);
  throw new Error(`systemctl ${args.join(" ")}: ${done.stderr}\n${log.stdout}`);
};

const ask = async (): Promise<{ pid: number; uid: number; without: [string, object][] }> =>
  JSON.parse(
    succeeded(await run(["curl", "-sS", "--unix-socket", "/run/web.sock", "http://localhost/"])),
  );

afterAll(async () => {
  if (whyNot !== null) return;
  await run(["systemctl", "stop", "web.socket", "web.service"]);
  rmSync(PROGRAM, { force: true });
});

testUnless(whyNot, "the guide's units serve, and no request is lost over restarts", async () => {
  mkdirSync(UNITS, { recursive: true });
  writeFileSync(PROGRAM, server);
  for (const [name, text] of guide()) {
    const here = text
      .replace("/usr/bin/bun", process.execPath)
      .replace("/srv/web.ts", PROGRAM)
      .replace("WatchdogSec=10", "WatchdogSec=600\nTimeoutStartSec=600");
    writeFileSync(join(UNITS, name), here);
  }
  await systemctl("daemon-reload");
  await systemctl("start", "web.socket");
  const first = await ask();
  expect(first.uid).toBeGreaterThan(60_000); // DynamicUser=
  const names = first.without.map(([name]) => name).filter((name) => name !== "notifyVsock");
  console.log(`note: without ${JSON.stringify(first.without)}`);
  for (const name of ["waiting", "sockDiag", "pidfdGetfd", "sendFd", "messageQueues"]) {
    expect(names).not.toContain(name);
  }
  expect(await systemctl("show", "-P", "StatusText", "web.service")).toBe("serving");
  const asking = (async () => {
    const pids = new Set<number>();
    for (let i = 0; i < 10; i++) pids.add((await ask()).pid); // throws where one is lost
    return pids;
  })();
  await systemctl("restart", "web.service");
  await systemctl("restart", "web.service");
  expect((await asking).size).toBeGreaterThan(0);
  expect((await ask()).pid).not.toBe(first.pid);
});
