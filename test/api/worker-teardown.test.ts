// Descriptors of a Worker that is terminated, which runs none of its code any more; and the switch.

import { expect, test } from "bun:test";
import { capabilities } from "../../src/index.ts";
import { runSource, succeeded } from "../support/child.ts";

/** How many of a Worker's descriptors are open after it was terminated, and what is said of it. */
const PROGRAM = `
import { readlinkSync } from "node:fs";
import { capabilities, socketPair } from "@/src/index.ts";
if (Bun.isMainThread) {
  const worker = new Worker(import.meta.path);
  const { data: fds } = await new Promise((done) => { worker.onmessage = done; });
  const inode = (fd) => {
    try { return readlinkSync("/proc/self/fd/" + fd); } catch { return null; }
  };
  const inodes = fds.map(inode); // a number may be another file's later
  const open = () => fds.filter((fd, i) => inodes[i] !== null && inode(fd) === inodes[i]).length;
  const before = open();
  worker.terminate();
  await new Promise((done) => { worker.addEventListener("close", done); });
  for (let i = 0; i < Number(process.env.TRIES ?? 0) && open() > 0; i++) await Bun.sleep(10);
  const { workerTeardown } = capabilities();
  console.log(JSON.stringify({ before, after: open(), workerTeardown }));
  process.exit();
} else {
  globalThis.pairs = Array.from({ length: 40 }, () => socketPair("stream"));
  postMessage(globalThis.pairs.flat().map(({ fd }) => fd));
}`;

test("they are closed, and capabilities() says so", async () => {
  expect(capabilities().workerTeardown).toEqual({ available: true });
  const said = JSON.parse(succeeded(await runSource(PROGRAM, { env: { TRIES: "1000" } })));
  expect(said).toEqual({ before: 80, after: 0, workerTeardown: { available: true } });
});

test("BUNIX_NO_TEARDOWN=1: they stay open, and capabilities() says why", async () => {
  const env = { BUNIX_NO_TEARDOWN: "1" };
  const said = JSON.parse(succeeded(await runSource(PROGRAM, { env })));
  const workerTeardown = { available: false, reason: "BUNIX_NO_TEARDOWN=1" };
  expect(said).toEqual({ before: 80, after: 80, workerTeardown });
});
