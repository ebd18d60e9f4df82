// Closing what others sent never waits for them.

import { expect } from "bun:test";
import { runScript, succeeded } from "../support/child.ts";
import { peerTest } from "../support/peers.ts";

peerTest(
  "connections that linger are closed beside this thread, however they came",
  ["python3"],
  async () => {
    const options = { timeoutMs: 40_000 };
    const outcome = await runScript("test/fixtures/lingering-receiver.ts", [], options);
    const lines = succeeded(outcome).trim().split("\n");
    expect(lines).toHaveLength(16);
    expect(lines.at(-1)).toBe("nothing is left");
  },
  120_000,
);
