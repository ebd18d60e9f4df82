// The descriptors of a spawned child: which ones, where, and nothing else.

import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { openSync } from "node:fs";
import type { Subprocess } from "bun";
import { file } from "../../native/file.ts";
import { Fd, type FdLike, type SeqpacketSocket, socketPair } from "../../src/index.ts";
import type { SpawnFds } from "../../src/spawn/descriptors.ts";
import { spawn, spawnSync } from "../../src/spawn/spawn.ts";
import { libc } from "../../src/syscalls/libc.ts";
import { runSource, slower, succeeded } from "../support/child.ts";
import { tempDir } from "../support/tmp.ts";
import { lacking, noSpawnErrors, noSpawnGaps, testUnless } from "../support/unless.ts";
import { expected, identity, inventory, listers } from "./spawns.ts";
import {
  callsOf,
  closeAll,
  codeOf,
  failure,
  isCloseOnExec,
  isOpen,
  leakFree,
  marked,
  markedMany,
  thrown,
  turns,
  withLibc,
} from "./tools.ts";

setDefaultTimeout(30_000 * slower);

const list = (fds: SpawnFds): Record<number, string> =>
  inventory(spawnSync(listers.sh(), { fds }).stdout.toString()).fds;

describe("which ones, where", () => {
  test("an array: 3, 4, …", () =>
    leakFree(() => {
      const fds = markedMany(20);
      expect(list(fds)).toEqual(expected(fds));
      expect(list([])).toEqual({});
      closeAll(fds);
    }));

  testUnless(noSpawnGaps(), "a record of numbers, with gaps", () =>
    leakFree(() => {
      const [a, b, c] = markedMany(3) as [Fd, Fd, Fd];
      for (const fds of [{ 7: a }, { 4: a, 12: b, 100: c }, { 1023: a, 3: b }]) {
        expect(list(fds)).toEqual(expected(fds));
      }
      closeAll([a, b, c]);
    }),
  );

  testUnless(noSpawnGaps(), "all permutations of numbers that are among the child's own", () =>
    leakFree(() => {
      const fds = markedMany(4);
      const numbers = fds.map(({ fd }) => fd);
      for (const order of permutations(numbers)) {
        const record = Object.fromEntries(numbers.map((to, i) => [to, order[i]!]));
        expect(list(record)).toEqual(expected(record));
      }
      closeAll(fds);
    }),
  );

  testUnless(noSpawnGaps(), "a longer ring, each in the place of the next", () =>
    leakFree(() => {
      const fds = markedMany(24);
      const ring = fds.map(({ fd }, i): [number, Fd] => [fd, fds[(i + 1) % fds.length]!]);
      expect(list(Object.fromEntries(ring))).toEqual(expected(Object.fromEntries(ring)));
      closeAll(fds);
    }),
  );

  testUnless(noSpawnGaps(), "the same descriptor many times; every kind of FdLike", () =>
    leakFree(async () => {
      using fd = marked("same");
      const [near, far] = socketPair("datagram");
      const server = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
      const fds: FdLike[] = [fd, fd.fd, fd, near, { fd: fd.fd }, server];
      expect(list(fds)).toEqual(expected(fds));
      expect(list({ [fd.fd]: fd, 90: fd })).toEqual({ [fd.fd]: identity(fd), 90: identity(fd) });
      expect([fd.closed, isCloseOnExec(fd.fd)]).toEqual([false, true]); // lent, not given
      closeAll([near, far]);
      server.stop(true);
    }),
  );

  test("0, 1 and 2, as targets and as sources", async () => {
    using input = marked("from 0");
    const reread = Fd.adopt(openSync(`/proc/self/fd/${input.fd}`, "r"));
    const cat = spawnSync(["cat"], { fds: { 0: reread } });
    expect(cat.stdout.toString()).toBe("from 0");
    using out = marked("");
    expect(
      spawnSync(["sh", "-c", "echo said; echo wrong >&2"], { fds: { 1: out, 2: out } }),
    ).toMatchObject({ exitCode: 0 });
    expect(await Bun.file(`/proc/self/fd/${out.fd}`).text()).toBe("said\nwrong\n");
    expect(list([0, 1, 2])).toEqual(expected([0, 1, 2]));
    expect(list({ 5: 2, 4: 0, 3: 1 })).toEqual(expected({ 5: 2, 4: 0, 3: 1 }));
    reread.close();
  });

  testUnless(noSpawnGaps(), "0 itself is somebody else's 3 and 4", async () => {
    // a parent whose 0 differs from its 3 and 4, which Bun would hand on in its place
    using dir = tempDir();
    const source = `
      import { spawnSync } from "@/src/spawn.ts";
      const { stdout } = spawnSync(["sh", "-c", "cat <&3; cat <&5"], { fds: { 3: 0, 5: 4 } });
      console.log(stdout.toString());`;
    await Bun.write(dir.file("zero"), "zero ");
    await Bun.write(dir.file("other"), "other");
    const other = openSync(dir.file("other"), "r");
    const third = openSync(dir.file("other"), "r");
    const outcome = await runSource(source, { input: "zero ", fds: [third, other] });
    expect(succeeded(outcome)).toBe("zero other\n");
    closeAll([Fd.adopt(other), Fd.adopt(third)]);
  });

  testUnless(noSpawnGaps(), "nothing else, whatever is open here, close-on-exec or not", () =>
    leakFree(async () => {
      const loose = markedMany(5);
      for (const { fd } of loose) libc.fcntl(fd, file.F_SETFD, 0);
      using one = marked("one");
      expect(list([one])).toEqual(expected([one]));
      expect(list({ 50: one })).toEqual(expected({ 50: one }));
      closeAll(loose);
    }),
  );

  testUnless(noSpawnGaps(), "Bun closes none of them, not even when a child is collected", () =>
    leakFree(async () => {
      const fds = markedMany(6);
      const own = Object.fromEntries(fds.map((fd, i) => [i, fd]));
      const gone = { stdin: undefined, stdout: undefined, stderr: undefined };
      for (let round = 0; round < 6; round++) {
        for (const given of [own, fds, Object.fromEntries(fds.map((fd) => [fd.fd, fd]))]) {
          const child = spawn(["true"], { fds: given });
          expect(await child.exited).toBe(0);
          if (given === own) expect(child).toMatchObject(gone);
        }
        const between = markedMany(6); // under the numbers that were lent
        Bun.gc(true);
        await turns();
        expect([...fds, ...between].filter(({ fd }) => !isOpen(fd))).toEqual([]);
        closeAll(between);
      }
      closeAll(fds);
    }),
  );

  testUnless(noSpawnGaps(), "stdio's own entries beside them", () =>
    leakFree(async () => {
      using fd = marked("x");
      using other = marked("y");
      const stdio = ["ignore", "pipe", "inherit", other.fd] as [
        "ignore",
        "pipe",
        "inherit",
        number,
      ];
      const child = spawn(listers.sh(), { stdio, fds: { 5: fd } });
      const { fds } = inventory(await child.stdout.text());
      expect(fds).toEqual({ 3: identity(other), 5: identity(fd) });
      expect(child.stdio as unknown[]).toEqual([null, null, null, other.fd, null, null]);
      expect(await child.exited).toBe(0);
      const twice = await thrown(() => spawn(["true"], { stdio, fds: [fd] }));
      expect(twice).toBeInstanceOf(RangeError);
      expect(String(twice)).toContain("descriptor 3 is given twice");
      const stdin = await thrown(() => spawn(["true"], { stdin: "pipe", fds: { 0: fd } }));
      expect(stdin).toBeInstanceOf(RangeError);
    }),
  );
});

