// A socket of ours that a child gets blocks there; nothing here and no peer's end depends on it.

import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync } from "node:fs";
import { Fd, type FdLike, listen, type StreamSocket, socketPair } from "../../src/index.ts";
import { spawn, spawnSync } from "../../src/spawn.ts";
import { root, slower } from "../support/child.ts";
import { compileCSource, peerTest } from "../support/peers.ts";
import { lacking, testUnless } from "../support/unless.ts";
import { freshPath } from "./pairs.ts";
import { eventually, leakFree, thrown } from "./tools.ts";

setDefaultTimeout(30_000 * slower);

/** Sends back what it reads on descriptor 3, until the end; EAGAIN is an error to it. */
const echoers = {
  cat: () => ["sh", "-c", "exec cat <&3 >&3"],
  python3: () => [
    "python3",
    "-c",
    `import os
while data := os.read(3, 1 << 16):
  os.write(3, data)`,
  ],
  cc: () => [
    compileCSource(
      "echo",
      `
      #include <unistd.h>
      int main(void) {
        char data[65536];
        for (ssize_t got; (got = read(3, data, sizeof data)) != 0;)
          if (got < 0 || write(3, data, got) != got) return 1;
        return 0;
      }`,
    ),
  ],
} as const;

/** The child has nothing to do but to wait, or it has ended. */
function waits(child: { readonly pid: number; readonly exitCode: number | null }, name: string) {
  if (child.exitCode !== null) return true;
  const [, comm, state] = /\((.*)\) (\w)/.exec(readFileSync(`/proc/${child.pid}/stat`, "utf8"))!;
  return comm!.startsWith(name) && state === "S";
}

const isNonBlocking = (socket: FdLike): boolean => {
  using fd = Fd.duplicate(socket);
  return fd.nonBlocking;
};

/** More than a socket holds. */
const MANY = 2_000_000;

for (const [need, command] of Object.entries(echoers)) {
  peerTest(`${need}: an end that would say EAGAIN waits, for bytes and for room`, [need], () =>
    leakFree(async () => {
      const words = command();
      const name = { cat: "cat", python3: "python", cc: "echo" }[need]!;
      const [near, far] = socketPair("stream");
      const child = spawn(words, { fds: [far], stderr: "pipe" });
      far.close();
      expect(isNonBlocking(near)).toBe(true);
      await eventually(() => waits(child, name), "it reads");
      const sending = near.send(Buffer.alloc(MANY, "x")).then(() => near.end());
      await eventually(() => near.queuedBytes === 0 || waits(child, name), "it waits for room");
      let got = 0;
      await near.consume(({ data }) => void (got += data.length));
      await sending;
      expect([await child.stderr.text(), await child.exited, got]).toEqual(["", 0, MANY]);
      near.close();
    }),
  );
}

describe("O_NONBLOCK", () => {
  test("goes, unless told otherwise; numbers, Fds and listeners are left alone", () =>
    leakFree(async () => {
      const [near, far] = socketPair("stream");
      using listener = listen(freshPath());
      using fd = Fd.duplicate(near);
      for (const fds of [[fd, near.fd, listener], { web: fd, api: listener }]) {
        await spawn(["true"], { fds }).exited;
      }
      await spawn(["true"], { fds: [far], nonBlocking: true }).exited;
      expect([near, far, listener].map(isNonBlocking)).toEqual([true, true, true]);
      spawnSync(["true"], { fds: { name: far }, nonBlocking: false });
      expect([near, far].map(isNonBlocking)).toEqual([true, false]);
      const wrong = { fds: [far], nonBlocking: 1 as never };
      expect(await thrown(() => spawn(["true"], wrong))).toBeInstanceOf(TypeError);
      near.close();
      far.close();
    }));

  test("is as it was where the child cannot be started", () =>
    leakFree(async () => {
      const [near, far] = socketPair("stream");
      const error = await thrown(() => spawn(["/no/such/program"], { fds: [near, far] }));
      expect(error).toMatchObject({ code: "ENOENT" });
      expect([near, far].map(isNonBlocking)).toEqual([true, true]);
      near.close();
      far.close();
    }));

  test("does not matter to this process, which still has the child's end", () =>
    leakFree(async () => {
      const [near, far] = socketPair("stream");
      const child = spawn(["true"], { fds: [far] });
      await child.exited;
      expect(far.tryReceive()).toBeUndefined();
      const coming = far.receive();
      while (far.trySend(Buffer.alloc(65_536)) !== null) {}
      await near.send("here");
      expect((await coming)!.text()).toBe("here");
      near.close();
      far.close();
    }));
});

for (const nonBlocking of [false, true]) {
  testUnless(
    lacking("seqpacket"),
    `a Bun child has it beside its channel, O_NONBLOCK ${nonBlocking ? "on" : "off"}`,
    () =>
      leakFree(async () => {
        const source = `
        import { adoptSocket, parentChannel } from "${root}/src/index.ts";
        const channel = parentChannel();
        const socket = adoptSocket(3, { expect: "stream" });
        const coming = socket.receive(); // must not keep the channel waiting
        await channel.send(await channel.receive().then((message) => message.text()));
        await socket.send((await coming).text());
        process.exit(0);`;
        const [near, far] = socketPair("stream") as [StreamSocket, StreamSocket];
        const child = spawn([process.execPath, "-e", source], {
          fds: [far],
          channel: true,
          nonBlocking,
        });
        far.close();
        await child.channel.send("by the channel");
        expect((await child.channel.receive())!.text()).toBe("by the channel");
        await near.send("by the socket");
        expect((await near.receive())!.text()).toBe("by the socket");
        expect(await child.exited).toBe(0);
        child.channel.close();
        near.close();
      }),
  );
}
