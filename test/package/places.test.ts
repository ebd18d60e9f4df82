// The package in places that have little: a root directory with Bun and libc alone, a workspace.

import { afterAll, beforeAll, expect, test } from "bun:test";
import { cpSync, mkdirSync, readFileSync, realpathSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { run, slower } from "../support/child.ts";
import { missing } from "../support/peers.ts";
import { type TempDir, tempDir } from "../support/tmp.ts";
import { noCompiledPrograms, testUnless, wakersHere } from "../support/unless.ts";
import { install, pack, succeed, TIMEOUT_MS } from "./packed.ts";

let dir: TempDir;
let tarball: string;
let project: string;

beforeAll(async () => {
  dir = tempDir();
  tarball = await pack(dir);
  project = await install(dir, tarball);
}, TIMEOUT_MS * slower);

afterAll(() => dir.remove());

const PROGRAM = `
import { connect, listen, MessageQueue, SharedMemory, sendSignal } from "bunix";
import { socketPair, UnixError, watchSignals } from "bunix";

const said = {};
const [a, b] = socketPair("seqpacket");
using memory = SharedMemory.create("shared", { seal: true });
setTimeout(() => a.send("memory", { fds: [memory] }), 5);
using message = await b.receive();
using mapped = SharedMemory.map(message.fds[0]);
said.memory = new TextDecoder().decode(mapped.bytes);
using listener = listen("@scratch-" + process.pid);
using client = await connect("@scratch-" + process.pid);
using server = await listener.accept();
said.peer = server.peerCredentials().pid === process.pid;
try {
  listen("/nowhere.sock");
} catch (error) {
  said.path = error instanceof UnixError && error.code;
}
using queue = MessageQueue.open("/scratch-" + process.pid, { create: true, unlinkOnOpen: true });
queue.trySend("queued");
said.queue = queue.tryReceive()?.text();
using watcher = watchSignals("SIGUSR1");
sendSignal(process.pid, "SIGUSR1", { value: 7 });
const { pid, value } = await watcher.receive();
said.signal = [watcher.source, pid === process.pid, value];
a.close();
b.close();
console.log(JSON.stringify(said));
`;

/** The loader that a program names for its start: PT_INTERP of its ELF headers, see elf(5). */
function loaderOf(program: string): string {
  const file = readFileSync(program);
  const u64 = (at: number): number => Number(file.readBigUInt64LE(at));
  const [PT_INTERP, offset, bytes] = [3, 8, 32];
  const [headers, size, count] = [u64(32), file.readUInt16LE(54), file.readUInt16LE(56)];
  for (let at = headers; at < headers + count * size; at += size) {
    if (file.readUInt32LE(at) !== PT_INTERP) continue;
    const begin = u64(at + offset);
    return file.toString("latin1", begin, begin + u64(at + bytes) - 1);
  }
  throw new Error(`${program} names no loader`);
}

/** The libraries that a program is linked with. */
async function libraries(program: string): Promise<string[]> {
  const { stdout } = await succeed([loaderOf(program), "--list", program]);
  return Array.from(stdout.matchAll(/(?:=> )?(\/\S+) \(0x/g), ([, path]) => path!);
}

/** A root with Bun, its libraries, empty mount points and the program; nothing else. */
async function makeRoot(): Promise<string> {
  const place = dir.file("root");
  for (const name of ["app", "dev", "proc"]) mkdirSync(join(place, name), { recursive: true });
  const bun = realpathSync(process.execPath);
  cpSync(bun, join(place, "bun"));
  for (const library of await libraries(bun)) {
    mkdirSync(join(place, dirname(library)), { recursive: true });
    cpSync(realpathSync(library), join(place, library));
  }
  cpSync(join(project, "node_modules"), join(place, "app/node_modules"), { recursive: true });
  writeFileSync(join(place, "app/program.ts"), PROGRAM);
  for (const name of ["null", "urandom"]) writeFileSync(join(place, "dev", name), "");
  return place;
}

/** Mounts that end with the process; the root can be read only, and has no /dev/mqueue. */
const ENTER = `
set -e
mount --bind "$0" "$0"
mount --bind /dev/null "$0/dev/null"
mount --bind /dev/urandom "$0/dev/urandom"
mount -t proc proc "$0/proc"
mount -o remount,bind,ro "$0"
exec chroot "$0" /bun /app/program.ts
`;

const notRoot = process.getuid?.() === 0 ? null : "only root may mount and chroot";

for (const waker of wakersHere()) {
  testUnless(
    notRoot ?? noCompiledPrograms() ?? missing(["unshare"]),
    `a root with Bun and libc alone, read-only: ${waker}`,
    async () => {
      const place = await makeRoot();
      const command = ["unshare", "--mount", "--propagation=private", "sh", "-c", ENTER, place];
      const { stdout, stderr, code } = await run(command, {
        env: { BUNIX_WAKER: waker },
        timeoutMs: TIMEOUT_MS,
      });
      expect({ stderr, code }).toEqual({ stderr: "", code: 0 });
      expect(JSON.parse(stdout)).toEqual({
        memory: "shared",
        peer: true,
        path: "EROFS",
        queue: "queued",
        signal: ["handler", true, 7],
      });
    },
    TIMEOUT_MS,
  );
}

test(
  "a workspace: two members that use it get one copy",
  async () => {
    const place = dir.file("workspace");
    const member = (name: string, text: string): void => {
      mkdirSync(join(place, name), { recursive: true });
      const dependencies = { bunix: `file:../${basename(tarball)}` };
      const manifest = { name, version: "1.0.0", type: "module", main: "index.ts", dependencies };
      writeFileSync(join(place, name, "package.json"), JSON.stringify(manifest));
      writeFileSync(join(place, name, "index.ts"), text);
    };
    member(
      "made",
      'import { socketPair } from "bunix";\nexport const pair = socketPair("stream");',
    );
    member(
      "used",
      `import { StreamSocket } from "bunix/socket";
import { pair } from "../made/index.ts";
const [a, b] = pair;
await a.send("from the other member");
console.log(b instanceof StreamSocket, (await b.receive())?.text());
a.close();
b.close();`,
    );
    cpSync(tarball, join(place, basename(tarball)));
    const manifest = { name: "all", private: true, workspaces: ["made", "used"] };
    writeFileSync(join(place, "package.json"), JSON.stringify(manifest));
    const env = {
      BUN_CONFIG_REGISTRY: "http://127.0.0.1:9",
      BUN_INSTALL_CACHE_DIR: dir.file("cache"),
    };
    await succeed([process.execPath, "install"], { cwd: place, env });
    const { stdout } = await succeed([process.execPath, join(place, "used/index.ts")]);
    expect(stdout.trim()).toBe("true from the other member");
  },
  TIMEOUT_MS * slower,
);

test("in a Worker", async () => {
  writeFileSync(
    join(project, "worker.ts"),
    `import { socketPair } from "bunix";
const [a, b] = socketPair("stream");
setTimeout(() => a.send("inside"), 1);
postMessage((await b.receive())?.text());
a.close();
b.close();`,
  );
  writeFileSync(
    join(project, "main.ts"),
    `const worker = new Worker(new URL("worker.ts", import.meta.url).href);
worker.onmessage = ({ data }) => { console.log(data); worker.terminate(); };`,
  );
  const { stdout } = await succeed([process.execPath, join(project, "main.ts")]);
  expect(stdout.trim()).toBe("inside");
});
