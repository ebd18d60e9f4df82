// The channel between a child and its parent.

import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { Fd, socketPair, UnixError } from "../../src/index.ts";
import { parentChannel } from "../../src/spawn/channel.ts";
import { spawn, spawnSync } from "../../src/spawn/spawn.ts";
import { libc } from "../../src/syscalls/libc.ts";
import { root, runSource, slower, start, succeeded, writeSource } from "../support/child.ts";
import { tempDir } from "../support/tmp.ts";
import { noSpawnGaps, testUnless } from "../support/unless.ts";
import {
  closeAll,
  failure,
  isCloseOnExec,
  leakFree,
  marked,
  markOf,
  must,
  thrown,
  withLibc,
} from "./tools.ts";

setDefaultTimeout(30_000 * slower);

/** A Bun child whose program begins with its channel. */
function program(source: string): string[] {
  const imports = `import { parentChannel, spawn } from "${root}/src/index.ts";`;
  return [process.execPath, "-e", `${imports}const channel = parentChannel();${source}`];
}

describe("both sides", () => {
  test("messages both ways, descriptors too, then the end", () =>
    leakFree(async () => {
      const source = `
          for await (const message of channel) {
            if (message.text() === "stop") break;
            await channel.send("again: " + message.text(), { fds: message.takeFds() });
          }
          process.exit(7);`;
      const child = spawn(program(source), { channel: true });
      const { channel } = child;
      expect([channel.type, isCloseOnExec(channel.fd)]).toEqual(["seqpacket", true]);
      using fd = marked("there and back");
      await channel.send("one", { fds: [fd] });
      using message = must(await channel.receive());
      expect([message.text(), markOf(message.fds[0]!)]).toEqual(["again: one", "there and back"]);
      await channel.send("");
      expect(must(await channel.receive()).text()).toBe("again: ");
      await channel.send("stop");
      expect([await channel.receive(), await child.exited]).toEqual([null, 7]);
      channel.close();
    }));

  testUnless(
    noSpawnGaps(),
    "taken once: close-on-exec, the variable gone, the parent's credentials",
    () =>
      leakFree(async () => {
        const source = `
          const flags = await Bun.file("/proc/self/fdinfo/" + channel.fd).text();
          const closeOnExec = /^flags:.*2\\d{6}$/m.test(flags);
          const { stdout } = Bun.spawnSync(["sh", "-c", "ls /proc/$$/fd; :"], { env: process.env });
          await channel.send(JSON.stringify({
            fd: channel.fd, closeOnExec,
            again: parentChannel() === channel,
            variable: process.env.BUNIX_CHANNEL ?? null,
            parent: channel.peerCredentials().pid === process.ppid,
            grandchild: stdout.toString().trim().split(/\\s+/),
          }));
          process.exit(0);`;
        const child = spawn(program(source), { channel: true, fds: { 10: 0 }, stderr: "inherit" });
        expect(JSON.parse(must(await child.channel.receive()).text())).toEqual({
          fd: 11,
          closeOnExec: true,
          again: true,
          variable: null,
          parent: true,
          grandchild: ["0", "1", "2"],
        });
        await child.exited;
        child.channel.close();
      }),
  );

  test("what is sent before the child is up, empty messages too", () =>
    leakFree(async () => {
      const source = `
          for (let i = 0; i < 3; i++) await channel.send((await channel.receive()).text() + i);
          process.exitCode = (await channel.receive()) === null ? 6 : 1;`;
      const child = spawn(program(source), { channel: true });
      for (const text of ["", "b", ""]) child.channel.sendSync(text);
      for (const text of ["0", "b1", "2"]) {
        expect(must(await child.channel.receive()).text()).toBe(text);
      }
      child.channel.close();
      expect(await child.exited).toBe(6);
    }));

  test("those of this process too: the longest message, and how many descriptors", () =>
    leakFree(async () => {
      const source = `
          for await (const message of channel) {
            const { data, truncated, fds, fdsTruncated } = message;
            await channel.send(JSON.stringify([data.length, truncated, fds.length, fdsTruncated]));
            message.close();
          }
          process.exit(0);`;
      const options = { maxMessageBytes: 1_000_000, acceptFds: 1, sendBufferBytes: 1_000_000 };
      const child = spawn(program(source), { channel: options });
      const { channel } = child;
      const ask = async (bytes: number, fds: number[]): Promise<unknown> => {
        await channel.send(Buffer.alloc(bytes), { fds });
        using answer = must(await channel.receive());
        return JSON.parse(answer.text());
      };
      expect(await ask(10, [0])).toEqual([10, false, 1, false]);
      expect(await ask(10, [0, 0, 0])).toEqual([10, false, 1, true]);
      expect(await ask(150_000, [])).toEqual([150_000, false, 0, false]);
      expect(await ask(300_000, [])).toEqual([300_000, false, 0, false]);
      channel.close();
      expect(await child.exited).toBe(0);
    }));

  test("the child's own options go before the parent's", () =>
    leakFree(async () => {
      const imports = `import { parentChannel } from "${root}/src/index.ts";`;
      const source = `
          const channel = parentChannel({ acceptFds: 2 });
          const { data, fds } = await channel.receive();
          await channel.send(JSON.stringify([data.length, fds.length]));`;
      const command = [process.execPath, "-e", imports + source];
      const child = spawn(command, { channel: { acceptFds: 1, maxMessageBytes: 5 } });
      await child.channel.send("123456", { fds: [0, 0, 0] });
      expect(must(await child.channel.receive({ maxBytes: 100 })).text()).toBe("[5,2]");
      await child.exited;
      child.channel.close();
    }));

  test("options hold for both ends", () =>
    leakFree(async () => {
      const source = `
          const message = await channel.receive();
          await channel.send(String(message.credentials?.pid === process.ppid));`;
      const child = spawn(program(source), { channel: { passCredentials: true } });
      await child.channel.send("who am I?");
      const answer = must(await child.channel.receive());
      expect([answer.text(), answer.credentials?.pid]).toEqual(["true", child.pid]);
      await child.exited;
      child.channel.close();
    }));

  test("a shell in between, and names beside it", () =>
    leakFree(async () => {
      using fd = marked("x");
      const command = program(`await channel.send(channel.fd + " " + process.env.LISTEN_FDNAMES)`);
      const child = spawn(["sh", "-c", '"$@"; exit 5', "sh", ...command], {
        channel: true,
        fds: { a: fd, b: fd },
      });
      expect(must(await child.channel.receive()).text()).toBe("5 a:b");
      expect([await child.channel.receive(), await child.exited]).toEqual([null, 5]);
      child.channel.close();
    }));
});

