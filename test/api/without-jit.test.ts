// Where Bun can call no C (no executable memory, as MemoryDenyWriteExecute=yes has it): importing
// works, and everything else says why it does not, and what to change.

import { describe, expect, setDefaultTimeout } from "bun:test";
import { type Outcome, run, runSource, slower, succeeded } from "../support/child.ts";
import { noMemoryRestriction, withoutExecutableMemory } from "../support/sandbox.ts";
import { testUnless } from "../support/unless.ts";

setDefaultTimeout(60_000 * slower);

type Said = readonly [what: string, text: string];

interface Way {
  readonly name: string;
  readonly whyNot: string | null;
  readonly start: (...args: readonly string[]) => Promise<Outcome>;
  /** What has to be changed. */
  readonly advice: RegExp;
}

/** Makes its calls by code that its own compiler makes, JIT or not. */
const older = Bun.semver.satisfies(Bun.version, "<1.4.0");

const ways: readonly Way[] = [
  {
    name: "without executable memory",
    whyNot: await noMemoryRestriction(),
    start: (...args) => run(withoutExecutableMemory([process.execPath, ...args])),
    advice: /systemd unit set MemoryDenyWriteExecute=no/,
  },
  {
    name: "with the JIT switched off",
    whyNot: older ? `Bun ${Bun.version} calls C without its JIT, too` : null,
    start: (...args) => run([process.execPath, ...args], { env: { BUN_JSC_useJIT: "0" } }),
    advice: /take BUN_JSC_useJIT=0 out of the environment/,
  },
];

/** Those that make no call, take an object that only such a call makes, or answer without. */
const pure = [
  ...[
    "bindDatagram",
    "callerOf",
    "capabilities",
    "configureLoop",
    "detachBunSocket",
    "drain",
    "drainable",
    "formatAddress",
  ],
  ...[
    "isDraining",
    "openChannel",
    "parseAddress",
    "resumeServer",
    "serveHttp",
    "signalName",
    "signalNumber",
  ],
];

for (const { name, whyNot, start, advice } of ways) {
  describe(name, () => {
    testUnless(whyNot, "each function says what is wrong, and what to change", async () => {
      const outcome = await start("test/fixtures/without-jit.ts");
      const { found, functions, capabilities } = JSON.parse(succeeded(outcome));
      const calls: Record<string, Said> = found;
      for (const [call, [what, text]] of Object.entries(calls)) {
        expect(`${call}: ${what}: ${text}`).toMatch(/^\S+: UnsupportedError: libcFunctions/);
        expect(text).toMatch(advice);
      }
      const untried = functions.filter((one: string) => !(one in calls));
      expect(untried.sort()).toEqual(pure);
      const { libc, waker, system, arch, bun, tier, ...entries } = capabilities;
      expect([libc, waker, system, arch, bun]).toEqual([
        "none",
        null,
        "linux",
        process.arch,
        Bun.version,
      ]);
      expect(tier).toBe("verified");
      expect(Object.keys(entries).length).toBeGreaterThan(25);
      for (const entry of Object.values(entries)) {
        expect(entry).toEqual({ available: false, reason: expect.stringMatching(advice) });
      }
    });

    testUnless(whyNot, "bunix doctor says so, too, and fails", async () => {
      const { code, stdout } = await start("src/cli/main.ts", "doctor");
      expect(code).toBe(1);
      expect(stdout).toMatch(advice);
      const json = await start("src/cli/main.ts", "doctor", "--json");
      const { ok, checks } = JSON.parse(json.stdout);
      expect([json.code, ok]).toEqual([1, false]);
      const results = new Set(checks.map(({ result }: { result: string }) => result));
      expect([...results]).toEqual(["left out"]);
    });
  });
}

testUnless(older ? "see above" : null, "a Worker can import it, too", async () => {
  const source = `
    import { capabilities, signalNumber } from "@/src/index.ts";
    if (Bun.isMainThread) {
      const worker = new Worker(import.meta.path);
      worker.onerror = ({ message }) => { console.log(message); process.exit(1); };
      worker.onmessage = ({ data }) => { console.log(JSON.stringify(data)); process.exit(0); };
    } else postMessage([capabilities().libc, signalNumber("SIGTERM")]);`;
  const outcome = await runSource(source, { env: { BUN_JSC_useJIT: "0" } });
  expect(JSON.parse(succeeded(outcome))).toEqual(["none", 15]);
});