function permutations<T>(all: readonly T[]): T[][] {
  if (all.length < 2) return [[...all]];
  return all.flatMap((first, i) =>
    permutations([...all.slice(0, i), ...all.slice(i + 1)]).map((rest) => [first, ...rest]),
  );
}

describe("refused before any call", () => {
  const wrong: readonly (readonly [name: string, fds: unknown, kind: ErrorConstructor])[] = [
    ["no descriptor", ["x"], TypeError],
    ["null", [null], TypeError],
    ["a hole", [0, undefined], TypeError],
    ["a negative number", [-1], RangeError],
    ["a negative place", { [-1]: 0 }, RangeError],
    ["half a place", { 1.5: 0 }, RangeError],
    ["a place with a leading zero", { "03.5": 0 }, RangeError],
    ["a place that is too high", { 1024: 0 }, RangeError],
    ["too many", Array(1022).fill(0), RangeError],
    ["a colon", { "a:b": 0 }, RangeError],
    ["a control character", { "a\nb": 0 }, RangeError],
    ["no ASCII", { é: 0 }, RangeError],
    ["an empty name", { "": 0 }, RangeError],
    ["a long name", { ["n".repeat(256)]: 0 }, RangeError],
    ["a name and a number for one place", { 4: 0, one: 0, two: 0 }, RangeError],
    ["no record", new Map([[3, 0]]), TypeError],
    ["a number alone", 3, TypeError],
    ["null alone", null, TypeError],
  ];
  for (const [name, fds, kind] of wrong) {
    test(name, async () => {
      for (const call of [spawn, spawnSync] as unknown as [typeof spawnSync]) {
        let error: unknown;
        const calls = await callsOf(async () => {
          error = await thrown(() => call(["true"], { fds: fds as SpawnFds }));
        });
        expect(error).toBeInstanceOf(kind);
        expect(calls).toEqual([]);
      }
    });
  }

  test("commands that are none", async () => {
    for (const command of [[], "true", [1], undefined] as unknown as string[][]) {
      expect(await thrown(() => spawn(command))).toBeInstanceOf(TypeError);
    }
  });
});