describe("ends", () => {
  test("SIGKILL: what was sent, then null", () =>
    leakFree(async () => {
      for (let i = 0; i < 5; i++) {
        const child = spawn(program(`await channel.send("last words"); await Bun.sleep(60_000);`), {
          channel: true,
        });
        expect(must(await child.channel.receive()).text()).toBe("last words");
        const waiting = child.channel.receive();
        child.kill("SIGKILL");
        expect([await waiting, await child.exited, child.signalCode]).toEqual([
          null,
          137,
          "SIGKILL",
        ]);
        const error = await failure(() => child.channel.send("anybody?"));
        expect(error.code).toBe("EPIPE");
        child.channel.close();
      }
    }));

  test("a crash while ours waits unread: the reset is told, then the end", () =>
    leakFree(async () => {
      const child = spawn(program(`process.kill(process.pid, "SIGKILL")`), { channel: true });
      await child.channel.send("never read");
      await child.exited;
      expect(await thrown(() => child.channel.receive())).toMatchObject({ code: "ECONNRESET" });
      expect(await child.channel.receive()).toBeNull();
      child.channel.close();
    }));

  test("the parent's death reads as the end", async () => {
    using dir = tempDir();
    const worker = writeSource(
      dir,
      `import { parentChannel } from "@/src/index.ts";
       const channel = parentChannel();
       await channel.send("here");
       console.log(await channel.receive(), process.pid);`,
      "worker.ts",
    );
    const parent = `
      import { spawn } from "@/src/index.ts";
      const command = [process.execPath, ${JSON.stringify(worker)}];
      const child = spawn(command, { channel: true, stdout: "inherit" });
      await child.channel.receive();
      console.log("up");
      await Bun.sleep(60_000);`;
    await using running = start([process.execPath, writeSource(dir, parent)]);
    await running.lineWith("up");
    running.kill("SIGKILL");
    await running.lineWith("null"); // the orphan still writes where its parent did
  });

  test("await using ends both", () =>
    leakFree(async () => {
      let pid = 0;
      {
        await using child = spawn(["sleep", "60"], { channel: true });
        pid = child.pid;
      }
      expect(await thrown(() => process.kill(pid, 0))).toMatchObject({ code: "ESRCH" });
    }));

  test("a child that closes its end early", () =>
    leakFree(async () => {
      const child = spawn(program(`channel.close(); await Bun.stdin.text();`), {
        channel: true,
        stdin: "pipe",
      });
      expect(await child.channel.receive()).toBeNull();
      expect(child.exitCode).toBeNull();
      child.stdin.end();
      expect(await child.exited).toBe(0);
      child.channel.close();
    }));
});

