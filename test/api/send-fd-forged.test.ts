// Announcements that bring nothing: forged, misdirected, withdrawn. Nothing of anybody else's is
// taken, or read.

import { describe, expect, setDefaultTimeout } from "bun:test";
import { openSync, readFileSync, readlinkSync } from "node:fs";
import { errno } from "../../native/errno.ts";
import { nr } from "../../native/numbers.ts";
import { socket as c } from "../../native/socket.ts";
import {
  Fd,
  type FdReceiver,
  receiveFds,
  receiveMessage,
  sendFd,
  sendMessage,
  signalNumber,
} from "../../src/index.ts";
import { decodeAnswer, encodeOffer, type ProcessIdentity } from "../../src/structs/fd-offer.ts";
import { decodeStart } from "../../src/structs/process-status.ts";
import { libc } from "../../src/syscalls/libc.ts";
import { queueSignal } from "../../src/syscalls/process.ts";
import { bind, socketpair } from "../../src/syscalls/socket.ts";
import { slower, start } from "../support/child.ts";
import { testsUnless, translatedSignals } from "../support/unless.ts";
import { codeOf, eventually, leakFree, marked } from "./tools.ts";

setDefaultTimeout(30_000 * slower);

const { peerTest, test } = testsUnless(await translatedSignals());
const realtimeSignal = "SIGRTMIN+4";
const number = signalNumber(realtimeSignal);

/** The two ends of an offer that is made by hand. */
class Pair implements Disposable {
  readonly #near: Fd;
  readonly far: Fd;

  constructor() {
    const made = socketpair(c.SOCK_SEQPACKET);
    if (typeof made === "number") throw new Error(`socketpair: ${made}`);
    const [near, far] = made;
    this.#near = Fd.adopt(near);
    this.far = Fd.adopt(far);
  }

  get fd(): number {
    return this.#near.fd;
  }

  /** Offered by process `from` to this one, as the name has it, which is the result. */
  name(from: number): Uint8Array {
    const party = (pid: number): ProcessIdentity => ({
      pid,
      start: decodeStart(readFileSync(`/proc/${pid}/stat`, "utf8"))!,
    });
    const name = encodeOffer({ from: party(from), to: party(process.pid) }, "5a");
    expect(bind(this.far.fd, { kind: "abstract", name })).toBe(0);
    return name;
  }

  [Symbol.dispose](): void {
    this.#near.close();
    this.far.close();
  }
}

describe("announcements that bring nothing", () => {
  const announce = (pid: number, value: number): number =>
    queueSignal(process.pid, { number, pid, uid: 0, value });

  /** Receive what is announced: it must be nothing. */
  async function nothing(receiver: FdReceiver, count: number): Promise<void> {
    const before = receiver.refused;
    await eventually(() => {
      expect(receiver.tryReceive()).toBeUndefined();
      return receiver.refused === before + count;
    }, "the announcements were seen");
  }

  peerTest("another process's descriptors: not taken, and not read", ["python3"], () =>
    leakFree(async () => {
      // made by us, for us, in the victim's name, and given to the victim
      using near = new Pair();
      const { far } = near;
      const script = "test/fixtures/send-fd-victim.py";
      const fds = [far.fd];
      await using victim = start(["python3", script, String(process.pid)], { fds });
      const numbers: Record<string, number> = JSON.parse((await victim.line())!);
      using fd = marked("forged");
      sendMessage(near, near.name(victim.pid), { fds: [fd] });
      using receiver = receiveFds({ realtimeSignal });
      for (const value of Object.values(numbers)) {
        expect(announce(victim.pid, value)).toBe(0);
        await nothing(receiver, 1);
      }
      victim.write("end\n");
      expect(await victim.line()).toBe("True");
    }),
  );

  test("a file is not even touched: this process's locks on it would go", () =>
    leakFree(async () => {
      using receiver = receiveFds({ realtimeSignal });
      using file = Fd.adopt(openSync(import.meta.path, "r"));
      expect(readlinkSync(`/proc/self/fd/${file.fd}`)).toBe(import.meta.path);
      const { syscall } = libc;
      let taken = 0;
      libc.syscall = (...args) => {
        if (args[0] === nr.SYS_pidfd_getfd) taken += 1;
        return syscall(...args);
      };
      try {
        announce(process.pid, file.fd);
        await nothing(receiver, 1);
      } finally {
        libc.syscall = syscall;
      }
      expect(taken).toBe(0);
    }));

  const offers: [what: string, count: number, text?: string][] = [
    ["no descriptor", 0],
    ["two descriptors", 2],
    ["three descriptors", 3],
    ["another text, as in a pair that others have named", 1, "a message to somebody else"],
  ];
  for (const [what, count, text] of offers) {
    test(`an offer with ${what}`, () =>
      leakFree(async () => {
        using receiver = receiveFds({ realtimeSignal });
        using near = new Pair();
        const name = near.name(process.pid);
        using fd = marked("wrong");
        sendMessage(near, text ?? name, { fds: new Array(count).fill(fd) });
        announce(process.pid, near.far.fd);
        await nothing(receiver, 1);
        using answer = receiveMessage(near);
        expect(decodeAnswer(answer!.data)).toBe(errno.EPROTO);
      }));
  }

  test("nobody's, no number, not queued", () =>
    leakFree(async () => {
      using receiver = receiveFds({ realtimeSignal });
      const { pid, exited } = start(["true"]);
      await exited;
      announce(pid, 0);
      announce(process.pid, -1);
      announce(process.pid, 999_999);
      process.kill(process.pid, number);
      await nothing(receiver, 4);
    }));

  test("the same twice: it comes once", () =>
    leakFree(async () => {
      using receiver = receiveFds({ realtimeSignal });
      using fd = marked("once");
      const { syscall } = libc;
      libc.syscall = (...args) => {
        if (args[0] === nr.SYS_pidfd_send_signal) syscall(...args);
        return syscall(...args);
      };
      const sending = sendFd(process.pid, fd, { realtimeSignal });
      libc.syscall = syscall;
      (await receiver.receive()).fd.close();
      await sending;
      await nothing(receiver, 1);
    }));

  test("what was withdrawn before it was received", () =>
    leakFree(async () => {
      using receiver = receiveFds({ realtimeSignal });
      const sends = [1, 2, 3].map(() => codeOf(() => refusedLate()));
      expect(await Promise.all(sends)).toEqual(["ETIMEDOUT", "ETIMEDOUT", "ETIMEDOUT"]);
      await nothing(receiver, 3);
    }));

  async function refusedLate(): Promise<void> {
    using fd = marked("late");
    await sendFd(process.pid, fd, { realtimeSignal, timeoutMs: 10 });
  }
});
