// bunix postbox: how it begins and ends, and what is left behind.

import { describe, expect, setDefaultTimeout, test } from "bun:test";
import {
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import {
  connect,
  MessageQueue,
  makeFifo,
  openDatagram,
  openFifo,
  sendSignal,
  socketPair,
} from "../../src/index.ts";
import { eventually } from "../api/tools.ts";
import { root, slower, start, startScript } from "../support/child.ts";
import { peerTest } from "../support/peers.ts";
import { tempDir } from "../support/tmp.ts";
import { Box } from "./postboxes.ts";
import { bunix } from "./tools.ts";

setDefaultTimeout(30_000 * slower);

/** Lines of a thousand bytes, of which a socket and a pipe hold a few hundred. */
const MANY = 10_000;
const PAUSE_MS = 100;

describe("what is left behind", () => {
  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) {
    test(`${signal}: nothing, not even the directories that it made`, async () => {
      using dir = tempDir();
      const directory = dir.file("made/by/the box");
      const box = await Box.open(directory);
      for (const file of ["fifo", "socket", "datagram"]) {
        expect(lstatSync(`${directory}/${file}`).mode & 0o777).toBe(0o600);
      }
      expect(lstatSync(directory).mode & 0o777).toBe(0o700);
      expect((await box.end(signal)).code).toBe(0);
      expect(readdirSync(dir.path)).toEqual([]);
      expect(() => MessageQueue.open(box.places.queue)).toThrow("ENOENT");
    });
  }

  test("what was sent before it was told to stop is printed still", async () => {
    using dir = tempDir();
    const box = await Box.open(dir.path);
    box.child.kill("SIGSTOP");
    using queue = MessageQueue.open(box.places.queue, { access: "write" });
    await queue.send("in the queue");
    using datagram = openDatagram();
    await datagram.send("a datagram", { to: box.places.datagram });
    using writer = openFifo(box.places.fifo, "write");
    await writer.write("in the FIFO\n");
    sendSignal(box.places.pid, "SIGRTMIN+1", { value: 5 });
    box.child.kill("SIGTERM");
    box.child.kill("SIGCONT");
    const { stdout, code } = await box.child.exited;
    expect(code).toBe(0);
    for (const text of ["in the queue", "a datagram", "in the FIFO", '"value":5']) {
      expect(stdout).toContain(text);
    }
  });

  test("by a crash: taken over, with the messages in it", async () => {
    using dir = tempDir();
    const crashed = await Box.open(dir.path);
    crashed.child.kill("SIGSTOP");
    using queue = MessageQueue.open(crashed.places.queue, { access: "write" });
    await queue.send("from before");
    await crashed.end("SIGKILL");
    expect(readdirSync(dir.path).sort()).toEqual(["datagram", "fifo", "socket"]);
    await using box = await Box.open(dir.path);
    expect(box.places.queue).toBe(crashed.places.queue);
    expect(await box.next()).toEqual({ channel: "queue", priority: 0, text: "from before" });
    using client = await connect(box.places.socket);
    await client.send("works\n");
    expect(await box.next()).toMatchObject({ text: "works" });
    await box.end();
    expect(readdirSync(dir.path)).toEqual([]);
  });

  test("a second box is refused and disturbs nothing", async () => {
    using dir = tempDir();
    await using box = await Box.open(dir.path);
    const { stdout, stderr, code } = await bunix(["postbox", dir.path]);
    expect([stdout, code]).toEqual(["", 71]);
    expect(stderr).toContain(`process ${box.places.pid} has a post box open here`);
    expect(readdirSync(dir.path).sort()).toEqual(["datagram", "fifo", "socket"]);
    using writer = openFifo(box.places.fifo, "write");
    await writer.write("still here\n");
    expect(await box.next()).toMatchObject({ text: "still here" });
  });

  test("what is no FIFO of ours stays, and nothing else is left", async () => {
    using dir = tempDir();
    writeFileSync(dir.file("fifo"), "a file");
    const { stderr, code } = await bunix(["postbox", dir.path]);
    expect([stderr.split(":")[0], code]).toEqual(["bunix", 71]);
    expect(stderr).toContain("not a FIFO but a file");
    expect(readdirSync(dir.path)).toEqual(["fifo"]);
    expect(readFileSync(dir.file("fifo"), "utf8")).toBe("a file");
  });

  test("a directory that cannot be made, or is not ours: 71, and why", async () => {
    const { stderr, code } = await bunix(["postbox", "/dev/null/x"]);
    expect([stderr, code]).toEqual(["bunix: mkdir ENOTDIR: not a directory /dev/null/x\n", 71]);
  });

  peerTest("another user's directory, FIFO or queue is refused", ["root"], async () => {
    const NOBODY = 65_534;
    using dir = tempDir();
    const refused = async (what: string): Promise<void> => {
      const { stderr, code } = await bunix(["postbox", dir.path]);
      expect([stderr.trimEnd(), code]).toEqual([expect.stringContaining(what), 71]);
      expect(stderr).toContain(`it belongs to uid ${NOBODY}`);
    };
    chownSync(dir.path, NOBODY, NOBODY);
    await refused(`EPERM: operation not permitted ${dir.path} `);
    chownSync(dir.path, 0, 0);
    makeFifo(dir.file("fifo"));
    chownSync(dir.file("fifo"), NOBODY, NOBODY);
    await refused(dir.file("fifo"));
    expect(readdirSync(dir.path)).toEqual(["fifo"]);
    rmSync(dir.file("fifo"));
    const box = await Box.open(dir.path);
    const { queue: name } = box.places;
    await box.end();
    using queue = MessageQueue.open(name, { create: true });
    chownSync(`/proc/self/fd/${queue.fd}`, NOBODY, NOBODY);
    await refused(name);
    expect(readdirSync(dir.path)).toEqual([]);
    queue.unlink(); // it has been left where it is
  });

  test("without DIR: in the runtime directory, or a private one", async () => {
    using dir = tempDir();
    mkdirSync(dir.file("run"));
    const cases = [
      [{ XDG_RUNTIME_DIR: dir.file("run") }, dir.file("run/bunix-postbox")],
      [
        { XDG_RUNTIME_DIR: undefined, TMPDIR: dir.path },
        dir.file(`bunix-postbox-${process.geteuid?.()}`),
      ],
    ] as const;
    for (const [env, directory] of cases) {
      await using child = startScript("src/cli/main.ts", ["postbox"], { env });
      expect(await child.line()).toContain(` in ${directory}`);
      expect(lstatSync(directory).mode & 0o777).toBe(0o700);
      child.kill("SIGTERM");
      await child.exited;
      expect(existsSync(directory)).toBeFalse();
    }
  });

  peerTest("nobody reads any more: it ends, and cleans up", ["sh"], async () => {
    using dir = tempDir();
    const main = "src/cli/main.ts";
    const command = `"$0" ${main} postbox ${dir.path} | head -n 1`;
    await using pipeline = start(["sh", "-c", command, process.execPath]);
    await pipeline.lineWith("post box");
    await eventually(async () => {
      using client = await connect(`${dir.path}/socket`).catch(() => null);
      await client?.send("anybody?\n").catch(() => {});
      return readdirSync(dir.path).length === 0;
    }, "an empty directory");
    await pipeline.exited;
  });

  test("a reader who does not read holds the senders back; the box ends all the same", async () => {
    using dir = tempDir();
    const [reader, output] = socketPair("stream");
    const command = [process.execPath, "src/cli/main.ts", "postbox", dir.path];
    const child = Bun.spawn(command, { cwd: root, stdio: ["ignore", output.fd, "inherit"] });
    output.close();
    (await reader.receive())?.close();
    using writer = openFifo(dir.file("fifo"), "write");
    const line = `${"x".repeat(1_000)}\n`;
    let sent = 0;
    const full = async (): Promise<boolean> => {
      for (; writer.tryWrite(line) === line.length; sent++) expect(sent).toBeLessThan(MANY);
      await Bun.sleep(PAUSE_MS); // long enough for a box that reads to have made room
      return writer.tryWrite(line) === null;
    };
    await eventually(full, "a FIFO that stays full");
    await eventually(() => {
      child.kill("SIGTERM"); // the first asks for what is left, which nobody reads; so again
      return child.exitCode !== null || child.signalCode !== null;
    }, "its end");
    reader.close();
    expect(readdirSync(dir.path)).toEqual([]);
  });
});
