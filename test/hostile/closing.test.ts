// Closing what others sent never waits for them.

import { expect, test } from "bun:test";
import { socketPair, waitReadable } from "../../src/index.ts";
import { close, pipe } from "../../src/syscalls/fd.ts";
import { leakFree } from "../api/tools.ts";
import { runScript, succeeded } from "../support/child.ts";
import { peerTest } from "../support/peers.ts";

peerTest(
  "connections that linger are closed beside this thread, however they came",
  ["python3"],
  async () => {
    const options = { timeoutMs: 40_000 };
    const outcome = await runScript("test/fixtures/lingering-receiver.ts", [], options);
    const lines = succeeded(outcome).trim().split("\n");
    expect(lines).toHaveLength(17);
    expect(lines.at(-1)).toBe("nothing is left");
  },
  120_000,
);

test("a socket that is in its own queue goes when it is closed, and what else is in there", () =>
  leakFree(async () => {
    const made = pipe();
    if (typeof made === "number") throw new Error(`pipe2: ${made}`);
    const [reader, writer] = made;
    const [near, far] = socketPair("stream");
    near.trySend("x", { fds: [far, writer] });
    close(writer);
    near.close();
    const ended = waitReadable(reader); // nobody closes another Unix socket from here on
    far.close();
    expect((await ended).ended).toBe(true);
    close(reader);
  }));
