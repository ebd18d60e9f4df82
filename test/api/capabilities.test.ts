// capabilities(): what is missing is said with its reason, and nothing stays open for having tried.

import { describe, expect, test } from "bun:test";
import { errno } from "../../native/errno.ts";
import { isAtLeast, type KernelVersion } from "../../src/base/kernel.ts";
import { capabilities } from "../../src/index.ts";
import { type Libc, libc } from "../../src/syscalls/libc.ts";
import { runSource, succeeded } from "../support/child.ts";
import { fake, type Step } from "../support/seam.ts";
import { sources } from "../support/source.ts";
import { leakFree } from "./tools.ts";

const { syscall } = libc;
/** The kernel answers. */
const real: Step = (...args) => syscall(...(args as unknown as Parameters<typeof syscall>));
const yes = { available: true };
const no = (reason: string): object => ({ available: false, reason });

test("this system has them, and looking leaves nothing open", () =>
  leakFree(() => {
    const { fifos, sharedMemory, pidfd, pidfdGetfd, pidfdSignals } = capabilities();
    for (const one of [fifos, sharedMemory, pidfd, pidfdGetfd, pidfdSignals]) {
      expect(one).toEqual({ available: true });
    }
  }));

/** The keys of all `new UnsupportedError(key, …)`, and of helpers that are given the key. */
function thrownKeys(): { keys: Set<string>; others: string[] } {
  const keys = new Set<string>();
  const others: string[] = [];
  for (const { file, text } of sources("src")) {
    for (const [, first = ""] of text.matchAll(/new UnsupportedError\(\s*([^,\s]+),/g)) {
      const literal = /^"(\w+)"$/.exec(first)?.[1];
      if (literal === undefined) others.push(`${file}: ${first}`);
      else keys.add(literal);
    }
    for (const [, key = ""] of text.matchAll(/\bneed\(fd, [\w.]+, "(\w+)"\)/g)) keys.add(key);
  }
  return { keys, others };
}

test("every key that an UnsupportedError can have is here, with its reason where it is not", () => {
  const found: Readonly<Record<string, unknown>> = { ...capabilities() };
  const { keys, others } = thrownKeys();
  expect(keys.size).toBeGreaterThan(15);
  for (const key of keys) expect(found[key], key).toHaveProperty("available");
  expect(others).toEqual(["src/socket/options.ts: capability"]); // need(), whose calls are read too
});

test("what only the main thread has says so in a Worker", async () => {
  const source = `
    import { isAtLeast, type KernelVersion } from "../../src/base/kernel.ts";
import { capabilities } from "@/src/index.ts";
    if (Bun.isMainThread) {
      const worker = new Worker(import.meta.path);
      worker.onmessage = ({ data }) => { console.log(JSON.stringify(data)); worker.terminate(); };
    } else {
      const { inheritedFds, signals, libcFunctions } = capabilities();
      postMessage([inheritedFds, signals, libcFunctions]);
    }`;
  const [inherited, signals, functions] = JSON.parse(succeeded(await runSource(source)));
  expect(inherited).toMatchObject({ available: false, reason: expect.stringContaining("main") });
  expect(signals).toMatchObject({ available: false, reason: expect.stringContaining("main") });
  expect(functions).toEqual(yes);
});

test("versions of kernels are compared number by number", () => {
  const order = ["2.6.39", "4.9", "4.19.0-27-amd64", "5.3", "5.10.0-32-cloud-amd64", "6.1", "6.12"];
  for (const [i, version] of order.entries()) {
    const versions = order.slice(0, i + 1).map((one) => /^[\d.]+/.exec(one)?.[0] ?? "");
    for (const one of versions) expect(isAtLeast(version, one as KernelVersion)).toBe(true);
    const later = order.slice(i + 1).map((one) => /^[\d.]+/.exec(one)?.[0] ?? "");
    for (const one of later) expect(isAtLeast(version, one as KernelVersion)).toBe(false);
  }
  expect(isAtLeast("6.18.5", "6.18")).toBe(true);
  expect(isAtLeast("7.3.4+deb13-cloud-amd64", "6.18")).toBe(true);
});

describe("a call that is refused", () => {
  const lacks = (call: string): object => no(`${call}: ENOSYS: not implemented by this kernel`);
  const old = lacks("pidfd_open");
  const cases: [call: keyof Libc, steps: Step[], entries: object][] = [
    ["memfd_create", [{ errno: errno.EPERM }], { sharedMemory: no("memfd_create: EPERM") }],
    [
      "syscall",
      [{ errno: errno.ENOSYS }],
      { pidfd: old, pidfdGetfd: old, pidfdSignals: old, sharedMemory: yes },
    ],
    [
      "syscall",
      [real, { errno: errno.EPERM }],
      { pidfd: yes, pidfdGetfd: no("pidfd_getfd: EPERM"), pidfdSignals: yes },
    ],
    [
      "syscall",
      [real, real, { errno: errno.ENOSYS }],
      {
        pidfd: yes,
        pidfdGetfd: yes,
        pidfdSignals: lacks("pidfd_send_signal"),
      },
    ],
  ];
  for (const [call, steps, entries] of cases) {
    test(`${call}, call ${steps.length}`, () =>
      leakFree(() => {
        using _ = fake(call, steps);
        expect(capabilities()).toMatchObject(entries);
      }));
  }
});
