// A process that listens ends, reloads and drains as it would have without this library.
// time limit: 180 s

import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { cpSync, existsSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { listen } from "../../src/index.ts";
import { root, slower, start, startScript, writeSource } from "../support/child.ts";
import { peerTest } from "../support/peers.ts";
import { writeUntil } from "../support/rewrite.ts";
import { type TempDir, tempDir } from "../support/tmp.ts";
import { visit } from "./crew.ts";

setDefaultTimeout(60_000 * slower);

const LIFE = { timeoutMs: 150_000 };
const RELOADS = slower > 1 ? 3 : 20;

test(`bun --watch reloads ${RELOADS} times`, async () => {
  using dir = tempDir();
  const path = dir.file("s");
  const write = (round: number): string =>
    writeSource(
      dir,
      `import { listen } from "@/src/index.ts";
const server = listen(${JSON.stringify(path)}, { lockFile: ${JSON.stringify(dir.file("lock"))} });
console.log("round ${round}.");
for await (const client of server) client.close();`,
    );
  const command = [process.execPath, "--watch", "--no-clear-screen", write(0)];
  await using child = start(command, LIFE);
  await child.lineWith("round 0.");
  for (let round = 1; round <= RELOADS; round++) {
    await writeUntil(
      () => write(round),
      () => child.lineWith(`round ${round}.`),
    );
  }
  expect(visit(path, "stream")).toBe(child.pid);
  child.kill("SIGTERM");
  expect((await child.exited).signal).toBe("SIGTERM");
});

describe("bun --hot", () => {
  test("a reload finds its own listener, and is told so", async () => {
    using dir = tempDir();
    const write = (round: number): string =>
      writeSource(
        dir,
        `import { listen } from "@/src/index.ts";
globalThis.keep ??= [];
try {
  globalThis.keep.push(listen(${JSON.stringify(dir.file("s"))}).unref());
  console.log("round ${round}: listening");
} catch (error) {
  console.log("round ${round}: " + error.message);
}
setTimeout(() => {}, 100_000);`,
      );
    await using child = start([process.execPath, "--hot", "--no-clear-screen", write(0)], LIFE);
    await child.lineWith("round 0: listening");
    await writeUntil(
      () => write(1),
      () => child.lineWith("this very process: close the other one first"),
    );
    child.kill("SIGTERM"); // after a reload, too
    expect((await child.exited).signal).toBe("SIGTERM");
  });

  test("as the guide has it, each reload listens anew", async () => {
    using dir = tempDir();
    const write = (round: number): string =>
      writeSource(
        dir,
        `import { listen } from "@/src/index.ts";
globalThis.server?.close();
const server = (globalThis.server = listen(${JSON.stringify(dir.file("s"))}));
server.consume((client) => client.close()); // not awaited: a module that does not end stays
console.log("round ${round}.");`,
      );
    await using child = start([process.execPath, "--hot", "--no-clear-screen", write(0)], LIFE);
    await child.lineWith("round 0.");
    for (let round = 1; round <= 3; round++) {
      await writeUntil(
        () => write(round),
        () => child.lineWith(`round ${round}.`),
      );
    }
    expect(visit(dir.file("s"), "stream")).toBe(child.pid);
  });
});

/** A server that does `more` beside listening, and says "ready". */
function server(dir: TempDir, { before = "", after = "" }, name = "main.ts"): string {
  return writeSource(
    dir,
    `import { listen } from "@/src/index.ts";
${before}
const server = listen(${JSON.stringify(dir.file("s"))});
${after}
console.log("ready");
for await (const client of server) client.close();`,
    name,
  );
}

const module = (name: string): string => JSON.stringify(`${root}/node_modules/${name}`);

describe("ends by the signal", () => {
  const beside: Readonly<Record<string, { before?: string; after?: string }>> = {
    alone: {},
    "signal-exit 3, loaded before": {
      before: `(await import(${module("signal-exit-3")})).default(() => console.log("seen"));`,
    },
    "signal-exit 3, loaded after": {
      after: `(await import(${module("signal-exit-3")})).default(() => console.log("seen"));`,
    },
    "signal-exit 4, loaded before": {
      before: `(await import(${module("signal-exit")})).onExit(() => console.log("seen"));`,
    },
    "signal-exit 4, loaded after": {
      after: `(await import(${module("signal-exit")})).onExit(() => console.log("seen"));`,
    },
  };
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    for (const [name, more] of Object.entries(beside)) {
      test(`${signal}, ${name}`, async () => {
        using dir = tempDir();
        await using child = startScript(server(dir, more));
        await child.lineWith("ready");
        child.kill(signal);
        if (name !== "alone") await child.lineWith("seen");
        const { signal: by, code } = await child.exited;
        // signal-exit 4 ends by process.exit where the signal comes back too late
        if (by === null) expect(code).toBeGreaterThan(128);
        else expect(by).toBe(signal);
        listen(dir.file("s")).close();
      });
    }

    test(`${signal}, a second copy of the library`, async () => {
      using dir = tempDir();
      for (const part of ["src", "native"]) {
        cpSync(`${root}/${part}`, dir.file(`copy/${part}`), { recursive: true });
      }
      symlinkSync(`${root}/node_modules`, dir.file("copy/node_modules"));
      const copy = JSON.stringify(dir.file("copy/src/index.ts"));
      const after = `const { listen: another } = await import(${copy});
globalThis.second = another(${JSON.stringify(dir.file("t"))});`;
      await using child = startScript(server(dir, { after }));
      await child.lineWith("ready");
      child.kill(signal);
      expect((await child.exited).signal).toBe(signal);
      for (const name of ["s", "t"]) listen(dir.file(name)).close();
    });
  }

  test("process.abort", async () => {
    using dir = tempDir();
    const after = `process.stdin.once("data", () => process.abort());`;
    await using child = startScript(server(dir, { after }));
    await child.lineWith("ready");
    child.write("go\n");
    expect(["SIGABRT", "SIGILL", "SIGTRAP"]).toContain((await child.exited).signal ?? "");
    listen(dir.file("s")).close();
  });
});

