// Upgrades under load: no request fails, no connection is reset, old processes go.
//
// BUNIX_UPGRADES and BUNIX_UPGRADE_RATE ask for more: the full figure is 10 upgrades at 2,000
// requests a second over each of TCP and a Unix socket.

import { expect } from "bun:test";
import { readdirSync } from "node:fs";
import { fetchOnce } from "../api/servers.ts";
import { type Child, fewer, start, startScript } from "../support/child.ts";
import { compileC, peerTest } from "../support/peers.ts";
import { tempDir } from "../support/tmp.ts";

const UPGRADES = Number(process.env["BUNIX_UPGRADES"] ?? fewer(4));
const RATE = Number(process.env["BUNIX_UPGRADE_RATE"] ?? fewer(500));
const SERVER = "test/fixtures/handover-server.ts";
const LIFE_MS = 170_000;
/** Of ours, which each version serves at least. */
const REQUESTS_EACH = 20;

interface Report {
  readonly tcp: number;
  readonly unix: number;
  readonly failed: number;
  readonly resets: number;
  readonly connections: number;
  readonly slowestMs: number;
  readonly seconds: number;
  readonly first: string;
}

peerTest(
  `${UPGRADES} upgrades, some of them to versions that crash`,
  ["cc"],
  async () => {
    using dir = tempDir();
    await using all = new AsyncDisposableStack();
    const [control, path] = [dir.file("control"), dir.file("web")];
    const version = (name: string, fault = ""): Child =>
      all.use(startScript(SERVER, [control, path, name, fault], { timeoutMs: LIFE_MS }));
    const serves = async (name: string): Promise<void> => {
      for (let i = 0; i < REQUESTS_EACH; i++) {
        expect(await fetchOnce({ path })).toBe(name);
        expect(await fetchOnce({ host: "127.0.0.1", port })).toBe(name);
      }
    };
    let old = version("v0");
    const port = Number((await old.lineWith("serving v0")).split(" ")[2]);
    const program = compileC("test/fixtures/load.c");
    const options = { timeoutMs: LIFE_MS };
    await using load = start([program, `${port}`, path, `${RATE}`], options);
    await load.lineWith("running");
    for (let i = 1; i <= UPGRADES; i++) {
      for (const fault of i === 2 ? ["crash", "crash-prepared"] : []) {
        const crashed = await version("bad", fault).exited;
        expect(crashed.signal).not.toBeNull();
        expect(await old.lineWith("failed")).toContain("ended before it was ready");
        await serves(`v${i - 1}`);
      }
      const next = version(`v${i}`);
      await next.lineWith(`serving v${i} ${port}`);
      const { code, stdout, stderr } = await old.exited;
      expect([code, stderr, stdout]).toEqual([0, "", expect.stringContaining(`left v${i - 1}\n`)]);
      await serves(`v${i}`); // until then the old one may still get some
      old = next;
    }
    load.endInput();
    const report = JSON.parse((await load.line()) ?? "null") as Report;
    console.log(`note: ${UPGRADES} upgrades: ${JSON.stringify(report)}`);
    expect(report).toMatchObject({ failed: 0, resets: 0, first: "" });
    expect(Math.min(report.tcp, report.unix)).toBeGreaterThan(UPGRADES * REQUESTS_EACH);
    expect(readdirSync(dir.path).sort()).toEqual(["control", "web"]);
    old.kill();
    await old.exited;
    // a signal ends it as if nothing listened: the next server takes the files over
    expect(readdirSync(dir.path).sort()).toEqual(["control", "web"]);
  },
  LIFE_MS,
);
