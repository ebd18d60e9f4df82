// A log daemon is started again while somebody is connected to it: the kernel takes the connection
// back, and the errors say what to do.

import { describe, expect, test } from "bun:test";
import { openDatagram } from "../../src/index.ts";
import { type Child, start } from "../support/child.ts";
import { peerTest } from "../support/peers.ts";
import { addressRoutes, freshAddress } from "./pairs.ts";
import { failure, leakFree } from "./tools.ts";

/** Binds and prints what it gets, until its input ends. */
const DAEMON = `
import os, select, socket, sys
name = sys.argv[1]
log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
log.bind("\\0" + name[1:] if name.startswith("@") else name)
print("open", flush=True)
while True:
    ready, _, _ = select.select([log, sys.stdin], [], [])
    if sys.stdin in ready:
        break
    print(log.recv(100).decode(), flush=True)
log.close()
if not name.startswith("@"):
    os.unlink(name)
`;

async function daemon(address: string): Promise<Child> {
  const child = start(["python3", "-c", DAEMON, address]);
  expect(await child.line()).toBe("open");
  return child;
}

async function stopped(child: Child): Promise<void> {
  child.endInput();
  await child.exited;
}

describe.each(addressRoutes)("%s", (kind) => {
  peerTest("ECONNREFUSED, then ENOTCONN, with the address; connect() again", ["python3"], () =>
    leakFree(async () => {
      const address = freshAddress(kind);
      const ways = ["send", "trySend", "sendSync", "sendBatch", "with fds"] as const;
      for (const way of ways) {
        const first = await daemon(address);
        using socket = openDatagram(undefined, { connect: address });
        const say = (text: string): unknown => {
          if (way === "sendBatch") return socket.sendBatch([text]);
          return way === "with fds" ? socket.send(text, { fds: [0] }) : socket[way](text);
        };
        await say("hello");
        expect(await first.line()).toBe("hello");
        await stopped(first);
        await using second = await daemon(address);
        for (const code of ["ECONNREFUSED", "ENOTCONN", "ENOTCONN"]) {
          const error = await failure(() => say("lost"));
          expect([error.code, error.address]).toEqual([code, address]);
          expect(error.message).toContain("connect() again");
        }
        socket.connect(address);
        await say("back");
        expect(await second.line()).toBe("back");
        await stopped(second);
      }
    }),
  );
});

test("one that never was connected is told so", async () => {
  using socket = openDatagram();
  const error = await failure(() => socket.send("x"));
  expect([error.code, error.address]).toEqual(["ENOTCONN", undefined]);
  expect(error.message).toContain("not connected, or the receiver has gone");
});
