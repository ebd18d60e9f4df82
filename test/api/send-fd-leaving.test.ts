// A receiver that takes what it is sent, says so and ends: it was taken, whoever looked first.

import { expect } from "bun:test";
import { fewer, runScript, succeeded } from "../support/child.ts";
import { compileC } from "../support/peers.ts";
import { testsUnless, translatedSignals } from "../support/unless.ts";

const { peerTest } = testsUnless(await translatedSignals());
const ROUNDS = fewer(40);

peerTest("with traffic beside it each one is told that it was taken", ["cc"], async () => {
  const receiver = compileC("test/fixtures/send-fd-peer.c");
  const file = "test/fixtures/send-fd-leaving.ts";
  const said = succeeded(await runScript(file, [receiver, String(ROUNDS)]));
  expect(said).toBe("0 failed\n");
});
