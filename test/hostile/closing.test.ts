// Closing what others sent never waits for them.

import { expect, test } from "bun:test";
import { errno } from "../../native/errno.ts";
import { type StreamSocket, socketPair, waitReadable } from "../../src/index.ts";
import { close, pipe } from "../../src/syscalls/fd.ts";
import { libc } from "../../src/syscalls/libc.ts";
import { eventually, leakFree } from "../api/tools.ts";
import { runScript, succeeded } from "../support/child.ts";
import { peerTest } from "../support/peers.ts";
import { type Fake, fake } from "../support/seam.ts";

peerTest(
  "connections that linger are closed beside this thread, however they came",
  ["python3"],
  async () => {
    const options = { timeoutMs: 40_000 };
    const outcome = await runScript("test/fixtures/lingering-receiver.ts", [], options);
    const lines = succeeded(outcome).trim().split("\n");
    expect(lines).toHaveLength(18);
    expect(lines.at(-1)).toBe("nothing is left");
  },
  120_000,
);

/** A pipe whose writing end is in the queue of `far`, together with `far` itself. */
function inItsOwnQueue(): { far: StreamSocket; reader: number } {
  const made = pipe();
  if (typeof made === "number") throw new Error(`pipe2: ${made}`);
  const [reader, writer] = made;
  const [near, far] = socketPair("stream");
  near.trySend("x", { fds: [far, writer] });
  close(writer);
  near.close();
  return { far, reader };
}

/** Unix sockets that are opened meanwhile, to be closed: the kernel's collector runs then. */
const collecting = (): Fake => fake("socket", []);

// Any program of this machine that closes a Unix socket has the kernel collect, too. So beside what
// becomes of the descriptors it is looked at who has it collect, and when.

test("a socket that is in its own queue goes when it is closed, and what else is in there", () =>
  leakFree(async () => {
    const { far, reader } = inItsOwnQueue();
    const ended = waitReadable(reader);
    using collects = collecting();
    far.close();
    await eventually(() => collects.calls.length > 0, "the kernel collects");
    expect((await ended).ended).toBe(true);
    close(reader);
  }));

test("the same where the closing takes long: the kernel collects once it is done", () =>
  leakFree(async () => {
    const { far, reader } = inItsOwnQueue();
    const ended = waitReadable(reader);
    using collects = collecting();
    let busy = true;
    const notYet = (name: "pthread_timedjoin_np" | "pthread_tryjoin_np"): Fake => {
      const { [name]: real } = libc;
      const one = (...args: number[]): number =>
        busy ? errno.EBUSY : (real as (...args: number[]) => number)(...args);
      return fake(name, new Array(1_000).fill(one));
    };
    using _timed = notYet("pthread_timedjoin_np");
    using tried = notYet("pthread_tryjoin_np");
    far.close();
    await eventually(() => tried.calls.length > 0, "the thread is looked at again");
    expect(collects.calls).toHaveLength(0);
    busy = false;
    await eventually(() => collects.calls.length > 0, "the kernel collects");
    expect((await ended).ended).toBe(true);
    close(reader);
  }));