const unheard = noSpawnGaps() ?? (await noSpawnErrors());

const noRaw = lacking("seqpacket");
const channel = noRaw === null ? true : "messages";
describe("nothing is left behind", () => {
  testUnless(noSpawnGaps(), "a source that is not open", () =>
    leakFree(async () => {
      using open = marked("open");
      const closed = Fd.duplicate(open);
      closed.close();
      for (const fds of [[open, 9_999], { 30: open, 31: 9_999 }, [closed]]) {
        const error = await failure(() => spawn(["true"], { fds, channel }));
        expect(error).toMatchObject({ code: "EBADF", syscall: "fcntl" });
      }
      expect((await failure(() => spawnSync(["true"], { fds: { 6: 9_999 } }))).message).toContain(
        "9999, which the child was to have as 6",
      );
    }),
  );

  testUnless(noSpawnGaps(), "no such program", () =>
    leakFree(async () => {
      using fd = marked("x");
      for (let i = 0; i < 20; i++) {
        for (const fds of [{ [fd.fd]: fd }, [0, fd], { named: fd }]) {
          const error = await thrown(() => spawn(["no-such-program"], { fds, channel }));
          expect(error).toMatchObject({ code: "ENOENT" });
        }
      }
      expect(isOpen(fd.fd)).toBe(true);
    }),
  );

  testUnless(noSpawnGaps(), "a signal that is aborted already", () =>
    leakFree(async () => {
      using fd = marked("x");
      const signal = AbortSignal.abort(new Error("too late"));
      const error = await thrown(() => spawn(["true"], { fds: [fd], channel, signal }));
      expect(error).toMatchObject({ name: "AbortError" });
    }),
  );

  testUnless(unheard, "a directory that is not there", () =>
    leakFree(async () => {
      using fd = marked("x");
      const cwd = "/no/such/directory";
      expect(await thrown(() => spawn(["true"], { fds: [fd], channel, cwd }))).toMatchObject({
        code: "ENOENT",
      });
    }),
  );

  testUnless(noSpawnGaps(), "out of descriptors while they are lent", () =>
    leakFree(async () => {
      const fds = markedMany(6);
      const record = Object.fromEntries(fds.map((fd, i) => [fds[(i + 1) % 6]!.fd, fd]));
      for (let allowed = 0; allowed < 6; allowed++) {
        let left = allowed;
        const fcntl = (fd: number, command: number, value: number): number =>
          command === file.F_DUPFD_CLOEXEC && left-- === 0
            ? real(9_999, command, value)
            : real(fd, command, value);
        const real = libc.fcntl;
        await withLibc({ fcntl }, async () => {
          expect(await codeOf(() => spawn(["true"], { fds: record }))).toBe("EBADF");
        });
      }
      closeAll(fds);
    }),
  );
});

