// Messages that nobody awaited, and then the process ends: what the kernel takes at once is out.

import { describe, expect, setDefaultTimeout, test } from "bun:test";
import {
  openChannel,
  type SeqpacketSocket,
  type StreamSocket,
  socketPair,
} from "../../src/index.ts";
import { root, slower, start } from "../support/child.ts";

setDefaultTimeout(30_000 * slower);

/** Ways to end, after `several(from)` has sent ten messages without awaiting any. */
const ways: Record<string, { readonly source: string; readonly code: number }> = {
  "process.exit": { source: "several(0); several(10); process.exit(3);", code: 3 },
  "process.exit in a later turn": {
    source: "setTimeout(() => { several(0); process.exit(4); }, 1);",
    code: 4,
  },
  "an error that nobody catches": { source: 'several(0); throw new Error("on purpose");', code: 1 },
  "process.exitCode, and nothing left to do": {
    source: "several(0); process.exitCode = 5;",
    code: 5,
  },
  "a Worker that ends": {
    source: `
      if (Bun.isMainThread) process.exit(99);
      several(0);
      process.exit(8);`,
    code: 8,
  },
  "messages from listeners of the end": {
    source: `
      process.on("exit", () => several(20)); // after the library's own
      process.prependListener("exit", () => several(10)); // before it
      several(0);
      process.exit(6);`,
    code: 6,
  },
  requests: {
    source: `
      for (let i = 0; i < 10; i++) channel.request(i).catch(() => {});
      process.exit(7);`,
    code: 7,
  },
};

/** The child's program; in a Worker of its where `source` asks whether it runs in one. */
const programOf = (source: string): string => {
  if (!source.includes("isMainThread")) return program(source);
  return `
    const blob = new Blob([${JSON.stringify(program(source))}], { type: "application/typescript" });
    const worker = new Worker(URL.createObjectURL(blob));
    worker.addEventListener("close", ({ code }) => process.exit(code));`;
};

const program = (source: string): string => `
  import { adoptSocket, openChannel } from "${root}/src/index.ts";
  const channel = openChannel(adoptSocket(3));
  const several = (from) => {
    for (let i = from; i < from + 10; i++) void channel.send(i);
  };
  ${source}`;

/** Everything that the child sends until it has ended. */
async function receiveAll(socket: StreamSocket | SeqpacketSocket): Promise<unknown[]> {
  const channel = openChannel(socket);
  const all: unknown[] = [];
  const serving = channel.serve(({ value }) => void all.push(value)).catch(() => {});
  // the child has ended with answers of ours unread: ECONNRESET, after what it had sent
  const next = () => channel.receive().catch(() => null);
  for (let one = await next(); one !== null; one = await next()) all.push(one.value);
  await serving;
  channel.close();
  return all;
}

describe.each(["stream", "seqpacket"] as const)("%s", (type) => {
  test.each(Object.entries(ways))("%s", async (_, { source, code }) => {
    const [near, far] = socketPair(type);
    const fd = far.release();
    const child = start([process.execPath, "-e", programOf(source)], { fds: [fd.fd] });
    fd.close();
    const all = await receiveAll(near);
    const end = await child.exited;
    expect(end.code).toBe(code);
    const expected = (source.match(/several\(\d+\)/g)?.length ?? 1) * 10;
    expect(all).toEqual(Array.from({ length: expected }, (_one, n) => n));
  });
});
