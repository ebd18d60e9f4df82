// examples/x11-shm.ts against Xvfb, on a display that is free.

import { expect } from "bun:test";
import { runScript, succeeded } from "../support/child.ts";
import { peerTest } from "../support/peers.ts";
import { startDisplay, wakers } from "./daemons.ts";

const example = "examples/x11-shm.ts";

peerTest("a picture goes to Xvfb and comes back, with both wakers", ["Xvfb"], async () => {
  await using display = await startDisplay();
  for (const waker of wakers) {
    const env = { DISPLAY: display.address, BUNIX_WAKER: waker };
    expect(succeeded(await runScript(example, [], { env }))).toStartWith("65536 pixels went");
  }
});

peerTest("an X server without MIT-SHM is told", ["Xvfb"], async () => {
  await using display = await startDisplay("-extension", "MIT-SHM");
  const { code, stderr } = await runScript(example, [], { env: { DISPLAY: display.address } });
  expect(code).not.toBe(0);
  expect(stderr).toContain("this X server has no MIT-SHM");
});
