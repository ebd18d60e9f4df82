// A starter that is stopped or killed in the middle; a directory that cannot be read.

import { describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { listen } from "../../src/index.ts";
import { eventually, failure } from "../api/tools.ts";
import { ownCommand } from "../cli/tools.ts";
import { startScript, writeSource } from "../support/child.ts";
import { peerTest } from "../support/peers.ts";
import { setMode, tempDir } from "../support/tmp.ts";
import { leaveStale, startServer, visit } from "./crew.ts";

describe("a starter that is stopped between look and listen", () => {
  for (const call of ["bind", "listen"] as const) {
    test(`at ${call}: nobody waits for it, and one of them has the address`, async () => {
      using dir = tempDir();
      const path = dir.file("s");
      leaveStale(path);
      const script = writeSource(
        dir,
        `import { listen } from "@/src/index.ts";
import { libc } from "@/src/syscalls/libc.ts";
const real = libc.${call};
libc.${call} = ((...args: Parameters<typeof real>) => {
  process.kill(process.pid, "SIGSTOP");
  return real(...args);
}) as typeof real;
try {
  const server = listen(${JSON.stringify(path)});
  console.log("listening");
  for await (const client of server) client.close();
} catch (error) {
  console.log(error.message);
}`,
        "stopping.ts",
      );
      await using child = startScript(script);
      const state = (): string => readFileSync(`/proc/${child.pid}/stat`, "utf8");
      await eventually(() => / T /.test(state()), "it stops");
      if (call === "bind") {
        // the stale file has gone, and a free name is everybody's: its own bind says so
        using server = listen(path, { lockTimeoutMs: 0 });
        child.kill("SIGCONT");
        expect(await child.line()).toContain(`process ${process.pid} (`);
        expect(visit(path, "stream")).toBe(process.pid);
        server.close();
        return;
      }
      const error = await failure(() => listen(path, { lockTimeoutMs: 0 }));
      expect(error.code).toBe("EADDRINUSE"); // bound and not yet listening it is seen
      expect(error.message).toContain(`process ${child.pid} (${ownCommand}`);
      child.kill("SIGCONT");
      await child.lineWith("listening");
      expect(visit(path, "stream")).toBe(child.pid);
    });
  }

  test("killed there, it blocks nobody", async () => {
    using dir = tempDir();
    const path = dir.file("s");
    const script = writeSource(
      dir,
      `import { listen } from "@/src/index.ts";
import { libc } from "@/src/syscalls/libc.ts";
libc.listen = () => { process.kill(process.pid, "SIGSTOP"); return 0; };
listen(${JSON.stringify(path)});`,
    );
    await using child = startScript(script);
    const state = (): string => readFileSync(`/proc/${child.pid}/stat`, "utf8");
    await eventually(() => / T /.test(state()), "it stops");
    child.kill("SIGKILL");
    await child.exited;
    using server = listen(path);
    expect(visit(path, "stream")).toBe(process.pid);
    server.close();
  });
});

describe("a directory that may be written and not read", () => {
  peerTest("a fresh start, and over a stale file", ["root"], async () => {
    using dir = tempDir();
    setMode(dir.path, 0o1733);
    const path = dir.file("s");
    const uid = 65_534;
    const first = startServer(path, { uid });
    await first.lineWith("listening");
    first.kill("SIGKILL");
    await first.exited;
    expect(existsSync(path)).toBe(true);
    const second = startServer(path, { uid }, "close");
    await second.lineWith("listening");
    second.endInput();
    expect((await second.exited).code).toBe(0);
    expect(readdirSync(dir.path)).toEqual([]);
  });
});
