// capabilities(): what is missing is said with its reason, and nothing stays open for having tried.

import { describe, expect, test } from "bun:test";
import { errno } from "../../native/errno.ts";
import { capabilities } from "../../src/index.ts";
import { type Libc, libc } from "../../src/syscalls/libc.ts";
import { fake, type Step } from "../support/seam.ts";
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

describe("a call that is refused", () => {
  const old = no("pidfd_open came with Linux 5.3");
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
        pidfdSignals: no("pidfd_send_signal came with Linux 5.1"),
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