describe("handlers of the program's own", () => {
  test("a drain that begins with process.once, before listen, gets to its end", async () => {
    using dir = tempDir();
    const before = `process.once("SIGTERM", async () => {
  console.log("draining");
  await Bun.sleep(200);
  server.close();
  console.log("drained");
  process.exitCode = 5;
});`;
    await using child = startScript(server(dir, { before }));
    await child.lineWith("ready");
    child.kill("SIGTERM");
    await child.lineWith("drained");
    expect(await child.exited).toMatchObject({ code: 5, signal: null });
    expect(existsSync(dir.file("s"))).toBe(false);
  });

  peerTest("a signal that was ignored from the start stays ignored", ["sh"], async () => {
    using dir = tempDir();
    const command = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", process.execPath, server(dir, {})];
    await using child = start(command);
    await child.lineWith("ready");
    child.kill("SIGINT");
    expect(visit(dir.file("s"), "stream")).toBe(child.pid);
    child.kill("SIGTERM");
    expect((await child.exited).signal).toBe("SIGTERM");
  });
});

describe("as PID 1 of a namespace", () => {
  const unshare = ["unshare", "--pid", "--fork", "--kill-child"];
  peerTest(
    "SIGTERM, which the kernel drops, leaves the server where it is",
    ["unshare", "root"],
    async () => {
      using dir = tempDir();
      const after = `console.log("pid", process.pid);
process.on("SIGUSR1", () => console.log("alive"));
process.stdin.on("data", () => {
  for (const one of ["SIGTERM", "SIGUSR1"]) process.kill(process.pid, one);
});`;
      await using child = start([...unshare, process.execPath, server(dir, { after })]);
      await child.lineWith("pid 1");
      await child.lineWith("ready");
      child.write("go\n");
      await child.lineWith("alive");
      visit(dir.file("s"), "stream");
    },
  );

  peerTest("a handler of its own ends it, and the file goes", ["unshare", "root"], async () => {
    using dir = tempDir();
    const after = `process.on("SIGTERM", () => process.exit(4));
process.stdin.on("data", () => process.kill(process.pid, "SIGTERM"));`;
    await using child = start([...unshare, process.execPath, server(dir, { after })]);
    await child.lineWith("ready");
    child.write("go\n");
    expect((await child.exited).code).toBe(4);
    expect(existsSync(dir.file("s"))).toBe(false);
  });
});

describe("in a test runner", () => {
  const suite = (dir: TempDir, end: string): string[] => {
    writeFileSync(
      dir.file("a.test.ts"),
      `import { test } from "bun:test";
import { listen } from ${JSON.stringify(`${root}/src/index.ts`)};
test("it listens", async () => {
  globalThis.server = listen(${JSON.stringify(dir.file("s"))});
  console.log("ready");
  ${end}
}, 100_000);`,
    );
    return [process.execPath, "test", "./a.test.ts"];
  };

  test("that is stopped by a signal", async () => {
    using dir = tempDir();
    for (const signal of ["SIGTERM", "SIGINT"] as const) {
      const command = suite(dir, "await Bun.sleep(60_000);");
      await using child = start(command, { cwd: dir.path });
      await child.lineWith("ready");
      child.kill(signal);
      const { signal: by, code } = await child.exited;
      expect(by ?? code).not.toBe(0);
    }
    listen(dir.file("s")).close();
  });

  test("that comes to its end", async () => {
    using dir = tempDir();
    await using child = start(suite(dir, ""), { cwd: dir.path });
    expect(await child.exited).toMatchObject({ code: 0, signal: null });
    listen(dir.file("s")).close();
    expect(readdirSync(dir.path)).toEqual(["a.test.ts"]);
  });
});

test("a Worker that is terminated leaks nothing, and lets go of its locks", async () => {
  using dir = tempDir();
  const thread = writeSource(
    dir,
    `import { listen, openDatagram } from "@/src/index.ts";
const lockFile = ${JSON.stringify(dir.file("lock"))};
globalThis.all = [
  listen(${JSON.stringify(dir.file("s"))}, { lockFile }),
  openDatagram(${JSON.stringify(dir.file("t"))}),
];
globalThis.all[0].accept();
postMessage("listening");`,
    "worker.ts",
  );
  const main = writeSource(
    dir,
    `import { readdirSync, readlinkSync } from "node:fs";
import { listen } from "@/src/index.ts";
const open = () => readdirSync("/proc/self/fd").flatMap((fd) => {
  try {
    const link = readlinkSync("/proc/self/fd/" + fd);
    return link.startsWith(${JSON.stringify(dir.path)}) || link.startsWith("socket:") ? [link] : [];
  } catch { return []; }
});
const before = open().length;
const [lockFile, path] = ${JSON.stringify([dir.file("lock"), dir.file("s")])};
for (let round = 0; round < 3; round++) {
  const worker = new Worker(${JSON.stringify(thread)});
  await new Promise((resolve) => (worker.onmessage = resolve));
  await worker.terminate();
  while (open().length > before) await Bun.sleep(5);
  listen(path, { lockFile }).close();
}
console.log("nothing is left");
process.exit(0);`,
  );
  await using child = startScript(main, [], LIFE);
  await child.lineWith("nothing is left");
});