describe("as Bun.spawn does", () => {
  testUnless(noRaw, "its types", async () => {
    const contract: Subprocess & { channel?: SeqpacketSocket } = spawn(["true"], { channel: true });
    contract.channel?.close();
    const plain: Subprocess<"ignore", "pipe", "inherit"> = spawn(["true"]);
    const piped: Subprocess<"pipe", "ignore", "ignore"> = spawn(["true"], {
      ...{ stdin: "pipe", stdout: "ignore", stderr: "ignore" },
    });
    const none: undefined = spawn(["true"], { fds: [0], channel: false }).channel;
    const out: Buffer = spawnSync(["echo", "x"]).stdout;
    expect([none, out.toString()]).toEqual([undefined, "x\n"]);
    expect([await plain.exited, await piped.exited, await contract.exited]).toEqual([0, 0, 0]);
  });

  test("its defaults, its pipes, its results", async () => {
    const child = spawn(["cat"], { stdin: "pipe" });
    child.stdin.write("through");
    child.stdin.end();
    expect(await child.stdout.text()).toBe("through");
    expect([await child.exited, child.stderr, child.channel]).toEqual([0, undefined, undefined]);
    expect(spawnSync(["sh", "-c", "echo out; echo err >&2; exit 4"])).toMatchObject({
      exitCode: 4,
      success: false,
      stdout: Buffer.from("out\n"),
      stderr: Buffer.from("err\n"),
    });
    const from = spawn(["cat"], { stdin: new Blob(["a blob"]), fds: [0] });
    expect(await from.stdout.text()).toBe("a blob");
  });

  test("env, cwd, argv0, onExit, kill, timeout, signal", async () => {
    using dir = tempDir();
    const script = 'echo "$A $PWD $0"; exec sleep 30';
    const ended = Promise.withResolvers<unknown[]>();
    const child = spawn(["sh", "-c", script], {
      env: { ...process.env, A: "a" },
      cwd: dir.path,
      argv0: "shell",
      fds: [0],
      onExit: (_child, code, signal) => ended.resolve([code, signal]),
    });
    const reader = child.stdout.getReader();
    expect(new TextDecoder().decode((await reader.read()).value)).toBe(`a ${dir.path} shell\n`);
    child.kill("SIGUSR1");
    expect(await ended.promise).toEqual([null, "SIGUSR1"]);
    expect(child.signalCode).toBe("SIGUSR1");
    const late = spawn(["sleep", "30"], { timeout: 20, killSignal: "SIGKILL", fds: [0] });
    await late.exited;
    expect(late.signalCode).toBe("SIGKILL");
    const stop = new AbortController();
    const stopped = spawn(["sleep", "30"], { signal: stop.signal, fds: [0] });
    stop.abort();
    await stopped.exited;
    expect(stopped.signalCode).toBe("SIGTERM");
  });

  test("process.env as it is now", () => {
    process.env["BUNIX_SPAWN_TEST"] = "now";
    const { stdout } = spawnSync(["sh", "-c", 'echo "$BUNIX_SPAWN_TEST"'], { fds: [0] });
    delete process.env["BUNIX_SPAWN_TEST"];
    expect(stdout.toString()).toBe("now\n");
  });

  testUnless(noRaw ?? noSpawnGaps(), "ipc beside descriptors and a channel", () =>
    leakFree(async () => {
      using fd = marked("x");
      const heard = Promise.withResolvers<unknown>();
      const program = `
        process.on("message", (m) => { process.send(["back", m]); });
        process.on("disconnect", () => process.exit(0));`;
      const child = spawn([process.execPath, "-e", program], {
        fds: { 9: fd },
        channel: true,
        ipc: (message) => heard.resolve(message),
      });
      child.send("over ipc");
      expect(await heard.promise).toEqual(["back", "over ipc"]);
      child.disconnect();
      expect(await child.exited).toBe(0);
      child.channel.close();
    }),
  );

  testUnless(noSpawnGaps(), "a terminal", () =>
    leakFree(async () => {
      using fd = marked("from a terminal");
      const said = Promise.withResolvers<void>();
      let text = "";
      const child = spawn(["sh", "-c", "test -t 0 && cat /proc/self/fd/7 && echo end"], {
        fds: { 7: fd },
        terminal: {
          data(_terminal, data) {
            text += new TextDecoder().decode(data);
            if (text.includes("end")) said.resolve();
          },
        },
      });
      await said.promise;
      expect(text).toContain("from a terminal");
      await child.exited;
      child.terminal?.close();
    }),
  );
});
