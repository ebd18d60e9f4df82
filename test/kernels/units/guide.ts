// The units of docs/systemd.md, as they stand there, with examples/service.ts: hardened as far as
// Bun allows, on a socket that systemd made, under load, restarted, reloaded, and stuck.

import { expect, setDefaultTimeout } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { root, run } from "../../support/child.ts";
import { testUnless } from "../../support/unless.ts";
import {
  get,
  LIMIT_MS,
  load,
  PATIENT,
  program,
  property,
  propertyIs,
  systemctl,
  units,
  whyNot,
} from "../systemd.ts";

setDefaultTimeout(LIMIT_MS);

const SOCKET = "/run/web.sock";
/** An emulated machine is slow, and its signs of life are late. */
const WATCHDOG_SECONDS = 60;

/** "# name" begins a unit in the guide's first block. Only what depends on the machine differs. */
function guide(): Record<string, string> {
  const text = readFileSync(join(root, "docs/systemd.md"), "utf8");
  const block = /```ini\n(.*?)```/s.exec(text)?.[1] ?? "";
  const found = Array.from(block.matchAll(/^# (\S+)\n(.*?)(?=^# |$(?![\s\S]))/gms));
  expect(found.map(([, name]) => name)).toEqual(["web.socket", "web.service"]);
  const here = (unit: string): string =>
    unit
      .replace("/usr/bin/bun", process.execPath)
      .replace("/srv/web.ts", program("web.ts", service()))
      .replace(/WatchdogSec=\d+/, `WatchdogSec=${WATCHDOG_SECONDS}\n${PATIENT}`);
  return Object.fromEntries(found.map(([, name = "", unit = ""]) => [name, here(unit)]));
}

const CURL = ["curl", "-sS", "--unix-socket", SOCKET];

/**
 * Its thread hangs. A process that SIGSTOP stopped was seen to accept, and lose, one more request
 * when systemd killed it: it is let go on for that.
 */
const HANG = `const answerOrHang = (request, server) => {
  if (!request.url.endsWith("/hang")) return answer(request, server);
  void notify({ status: "hangs" }); // it is out when this returns
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
};
const options = { fetch: drainable(answerOrHang) };`;

/** The example, with other things to ask it. */
const service = (): string =>
  readFileSync(join(root, "examples/service.ts"), "utf8")
    .replaceAll(/"bunix(\/\w+)?"/g, (_all, door = "/index") => `"@/src${door}.ts"`)
    .replace("const answer =", 'import { capabilities } from "@/src/index.ts";\nconst answer =')
    .replace("pid: process.pid", "pid: process.pid, uid: process.getuid?.(), can: capabilities()")
    .replace("const options = { fetch: drainable(answer) };", HANG);

interface Answer {
  readonly request: number;
  readonly pid: number;
  readonly uid: number;
  readonly can: Readonly<Record<string, { available: boolean; reason?: string }>>;
}

const ask = async (): Promise<Answer> => JSON.parse(await get(SOCKET));

testUnless(
  whyNot,
  "the guide's units: no request is lost, whatever happens to the service",
  async () => {
    await using _units = await units(guide());
    await systemctl("start", "web.socket");
    const first = await ask();
    expect(first.request).toBe(1);
    expect(first.uid).toBeGreaterThan(60_000); // DynamicUser=
    expect(await property("web.service", "StatusText")).toBe("serving");
    const lacking = Object.entries(first.can).filter(([, one]) => one?.available === false);
    for (const [name, { reason }] of lacking) console.log(`note: ${name}: ${reason}`);
    for (const name of [
      "waiting",
      "sockDiag",
      "pidfdGetfd",
      "sendFd",
      "messageQueues",
      "serveOn",
    ]) {
      expect(lacking.map(([name]) => name)).not.toContain(name);
    }

    const loaded = await load(SOCKET);
    await systemctl("restart", "web.service");
    await systemctl("reload", "web.service");
    await propertyIs("web.service", "StatusText", "serving, reloaded");
    await systemctl("restart", "web.service");
    const second = await ask();
    expect(second.pid).not.toBe(first.pid);

    const answered = await loaded.end();
    console.log(`note: ${answered} connections under load, none lost`);
    expect(answered).toBeGreaterThan(3);

    // a thread that hangs: what comes meanwhile waits for the next run
    expect(await property("web.service", "NRestarts")).toBe("0");
    const hung = run([...CURL, "http://localhost/hang"], { timeoutMs: LIMIT_MS });
    await propertyIs("web.service", "StatusText", "hangs");
    const waiting = ask();
    await propertyIs("web.service", "NRestarts", "1");
    expect((await waiting).pid).not.toBe(second.pid);
    expect((await hung).code).not.toBe(0); // what was accepted ends with who accepted it

    // the memory was stored with systemd all the time, and has counted everything
    expect((await ask()).request).toBe(answered + 4);
    expect(await property("web.service", "NFileDescriptorStore")).toBe("1");
    const log = await run(["journalctl", "-u", "web.service", "-o", "cat", "--no-pager"]);
    expect(log.stdout).toContain("Watchdog timeout");
    expect(log.stdout).not.toContain("Warning:");
  },
);
