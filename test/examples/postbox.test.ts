// examples/postbox.ts: the post box at a glance, with foreign senders and both wakers; and the part
// of the demo that uses it.

import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { MessageQueue, openFifo, signalNumber } from "../../src/index.ts";
import {
  type Child,
  root,
  run,
  runScript,
  slower,
  startScript,
  succeeded,
} from "../support/child.ts";
import { peerTest } from "../support/peers.ts";
import { tempDir } from "../support/tmp.ts";
import { foreignNumber } from "../support/unless.ts";
import { wakers } from "./daemons.ts";

setDefaultTimeout(30_000 * slower);

const FILE = "examples/postbox.ts";
const MOST_LINES = 60;

interface Box {
  readonly child: Child;
  readonly queue: string;
}

async function open(directory: string, waker = wakers[0]): Promise<Box> {
  const child = startScript(FILE, [directory], { env: { BUNIX_WAKER: waker } });
  const queue = (await child.lineWith("mq_send(3) to ")).slice("mq_send(3) to ".length);
  await child.line();
  return { child, queue };
}

describe.each(wakers)("waker %s", (waker) => {
  peerTest("prints what comes, each in one line", ["sh", "socat", "kill"], async () => {
    using dir = tempDir();
    const { child, queue } = await open(dir.path, waker);
    await using _ = child;
    const uid = process.getuid?.();
    const shell = async (script: string): Promise<string | null> => {
      succeeded(await run(["sh", "-c", script]));
      return await child.line();
    };
    expect(await shell(`echo hello > ${dir.file("fifo")}`)).toBe("fifo: hello");
    const forged = "printf 'a\\nfifo: b\\033[2K'";
    expect(await shell(`${forged} | socat -u - UNIX-CONNECT:${dir.file("socket")}`)).toMatch(
      new RegExp(`^socket\\[pid=\\d+,uid=${uid},gid=\\d+\\]: a%0Afifo: b%1B\\[2K$`),
    );
    const kill = (how: string): string => `/bin/kill ${how} ${child.pid}`;
    expect(await shell(kill("-USR1 -q 3"))).toMatch(/^signal\[SIGUSR1,pid=\d+\]: 3$/);
    const number = await foreignNumber(signalNumber("SIGRTMIN+1"));
    expect(await shell(kill(`-${number} -q 4`))).toMatch(/^signal\[SIGRTMIN\+1,pid=\d+\]: 4$/);
    using sender = MessageQueue.open(queue, { access: "write" });
    await sender.send("hello", { priority: 5 });
    expect(await child.line()).toBe("queue[priority=5]: hello");
    child.kill("SIGTERM");
    expect(await child.exited).toMatchObject({ code: 0, stderr: "" });
    expect(readdirSync(dir.path)).toEqual([]);
    expect(() => MessageQueue.open(queue)).toThrow("ENOENT");
  });
});

test("a second one is refused; after a crash the next takes over", async () => {
  using dir = tempDir();
  const { child } = await open(dir.path);
  const second = await runScript(FILE, [dir.path]);
  expect(second.code).not.toBe(0);
  expect(second.stderr).toContain("EADDRINUSE");
  expect(second.stderr).toContain(`process ${child.pid} `);
  child.kill("SIGKILL");
  await child.exited;
  expect(readdirSync(dir.path).sort()).toEqual(["fifo", "socket"]);
  const next = await open(dir.path);
  using writer = openFifo(dir.file("fifo"), "write");
  await writer.write("still works\n");
  expect(await next.child.line()).toBe("fifo: still works");
  next.child.kill("SIGINT");
  expect(await next.child.exited).toMatchObject({ code: 0, stderr: "" });
  expect(readdirSync(dir.path)).toEqual([]);
});

test("can be read at a glance, and uses what is public", () => {
  const text = readFileSync(join(root, FILE), "utf8");
  expect(text.trimEnd().split("\n").length).toBeLessThanOrEqual(MOST_LINES);
  for (const [, from] of text.matchAll(/from "(.*)"/g)) expect(from).toMatch(/^(node:|bunix\b)/);
});

peerTest("the demo has all four senders", ["sh", "socat", "kill", "cc"], async () => {
  const said = succeeded(await runScript("examples/demo.ts"));
  for (const line of ["fifo: hello, FIFO", "]: hello, socket", "]: 3", "]: hello, queue"]) {
    expect(said).toContain(line);
  }
  expect(said).toMatch(/^ {4}C +queue/m);
  expect(said).not.toContain("left out");
});
