// bunix ls with 1,000 sockets against ss -xp: whole processes. Then what of that is whose: bunx, an
// empty program, the same questions to the kernel by bare FFI calls, with no word about them, and
// the least program that prints the answers.

import { chmodSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { nr } from "../native/numbers.ts";
import manifest from "../package.json";
import { connect, listen } from "../src/index.ts";
import { encodeDumpRequest, requestBytes } from "../src/structs/unix-diag.ts";
import { interleave, report, works } from "./harness.ts";
import { app, build, program, startOf } from "./package.ts";
import { somewhere } from "./processes.ts";

const CONNECTIONS = 500;
const STARTS = 6;

/** The dump of all Unix sockets, and the link of every descriptor; nothing is made of them. */
function bareProgram(): string {
  const request = new Uint8Array(requestBytes);
  encodeDumpRequest(new DataView(request.buffer));
  return `import { dlopen, ptr } from "bun:ffi";
import { nr } from "${join(import.meta.dir, "../native/numbers.ts")}";
const i32 = "i32", i64 = "i64", p = "ptr";
const { socket, send, recv, open, close, syscall } = dlopen("libc.so.6", {
  socket: { args: [i32, i32, i32], returns: i32 },
  send: { args: [i32, p, i64, i32], returns: i64 },
  recv: { args: [i32, p, i64, i32], returns: i64 },
  open: { args: [p, i32, i32], returns: i32 },
  close: { args: [i32], returns: i32 },
  syscall: { args: [i64, i64, i64, i64, i64, i64, i64], returns: "i64_fast" },
}).symbols;
const ROOM = 32768;
const room = new Uint8Array(new ArrayBuffer(ROOM));
const at = ptr(room.buffer);
const netlink = socket(16, 3, 4);
const request = new Uint8Array(new ArrayBuffer(${requestBytes}));
request.set(${JSON.stringify([...request])});
send(netlink, ptr(request.buffer), ${requestBytes}, 0);
do recv(netlink, at, ROOM, 0); while (room[4] !== 3);
const link = ptr(new ArrayBuffer(64));
const names = (path, see) => {
  const fd = open(ptr(Buffer.from(path + "\\0")), 0, 0);
  if (fd < 0) return;
  for (let end; (end = syscall(nr.SYS_getdents64, fd, at, ROOM, 0, 0, 0)) > 0; ) {
    for (let i = 0; i < end; i += room[i + 16] | (room[i + 17] << 8)) {
      if (room[i + 19] >= 48 && room[i + 19] <= 57) see(fd, i + 19);
    }
  }
  close(fd);
};
const pids = [];
names("/proc", (_, i) => pids.push(Buffer.from(room.subarray(i, room.indexOf(0, i))).toString()));
for (const pid of pids) {
  names("/proc/" + pid + "/fd", (fd, i) => syscall(nr.SYS_readlinkat, fd, at + i, link, 64, 0, 0));
}
`.replaceAll("\\\\0", "\\0");
}

/** The question, for `servers/list.ts`. */
function question(): string {
  const request = Buffer.alloc(requestBytes);
  encodeDumpRequest(new DataView(request.buffer, request.byteOffset));
  return request.toString("hex");
}

/** `servers/list.ts` as a program that Bun need not transpile at its start. */
async function leastProgram(): Promise<string> {
  const source = await Bun.file(join(import.meta.dir, "servers/list.ts")).text();
  const code = new Bun.Transpiler({ loader: "ts", target: "bun" }).transformSync(source);
  return program("least-list.mjs", `#!/usr/bin/env bun\n// @bun\n${code}`);
}

/** As an installation links it. */
function command(name: string, target: string): void {
  chmodSync(target, 0o755);
  symlinkSync(target, join(app, "node_modules/.bin", name));
}

if (Bun.which("ss") === null) {
  console.log("(no ss here: apt-get install iproute2)");
  process.exit();
}
build();
writeFileSync(join(app, "package.json"), "{}");
command("bunix", join(app, "node_modules/bunix", manifest.bin.bunix));
command("least", await leastProgram());
command("nothing", program("nothing.mjs", "#!/usr/bin/env bun\n"));
const empty = program("empty-list.mjs", "");
const bare = program("bare-list.mjs", bareProgram());

const asked = [`${nr.SYS_getdents64}`, `${nr.SYS_readlinkat}`, question()];

const path = somewhere();
const listener = listen(path);
const held = [];
for (let i = 0; i < CONNECTIONS; i++) held.push(await connect(path), await listener.accept());

const { execPath } = process;
for (const [where, cpu] of works<readonly [string, number | null]>(
  ["one processor", 0],
  ["not pinned", null],
)) {
  const run =
    (...words: string[]) =>
    (): number =>
      startOf(words, { cpu, starts: STARTS });
  const taken = await interleave({
    "bunix ls": run(join(app, "node_modules/.bin/bunix"), "ls"),
    "bunx bunix ls": run(execPath, "x", "bunix", "ls"),
    "ss -xp": run("ss", "-xp"),
    "empty program": run(execPath, empty),
    "bunx, empty program": run(execPath, "x", "nothing"),
    "bare FFI calls": run(execPath, bare),
    "least program": run(join(app, "node_modules/.bin/least"), ...asked),
    "bunx, least program": run(execPath, "x", "least", ...asked),
  });
  report({ work: `list of ${held.length} sockets, ${where}`, unit: "ms" }, taken, [
    ["bunix ls", "ss -xp", 1.5],
    ["bunx bunix ls", "ss -xp", 1.5],
    ["empty program", "ss -xp"],
    ["bunx, empty program", "ss -xp"],
    ["bare FFI calls", "ss -xp"],
    ["least program", "ss -xp"],
    ["bunx, least program", "ss -xp"],
  ]);
}
for (const socket of held) socket.close();
listener.close();
process.exit();
