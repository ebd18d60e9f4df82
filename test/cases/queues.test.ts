// POSIX message queues as the kernel has them, under the class that hides most of it.

import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { epoll } from "../../native/poll.ts";
import { MessageQueue } from "../../src/index.ts";
import { libc } from "../../src/syscalls/libc.ts";
import { Memory } from "../../src/syscalls/memory.ts";
import { result } from "../../src/syscalls/result.ts";
import { namedQueue, newQueue } from "../api/queues.ts";
import { must } from "../api/tools.ts";
import { run, runSource, succeeded, writeSource } from "../support/child.ts";
import { peerTest } from "../support/peers.ts";
import { tempDir } from "../support/tmp.ts";
import { edges, polled, Raw, said } from "./raw.ts";

const room = new Memory(16 * 1024);
const PAST = 0;

/** mq_timedreceive into so many bytes, until a time that may be none. */
function receive(fd: number, bytes: number, nanoseconds = 0): number | string {
  const time = new Memory(16);
  time.view.setBigInt64(0, BigInt(PAST), true);
  time.view.setBigInt64(8, BigInt(nanoseconds), true);
  return said(result(libc.mq_timedreceive(fd, room.address, bytes, null, time.address)));
}

const limit = (name: string): number =>
  Number(readFileSync(`/proc/sys/fs/mqueue/${name}`, "latin1"));

test("without sizes it is as the system says: 10 of 8,192 bytes, most often (MQ-24)", () => {
  using queue = newQueue();
  expect(queue.attributes()).toMatchObject({
    maxMessages: Math.min(limit("msg_default"), limit("msg_max")),
    messageBytes: Math.min(limit("msgsize_default"), limit("msgsize_max")),
  });
});

test("too little room for the longest message: EMSGSIZE, and it stays (MQ-10)", () => {
  using queue = newQueue({ messageBytes: 100 });
  queue.trySend("short");
  expect(receive(queue.fd, 99)).toBe("EMSGSIZE");
  expect(queue.attributes().currentMessages).toBe(1);
  expect(must(queue.tryReceive() as never).text()).toBe("short");
});

test("priorities go down, and within one the oldest is first (MQ-08)", () => {
  using queue = newQueue();
  for (const [text, priority] of [
    ["low", 0],
    ["first", 5],
    ["second", 5],
    ["highest", 32_767],
  ] as const) {
    queue.trySend(text, { priority });
  }
  const seen = [0, 1, 2, 3].map(() => queue.tryReceive());
  expect(seen.map((message) => [message?.text(), message?.priority])).toEqual([
    ["highest", 32_767],
    ["first", 5],
    ["second", 5],
    ["low", 0],
  ]);
});

test("a time that is none is EINVAL even where a message is here (MQ-12)", () => {
  using queue = newQueue();
  queue.trySend("here");
  expect(receive(queue.fd, 16_384, 1_000_000_000)).toBe("EINVAL");
  expect(receive(queue.fd, 16_384)).toBe(4);
  expect(["EAGAIN", "ETIMEDOUT"]).toContain(String(receive(queue.fd, 16_384)));
});

test("full and empty: poll says so, and the calls agree (MQ-11, MQ-15)", () => {
  using queue = newQueue({ maxMessages: 2 });
  expect(polled(queue.fd)).toBe("OUT");
  expect(queue.trySend("a")).toBeTrue();
  expect(polled(queue.fd)).toBe("IN OUT");
  expect([queue.trySend("b"), queue.trySend("c")]).toEqual([true, false]);
  expect(polled(queue.fd)).toBe("IN");
  expect([queue.tryReceive()?.text(), queue.tryReceive()?.text()]).toEqual(["a", "b"]);
  expect(queue.tryReceive()).toBeUndefined();
});

test("edge-triggered, each send is an event (MQ-16)", () => {
  using raw = new Raw();
  using queue = newQueue();
  const events = edges(raw, queue.fd, epoll.EPOLLIN!);
  for (let i = 0; i < 3; i++) {
    queue.trySend("x");
    expect([events(), events()]).toEqual([1, 0]);
  }
});

test("read(2) gives a line about the queue, and takes no message (MQ-20)", () => {
  using queue = newQueue();
  queue.trySend("hello");
  const bytes = Number(libc.read(queue.fd, room.address, 100));
  const text = Buffer.from(room.bytes.subarray(0, bytes)).toString();
  expect(text).toMatch(/^QSIZE:5 +NOTIFY:0 +SIGNO:0 +NOTIFY_PID:0/);
  expect(queue.tryReceive()?.text()).toBe("hello");
});

test("unlinked it works on, and its name is another's (MQ-19)", () => {
  using queue = namedQueue();
  const { name } = queue;
  queue.unlink();
  using next = MessageQueue.open(name, { create: true, exclusive: true });
  next.trySend("next");
  queue.trySend("old");
  expect([queue.tryReceive()?.text(), next.tryReceive()?.text()]).toEqual(["old", "next"]);
  next.unlink();
});

describe("elsewhere", () => {
  peerTest("another user may open what its mode lets (MQ-04)", ["root"], async () => {
    using closed = namedQueue({ mode: 0o600 });
    using open = namedQueue({ mode: 0o622 });
    const source = `import { MessageQueue } from "@/src/index.ts";
      process.setgroups([]); process.setgid(65534); process.setuid(65534);
      for (const name of ${JSON.stringify([closed.name, open.name])}) {
        for (const access of ["read", "write"]) {
          try {
            MessageQueue.open(name, { access }).close();
            console.log("open");
          } catch ({ code }) { console.log(code); }
        }
      }`;
    const lines = succeeded(await runSource(source))
      .trim()
      .split("\n");
    expect(lines).toEqual(["EACCES", "EACCES", "EACCES", "open"]);
  });

  const apart = ["root", "unshare", "mount"];

  peerTest("mounted, a queue is a file of 80 bytes (MQ-21)", apart, async () => {
    using queue = namedQueue();
    queue.trySend("hello");
    const script = `d=$(mktemp -d) && f=$d${queue.name}
      mount -t mqueue none $d && stat -c %s $f && cat $f
      umount $d; rmdir $d`;
    const said = succeeded(await run(["unshare", "-m", "sh", "-c", script]));
    expect(said).toMatch(/^80\nQSIZE:5 /);
  });

  peerTest(
    "another IPC namespace has other names; an open one goes along (MQ-22)",
    apart,
    async () => {
      using queue = namedQueue();
      queue.trySend("from outside");
      const source = `import { MessageQueue } from "@/src/index.ts";
      try { MessageQueue.open(${JSON.stringify(queue.name)}); }
      catch ({ code }) { console.log(code); }
      using queue = MessageQueue.adopt(3);
      console.log(queue.tryReceive().text());
      queue.trySend("from inside");`;
      using dir = tempDir();
      const command = ["unshare", "-i", process.execPath, writeSource(dir, source)];
      expect(succeeded(await run(command, { fds: [queue.fd] }))).toBe("ENOENT\nfrom outside\n");
      expect(queue.tryReceive()?.text()).toBe("from inside");
    },
  );
});