describe("not meant", () => {
  test("no variable: null", () => {
    expect(process.env["BUNIX_CHANNEL"]).toBeUndefined();
    expect(parentChannel()).toBeNull();
  });

  /** parentChannel in a process with such a variable and such a descriptor 3. */
  async function found(value: string, fd: number): Promise<string> {
    const source = `
      import { parentChannel } from "@/src/index.ts";
      try { console.log(parentChannel(), process.env.BUNIX_CHANNEL ?? "removed"); }
      catch (error) { console.log(error.code, error.message); }`;
    return succeeded(await runSource(source, { env: { BUNIX_CHANNEL: value }, fds: [fd] }));
  }

  test("a variable that was meant for another process: null", async () => {
    const [a, b] = socketPair("seqpacket");
    const { ino } = await Bun.file(`/proc/self/fd/${a.fd}`).stat();
    expect(await found(`3:${ino + 1}`, a.fd)).toBe("null removed\n");
    expect(await found(`400:${ino}`, a.fd)).toBe("null removed\n");
    closeAll([a, b]);
  });

  test("a variable that lies: an error", async () => {
    const [a, b] = socketPair("stream");
    const { ino } = await Bun.file(`/proc/self/fd/${a.fd}`).stat();
    expect(await found(`3:${ino}`, a.fd)).toContain("EPROTOTYPE");
    for (const value of [
      "",
      "3",
      "x",
      "-1:1",
      "3:",
      "3:4:5",
      "99999999999:1",
      "3:4:{",
      '3:4:{"acceptFds":-1}',
    ]) {
      expect(await found(value, a.fd)).toContain("EINVAL");
    }
    closeAll([a, b]);
  });

  test("a grandchild does not take it for its own, whoever starts it", () =>
    leakFree(async () => {
      const say = `console.log(process.env.BUNIX_CHANNEL ?? "none", parentChannel())`;
      const grandchild = JSON.stringify(program(say));
      const source = `
          const ours = spawn(${grandchild}, { fds: [0] });
          await channel.send(await ours.stdout.text());
          const buns = Bun.spawn(${grandchild}); // with the environment of when this one began
          await channel.send(await buns.stdout.text());`;
      const child = spawn(program(source), { channel: true });
      expect(must(await child.channel.receive()).text()).toBe("none null\n");
      expect(must(await child.channel.receive()).text()).toBe("none null\n");
      await child.exited;
      child.channel.close();
    }));

  test("a Worker gets none", () =>
    leakFree(async () => {
      using dir = tempDir();
      const worker = writeSource(
        dir,
        `import { parentChannel } from "@/src/index.ts"; postMessage(parentChannel());`,
        "thread.ts",
      );
      const source = `
        const thread = new Worker(${JSON.stringify(worker)});
        thread.onmessage = async ({ data }) => {
          await channel.send(String(data));
          process.exit(0);
        };`;
      const child = spawn(program(source), { channel: true });
      expect(must(await child.channel.receive()).text()).toBe("null");
      await child.exited;
      child.channel.close();
    }));
});

describe("refused", () => {
  test("where there can be none", async () => {
    const options = { channel: true } as object;
    expect(await thrown(() => spawnSync(["true"], options))).toBeInstanceOf(TypeError);
    const odd = { channel: "yes" } as unknown as { channel: true };
    expect(await thrown(() => spawn(["true"], odd))).toBeInstanceOf(TypeError);
    const bad = { channel: { acceptFds: -1 } };
    expect(await thrown(() => spawn(["true"], bad))).toBeInstanceOf(RangeError);
  });

  test("a socketpair or its settings that fail leave nothing", () =>
    leakFree(async () => {
      using fd = Fd.duplicate(0);
      for (const name of ["socketpair", "fcntl"] as const) {
        const fails = (): number => libc.close(-1);
        await withLibc({ [name]: fails }, async () => {
          const error = await thrown(() => spawn(["true"], { channel: true }));
          expect(error).toBeInstanceOf(UnixError);
          expect(error).toMatchObject({ code: "EBADF", syscall: name });
        });
      }
      expect(fd.closed).toBe(false);
    }));
});
