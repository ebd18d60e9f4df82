// Each thing that our code does for XNU, taken away in a copy: then its test fails.

import { afterAll, beforeAll, expect } from "bun:test";
import { cpSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../support/child.ts";
import { missing } from "../support/peers.ts";
import { type TempDir, tempDir } from "../support/tmp.ts";
import { testUnless } from "../support/unless.ts";

interface Mutation {
  readonly what: string;
  readonly file: string;
  readonly from: string;
  readonly to: string;
  /** The test that notices; in xnu.ts, where `in` names no other file. */
  readonly by: string;
  readonly in?: "xnu" | "fifos" | "memory" | "processes";
}

const mutations: readonly Mutation[] = [
  {
    what: "MSG_NBIO",
    file: "src/syscalls/message.ts",
    from: "(XNU ? MSG_NBIO : 0)",
    to: "0",
    by: "a socket that blocks is not slept on",
  },
  {
    what: "O_NONBLOCK",
    file: "src/syscalls/socket.ts",
    from: "Math.min(setCloseOnExec(fd, true), setNonBlocking(fd, true))",
    to: "setCloseOnExec(fd, true)",
    by: "every socket that is made or adopted",
  },
  {
    what: "EMSGSIZE is not now",
    file: "src/syscalls/xnu.ts",
    from: "withControl && typeOf(fd) === c.SOCK_STREAM ? AGAIN : sent",
    to: "sent",
    by: "a send with descriptors waits for room",
  },
  {
    what: "ENOBUFS is try again",
    file: "src/syscalls/xnu.ts",
    from: "typeOf(fd) === c.SOCK_DGRAM ? AGAIN : sent",
    to: "sent",
    by: "datagrams wait for room",
  },
  {
    what: "trying again, which nobody tells us to",
    file: "src/socket/datagram-room.ts",
    from: 'ROOM_IS_UNTOLD = system === "darwin"',
    to: "ROOM_IS_UNTOLD = false",
    by: "datagrams wait for room",
  },
  {
    what: "one SCM_RIGHTS without padding",
    file: "native/socket.ts",
    from: '"CMSG_SPACE(1) - CMSG_SPACE(0)": [8, 4]',
    to: '"CMSG_SPACE(1) - CMSG_SPACE(0)": [8, 8]',
    by: "several descriptors are one SCM_RIGHTS",
  },
  {
    what: "room for all control data, for what is cut is open all the same",
    file: "src/syscalls/header.ts",
    from: "cmsgSpace(4 * SCM_MAX_FD)",
    to: "cmsgSpace(4)",
    by: "several descriptors are one SCM_RIGHTS",
  },
  {
    what: "close-on-exec after the fact",
    file: "src/socket/receive.ts",
    from: "if (flag.MSG_CMSG_CLOEXEC === null) for",
    to: "if (fds.length < 0) for",
    by: "several descriptors are one SCM_RIGHTS",
  },
  {
    what: "close-on-exec of a lone descriptor",
    file: "src/socket/receive.ts",
    from: "if (flag.MSG_CMSG_CLOEXEC === null) setCloseOnExec",
    to: "if (fd < 0) setCloseOnExec",
    by: "several descriptors are one SCM_RIGHTS",
  },
  {
    what: "a full table of descriptors",
    file: "src/syscalls/message.ts",
    from: "XNU && received === -errno.EMSGSIZE && !lost",
    to: "received > 0 && received < 0",
    by: "a full table of descriptors",
  },
  {
    what: "NOSIGPIPE",
    file: "src/syscalls/socket.ts",
    from: "if (option.SO_NOSIGPIPE !== null)",
    to: "if (fd < 0 && option.SO_NOSIGPIPE !== null)",
    by: "no SIGPIPE",
  },
  {
    what: "FIFOs by select(2)",
    file: "src/loop/kqueue-selector.ts",
    from: "if (isFifo(watch.fd)) {",
    to: "if (watch.fd < 0) {",
    by: "the last writer of a FIFO",
  },
  {
    what: "a full backlog is not stale",
    file: "src/bind/exclusive.ts",
    from: 'REFUSED_SAYS_NOTHING = system === "darwin"',
    to: "REFUSED_SAYS_NOTHING = false",
    by: "a live server whose backlog is full",
  },
  {
    what: "a look through the link to a directory",
    file: "src/address/directory.ts",
    from: "own === null ? statSync(this.directory)",
    to: "own === null ? lstatSync(this.directory)",
    by: "a directory behind a link",
  },
  {
    what: "no names that the kernel chooses",
    file: "src/address/address.ts",
    from: 'if (system !== "linux") throw noNames();\n  return { kind: "unnamed" };',
    to: 'return { kind: "unnamed" };',
    by: "the kernel chooses no names there",
  },
  {
    what: "nine declared arguments",
    file: "src/syscalls/libc.ts",
    from: "variadicOnStack ? paddedSignatures(group) : group",
    to: "group",
    by: "this is macOS's column",
  },
  {
    what: "a look before a FIFO is read",
    file: "src/fifo/reader.ts",
    from: "if (ASKS_FIRST) return takeReady",
    to: "if (fd < 0) return takeReady",
    by: "openFifo: writers come and go",
    in: "fifos",
  },
  {
    what: "the identity of a FIFO that is opened by name",
    file: "src/fifo/file.ts",
    from: "if (this.#is(end)) return end;",
    to: "if (end >= 0) return end;",
    by: "openFifo: another file in its place",
    in: "fifos",
  },
  {
    what: "NOTE_EXITSTATUS",
    file: "src/process/exit-queue.ts",
    from: "kq.exit | kq.exitStatus",
    to: "kq.exit",
    by: "a process's end, by EVFILT_PROC",
    in: "processes",
  },
  {
    what: "asking the kqueue before a pid is signalled",
    file: "src/process/handle.ts",
    from: 'ended: this.#state() !== "running"',
    to: "ended: false",
    by: "a process's end, by EVFILT_PROC",
    in: "processes",
  },
  {
    what: "EACCES means that only the end is told",
    file: "src/process/exit-queue.ts",
    from: "if (asked === -errno.EACCES)",
    to: "if (asked > 0)",
    by: "another user's process",
    in: "processes",
  },
  {
    what: "the version of a pid",
    file: "src/peer/verify.ts",
    from: "one.token.pidVersion === other.token.pidVersion",
    to: "other !== null",
    by: "who used the peer's socket last",
    in: "processes",
  },
  {
    what: "libproc",
    file: "src/inspect/probe.ts",
    from: 'if (hasLibproc && answer.state !== "free")',
    to: 'if (answer.state === "free")',
    by: "a live server whose backlog is full",
  },
  {
    what: "free() of launchd's array",
    file: "src/syscalls/launchd.ts",
    from: "libc.free(at);",
    to: "",
    by: "launchd's sockets",
    in: "processes",
  },
  {
    what: "shm_unlink at once",
    file: "src/syscalls/mapping.ts",
    from: "result(libc.shm_unlink(name.address))",
    to: "0",
    by: "shared memory has no name left",
    in: "memory",
  },
  {
    what: "O_EXCL",
    file: "src/syscalls/mapping.ts",
    from: "file.O_RDWR | file.O_CREAT | file.O_EXCL",
    to: "file.O_RDWR | file.O_CREAT",
    by: "shared memory by shm_open",
    in: "memory",
  },
];

const LONG_MS = 60_000;
let copy: TempDir;
let bun = "";
const rig = Bun.spawnSync(["bash", join(import.meta.dir, "rig.sh")]);
const why = rig.success ? missing(["cc"]) : rig.stderr.toString().trim();

beforeAll(() => {
  copy = tempDir();
  bun = rig.stdout.toString().trim().split("\n").at(-1) ?? "";
  for (const part of ["src", "native", "tsconfig.json", "package.json", "bunfig.toml"]) {
    cpSync(join(root, part), copy.file(part), { recursive: true });
  }
  for (const part of ["darwin", "support", "api"]) {
    cpSync(join(root, "test", part), copy.file(`test/${part}`), { recursive: true });
  }
  symlinkSync(join(root, "node_modules"), copy.file("node_modules"));
});

afterAll(() => copy.remove());

async function passes({ by: name, in: file = "xnu" }: Mutation): Promise<boolean> {
  const command = [bun, "test", `./test/darwin/${file}.ts`, "-t", name, "--timeout=5000"];
  const env = { ...process.env, BUNIX_RIG: "darwin" };
  const child = Bun.spawn(command, { cwd: copy.path, env, stdio: ["ignore", "pipe", "pipe"] });
  const timer = setTimeout(() => child.kill("SIGKILL"), LONG_MS / 2);
  const [out, said] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  await child.exited;
  clearTimeout(timer);
  if (child.exitCode === 0 && !`${out}${said}`.includes(`(pass) ${name}`)) {
    throw new Error(`no test is called ${name}`);
  }
  return child.exitCode === 0;
}

for (const [by, mutation] of new Map(mutations.map((one) => [one.by, one]))) {
  const asItIs = async (): Promise<void> => expect(await passes(mutation)).toBeTrue();
  testUnless(why, `as it is: ${by}`, asItIs, LONG_MS);
}

for (const mutation of mutations) {
  const { what, file, from, to, by } = mutation;
  testUnless(
    why,
    `without ${what}: "${by}" fails`,
    async () => {
      const path = copy.file(file);
      const text = readFileSync(path, "utf8");
      expect(text.split(from).length).toBe(2);
      writeFileSync(path, text.replace(from, to));
      try {
        expect(await passes(mutation)).toBeFalse();
      } finally {
        writeFileSync(path, text);
      }
    },
    LONG_MS,
  );
}
