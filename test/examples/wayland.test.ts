// examples/wayland.ts against a compositor in C, made of libwayland-server: a memfd each way.

import { expect } from "bun:test";
import { runScript, succeeded } from "../support/child.ts";
import { peerTest } from "../support/peers.ts";
import { tempDir } from "../support/tmp.ts";
import { startCompositor, wakers } from "./daemons.ts";

const example = "examples/wayland.ts";
const needs = ["cc", "wayland-scanner"];
const BYTES = 256 * 256 * 4;

/** Of the bytes that the example draws: 0 to 250, over and over. */
function sumOfPicture(): number {
  let sum = 0;
  for (let i = 0; i < BYTES; i++) sum += i % 251;
  return sum;
}

peerTest(
  "the compositor sees every byte, and its keymap comes, with both wakers",
  needs,
  async () => {
    using dir = tempDir();
    await using compositor = await startCompositor(dir, "xkb_keymap { of the test };");
    for (const waker of wakers) {
      const env = { WAYLAND_DISPLAY: compositor.address, BUNIX_WAKER: waker };
      const said = succeeded(await runScript(example, [], { env }));
      expect(said).toContain(`the compositor has had ${BYTES} bytes`);
      expect(said).toContain("its keymap begins: xkb_keymap { of the test };");
      expect(await compositor.child.line()).toBe(`${BYTES} bytes, sum ${sumOfPicture()}`);
    }
  },
);
