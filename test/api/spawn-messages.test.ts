// A channel of messages between a child and its parent; pipes that a child gets.

import { expect, setDefaultTimeout, test } from "bun:test";
import { readSync, writeSync } from "node:fs";
import { type Channel, type Fd, pipe, type SeqpacketSocket } from "../../src/index.ts";
import { parentMessages, spawn } from "../../src/spawn.ts";
import { root, slower, succeeded } from "../support/child.ts";
import { lacking } from "../support/unless.ts";
import { runActivated } from "./managers.ts";
import { codeOf, isCloseOnExec, leakFree, marked, markOf, thrown } from "./tools.ts";

setDefaultTimeout(30_000 * slower);

/** A Bun child whose program begins with its channel. */
function child(source: string): string[] {
  const imports = `import { parentMessages } from "${root}/src/spawn.ts";`;
  return [process.execPath, "-e", `${imports}const parent = parentMessages();${source}`];
}

test("messages with descriptors both ways, requests, then the end", () =>
  leakFree(async () => {
    const source = `
      if (parentMessages() !== parent) throw new Error("another");
      void parent.serve(({ value }) => ({ twice: value.n * 2, fd: value.fd }));
      for await (const message of parent) {
        await parent.send({ back: message.value.fd });
        message.close();
      }
      process.exit(7);`;
    const one = spawn(child(source), { channel: "messages" });
    const messages: Channel = one.messages;
    const none: undefined = one.channel;
    expect(none).toBeUndefined();
    using fd = marked("there and back");
    await messages.send({ fd });
    using back = (await messages.receive())!;
    expect(markOf((back.value as { back: Fd }).back)).toBe("there and back");
    using answer = await messages.request({ n: 21, fd });
    const { twice, fd: same } = answer.value as { twice: number; fd: Fd };
    expect([twice, markOf(same)]).toEqual([42, "there and back"]);
    messages.end();
    expect(await messages.receive()).toBeNull();
    expect(await one.exited).toBe(7);
    messages.close();
  }));

test("options of this end; `await using` ends both; the child's death is the end", () =>
  leakFree(async () => {
    const source =
      "for await (const { value } of parent) await parent.send(value); process.exit(0);";
    {
      await using one = spawn(child(source), { channel: { messages: { maxMessageBytes: 10 } } });
      await one.messages.send("short");
      expect((await one.messages.receive())!.value).toBe("short");
      await one.messages.send("much too long");
      expect(await codeOf(() => one.messages.receive())).toBe("EMSGSIZE");
    }
    await using two = spawn(child(source), { channel: "messages" });
    const asked = codeOf(() => two.messages.request("nobody serves", { timeoutMs: 60_000 }));
    two.kill("SIGKILL");
    expect(["ECONNRESET"]).toContain(await asked);
  }));

test("what is no channel is refused, and nothing stays open", () =>
  leakFree(async () => {
    const command = child("");
    for (const channel of ["message", { messages: { codec: "xml" } }, 7]) {
      const start = (): unknown => spawn(command, { channel: channel as never });
      expect(await thrown(start)).toBeInstanceOf(TypeError);
    }
    expect(parentMessages()).toBeNull();
    if (lacking("seqpacket") !== null) return;
    const raw = spawn(["true"], { channel: true });
    const socket: SeqpacketSocket = raw.channel;
    socket.close();
    await raw.exited;
  }));

test("pipe: close-on-exec, neither end blocks, but the child's does", () =>
  leakFree(async () => {
    using plain = pipe();
    expect([plain.read.nonBlocking, plain.write.nonBlocking]).toEqual([true, true]);
    expect([isCloseOnExec(plain.read.fd), isCloseOnExec(plain.write.fd)]).toEqual([true, true]);
    expect(() => pipe({ child: "both" as never })).toThrow(TypeError);

    using into = pipe({ child: "read" });
    using out = pipe({ child: "write" });
    expect([into.read.nonBlocking, into.write.nonBlocking]).toEqual([false, true]);
    expect([out.read.nonBlocking, out.write.nonBlocking]).toEqual([true, false]);
    await using cat = spawn(["cat"], { fds: { 0: into.read, 1: out.write } });
    into.read.close();
    out.write.close();
    writeSync(into.write.fd, "through the child");
    into.write.close();
    expect(await cat.exited).toBe(0);
    const bytes = new Uint8Array(100);
    expect(Buffer.from(bytes.subarray(0, readSync(out.read.fd, bytes))).toString()).toBe(
      "through the child",
    );
  }));

test("inherited descriptors by name, several of one name too", () =>
  leakFree(async () => {
    using a = marked("a");
    using b = marked("b");
    using c = marked("c");
    const source = `
      import { inheritedFdsByName } from "@/src/index.ts";
      import { readFileSync } from "node:fs";
      const named = inheritedFdsByName();
      const said = Object.entries(named).map(([name, all]) =>
        [name, all.map(({ fd }) => readFileSync("/proc/self/fd/" + fd.fd, "utf8"))]);
      console.log(JSON.stringify([said, "constructor" in named]));`;
    const env = { LISTEN_FDNAMES: "web:__proto__:web" };
    const said = succeeded(await runActivated(source, { fds: [a.fd, b.fd, c.fd], env }));
    const web: unknown = ["web", ["a", "c"]];
    expect(JSON.parse(said)).toEqual([[web, ["__proto__", ["b"]]], false]);
  }));
