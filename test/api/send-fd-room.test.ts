// receiveFds in a process whose table of descriptors is full.

import { expect } from "bun:test";
import { sendFd } from "../../src/index.ts";
import { start, writeSource } from "../support/child.ts";
import { tempDir } from "../support/tmp.ts";
import { testsUnless, translatedSignals } from "../support/unless.ts";
import { failure, marked, turns } from "./tools.ts";

const { peerTest } = testsUnless(await translatedSignals());

peerTest("with no room it says so, and has it when there is", ["prlimit"], async () => {
  using dir = tempDir();
  const source = `
    import { duplicate } from "@/src/syscalls/fd.ts";
    import { closeSync } from "node:fs";
    import { receiveFds } from "@/src/index.ts";
    import { markOf, startLoop } from "@/test/api/tools.ts";
    await startLoop();
    const receiver = receiveFds({ realtimeSignal: "SIGRTMIN+8" });
    console.log("ready");
    for await (const line of console) if (line === "fill") break;
    const full = [];
    for (let fd = duplicate(0); fd >= 0; fd = duplicate(0)) full.push(fd);
    const codes = [];
    let received;
    while (received === undefined) {
      try {
        received = await receiver.receive();
      } catch ({ code }) {
        codes.push(code);
        closeSync(full.pop());
      }
    }
    console.log(markOf(received.fd), receiver.refused, [...new Set(codes)]);
    process.exit();`;
  const bun = [process.execPath, writeSource(dir, source)];
  await using child = start(["prlimit", "--nofile=200:200", ...bun]);
  await child.lineWith("ready");
  using fd = marked("patient");
  const sending = sendFd(child.pid, fd, { realtimeSignal: "SIGRTMIN+8" });
  await turns();
  child.write("fill\n");
  expect(await child.lineWith("patient")).toBe('patient 0 [ "EMFILE" ]');
  await sending;
});

peerTest("no room at the very last moment: the sender is told", ["prlimit"], async () => {
  using dir = tempDir();
  const source = `
    import { receiveFds } from "@/src/index.ts";
    import { close, duplicate } from "@/src/syscalls/fd.ts";
    import { libc } from "@/src/syscalls/libc.ts";
    import { markOf, startLoop } from "@/test/api/tools.ts";
    await startLoop();
    const { recvmsg } = libc;
    libc.recvmsg = (...args) => {
      libc.recvmsg = recvmsg;
      const full = [];
      for (let fd = duplicate(0); fd >= 0; fd = duplicate(0)) full.push(fd);
      const got = recvmsg(...args);
      full.forEach(close);
      return got;
    };
    const receiver = receiveFds({ realtimeSignal: "SIGRTMIN+8" });
    console.log("ready");
    console.log(markOf((await receiver.receive()).fd), receiver.refused);
    process.exit();`;
  const bun = [process.execPath, writeSource(dir, source)];
  await using child = start(["prlimit", "--nofile=200:200", ...bun]);
  await child.lineWith("ready");
  using first = marked("first");
  using second = marked("second");
  const options = { realtimeSignal: "SIGRTMIN+8" } as const;
  const error = await failure(() => sendFd(child.pid, first, options));
  expect(error).toMatchObject({ code: "EMFILE", syscall: "pidfd_getfd" });
  await sendFd(child.pid, second, options);
  expect(await child.line()).toBe("second 1");
});
