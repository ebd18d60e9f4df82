// A server in C that is stopped, or whose backlog is full: live all the same, and left alone.

import { afterAll, describe, expect } from "bun:test";
import { lstatSync } from "node:fs";
import { basename } from "node:path";
import { AddressInUseError, connect, listen, probe } from "../../src/index.ts";
import { thrown } from "../api/tools.ts";
import { type Child, start } from "../support/child.ts";
import { compileC, peer, peerTest } from "../support/peers.ts";
import { tempDir } from "../support/tmp.ts";

const dir = tempDir();
afterAll(() => dir.remove());
const server = peer("cc").available ? compileC("test/fixtures/exclusive-server.c") : "";

async function serve(path: string, ...args: string[]): Promise<Child> {
  const child = start([server, path, ...args]);
  await child.lineWith("ready");
  return child;
}

/** Nothing that we may be told takes the address from it, and each refusal names it. */
async function refused(path: string, { pid }: Child): Promise<void> {
  const before = lstatSync(path).ino;
  const command = basename(server).slice(0, 15); // as long as the kernel's comm is
  for (const options of [{}, { takeOver: true }, { lockFile: `${path}.lock` }]) {
    const error = await thrown(() => listen(path, options));
    expect(error).toBeInstanceOf(AddressInUseError);
    expect(String(error)).toContain(`process ${pid} (${command})`);
  }
  expect(probe(path).state).toBe("listening");
  expect(lstatSync(path).ino).toBe(before);
}

/** It answers whoever connects next. */
async function answers(path: string): Promise<void> {
  using client = await connect(path, { timeoutMs: 10_000 });
  using message = await client.receive();
  expect(message?.text()).toBe("hello");
}

describe("a server in C", () => {
  peerTest("stopped with SIGSTOP", ["cc"], async () => {
    const path = dir.file("stopped");
    await using child = await serve(path);
    child.kill("SIGSTOP");
    await refused(path, child);
    child.kill("SIGCONT");
    await answers(path);
  });

  peerTest("with a full backlog", ["cc"], async () => {
    const path = dir.file("full");
    await using child = await serve(path, "full");
    await refused(path, child);
    child.kill("SIGUSR1");
    await answers(path);
  });
});
