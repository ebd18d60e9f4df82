// Processes on macOS: their ends by kqueue, who is at the other end, who has an address, and what
// launchd passes, as the shim does it. run.ts runs this file.

import { type Pointer, toArrayBuffer } from "bun:ffi";
import { expect, test } from "bun:test";
import { errno } from "../../native/errno.ts";
import { auditToken, auditTokenWord, local } from "../../native/socket.ts";
import { connectSync, inheritedFds, listen, ProcessHandle, probe } from "../../src/index.ts";
import { libc } from "../../src/syscalls/libc.ts";
import { root, start, writeSource } from "../support/child.ts";
import { fake } from "../support/seam.ts";
import { tempDir } from "../support/tmp.ts";

test("a process's end, by EVFILT_PROC: alive, how it ended, nobody else by its pid", async () => {
  const child = Bun.spawn(["sh", "-c", "read line; exit 7"], { stdin: "pipe" });
  using handle = ProcessHandle.open(child.pid);
  expect([handle.alive(), handle.info()?.command]).toEqual([true, "sh"]);
  expect(handle.info()).toMatchObject({ pid: child.pid, ppid: process.pid, arguments: null });
  const exited = [handle.exited(), handle.exited()];
  await Bun.sleep(0);
  child.stdin.end();
  const status = { code: 7, signal: null, coreDumped: false };
  expect(await Promise.all(exited)).toEqual([status, status]);
  expect([handle.alive(), handle.info()]).toEqual([false, null]);
  expect(await child.exited).toBe(7);
  const { kill } = libc;
  libc.kill = () => 0; // whoever has that pid by now
  expect(() => handle.signal("SIGTERM")).toThrow("ESRCH");
  libc.kill = kill;
  expect(await handle.exited()).toEqual(status);
  expect(() => ProcessHandle.open(child.pid)).toThrow("ESRCH");
});

test("a signal goes to a process that lives, by its pid", async () => {
  const child = Bun.spawn(["sleep", "1000"]);
  using handle = ProcessHandle.open(child.pid);
  handle.signal(0);
  expect(() => handle.signal("SIGTERM", { value: 1 })).toThrow("macOS has no sigqueue");
  handle.signal("SIGTERM");
  expect(await handle.exited()).toEqual({ code: null, signal: "SIGTERM", coreDumped: false });
  await child.exited;
});

test("another user's process: its end is told, how it ended is not", async () => {
  const child = Bun.spawn(["sh", "-c", "read line"], { stdin: "pipe" });
  const refusing = fake("kevent", [{ errno: errno.EACCES }]);
  using handle = ProcessHandle.open(child.pid);
  expect(refusing.calls.length).toBe(2); // without the exit status, then
  refusing[Symbol.dispose]();
  expect(handle.alive()).toBeTrue();
  child.stdin.end();
  expect(await handle.exited()).toBeUndefined();
  expect(handle.alive()).toBeFalse();
  await child.exited;
});

test("who used the peer's socket last: its audit token, and what that is worth", async () => {
  using dir = tempDir();
  using server = listen(dir.file("s"));
  using client = connectSync(dir.file("s"));
  using accepted = server.tryAccept()!;
  using found = accepted.peer();
  const uid = process.getuid!();
  expect(found).toMatchObject({ pid: process.pid, uid, source: "peertoken", alive: true });
  expect(found.auditToken).toMatchObject({ pid: process.pid, uid });
  expect(found.effectivePid).toBe(process.pid);
  expect(found.executable).toContain("bun");
  expect(found.groups).toContain(process.getgid!());
  // the pid is another process's from one look to the next
  const { getsockopt } = libc;
  let asked = 0;
  libc.getsockopt = (fd, level, which, to, bytes) => {
    const got = getsockopt(fd, level, which, to, bytes);
    if (level !== local.SOL_LOCAL || which !== local.LOCAL_PEERTOKEN) return got;
    const token = new DataView(toArrayBuffer(to as Pointer, 0, auditToken.size));
    token.setUint32(4 * auditTokenWord.pidVersion, ++asked, true);
    return got;
  };
  using other = accepted.peer();
  libc.getsockopt = getsockopt;
  expect([asked, other.source]).toEqual([2, "peercred"]);
  expect(client.closed).toBeFalse();
});

test("the holder of an address, by libproc: also while it only has it bound", async () => {
  using dir = tempDir();
  const path = dir.file("s");
  const program = `
    import { listen } from "@/src/index.ts";
    listen(${JSON.stringify(path)}, { exclusive: false });
    console.log("ready");
    await new Promise(() => setInterval(() => {}, 1000));`;
  const script = writeSource(dir, program);
  await using child = start([process.execPath, script]);
  await child.lineWith("ready");
  const { holders } = probe(path);
  expect(holders.map(({ pid }) => pid)).toEqual([child.pid]);
  expect(() => listen(path)).toThrow(`process ${child.pid} (`);
});

test("launchd's sockets, by their names: once each, owned, and their array freed", async () => {
  const program = `
    import { adoptSocket, inheritedFds, inheritedFdsByName } from "@/src/index.ts";
    const all = inheritedFds({ launchd: ["web", "admin", "web"] });
    console.log(all.map(({ name, description }) => name + " " + description.kind).join());
    console.log(all.every(({ fd }) => fd.closeOnExec), inheritedFds().length);
    const again = inheritedFdsByName({ launchd: ["web"] }).web;
    console.log(again.length, again[0].fd === all[0].fd);
    using server = adoptSocket(again[0].fd);
    console.log(server.constructor.name);
    try { inheritedFds({ launchd: ["none"] }); } catch (error) { console.log(error.code); }
    process.exit(0);`;
  using dir = tempDir();
  const script = writeSource(dir, program);
  using web = listen(dir.file("web"));
  using admin = listen(dir.file("admin"));
  const child = Bun.spawn([process.execPath, script], {
    cwd: root,
    env: { ...process.env, BUNIX_LAUNCHD: "web=3,4;admin=5" },
    stdio: ["ignore", "pipe", "pipe", web.fd, admin.fd, admin.fd],
  });
  const [said, errors] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  expect({ said: said.trim().split("\n"), errors }).toEqual({
    said: ["web socket,web socket,admin socket", "true 0", "2 true", "Listener", "ENOENT"],
    errors: "",
  });
  expect(inheritedFds({ launchd: ["web"] })).toEqual([]); // not started by launchd
  expect(() => inheritedFds({ launchd: [""] })).toThrow(TypeError);
});
