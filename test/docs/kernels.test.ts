// docs/kernels.md has the table that capabilities() is made of. UPDATE=1 writes it anew.

import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { release } from "node:os";
import { errno } from "../../native/errno.ts";
import { mapping } from "../../native/mapping.ts";
import { nr } from "../../native/numbers.ts";
import { poll as events } from "../../native/poll.ts";
import { isAtLeast } from "../../src/base/kernel.ts";
import { capabilities } from "../../src/capabilities/capabilities.ts";
import { besides, type Requirement, requirements } from "../../src/capabilities/table.ts";
import { listen, openDatagram, ProcessHandle, SharedMemory } from "../../src/index.ts";
import { ownPidfdInode } from "../../src/process/pidfd-inode.ts";
import { poll } from "../../src/syscalls/fd.ts";
import { libc } from "../../src/syscalls/libc.ts";
import { endingOf } from "../../src/syscalls/process.ts";
import { result } from "../../src/syscalls/result.ts";
import { bind } from "../../src/syscalls/socket.ts";
import { run, runSource, succeeded } from "../support/child.ts";
import { holdMade, table } from "../support/markdown.ts";
import { tempDir } from "../support/tmp.ts";
import { at, Scope, SOCK_STREAM } from "../syscalls/sockets.ts";

const FILE = "docs/kernels.md";

const named: readonly [string, Requirement][] = Object.entries(requirements);

function features(): string {
  const row = (name: string, { since, backported, what, otherwise }: Requirement): string[] => [
    what,
    name === "" ? "" : `\`${name}\``,
    backported === undefined ? (since ?? "any") : `${since}, later ${backported}.x`,
    otherwise,
  ];
  return table([
    ["feature", "entry", "Linux", "before it, or without it"],
    ...named.map(([name, one]) => row(name, one)),
    ...besides.map((one) => row("", one)),
  ]);
}

test("the table is what capabilities() is made of", () => {
  holdMade(FILE, "features", features());
});

test("each entry of capabilities() has a row, and no other", () => {
  const entries = Object.entries(capabilities())
    .filter(([, value]) => typeof value === "object" && value !== null && "available" in value)
    .map(([name]) => name);
  expect(named.map(([name]) => name).sort()).toEqual(entries.sort());
});

test("what a reason says of versions is what the table says", () => {
  for (const [name, entry] of Object.entries(capabilities())) {
    const reason = (entry as { reason?: string } | null)?.reason;
    const version = /(?:since|came with) Linux ([\d.]+)/.exec(reason ?? "")?.[1];
    if (version === undefined) continue;
    const { since } = requirements[name as keyof typeof requirements] as Requirement;
    expect([name, since]).toEqual([name, version as never]);
  }
});

test("what this kernel is new enough for is there, or says why not", () => {
  const found: Readonly<Record<string, unknown>> = { ...capabilities() };
  for (const [name, { since }] of named) {
    const { available, reason = "" } = found[name] as { available: boolean; reason?: string };
    const old = since !== null && !isAtLeast(release(), since);
    if (old) expect([name, available]).toEqual([name, false]);
    else if (!available) expect(reason, name).not.toMatch(/^since Linux|came with Linux/);
  }
});

/** What a pidfd still tells of a child that was waited for. */
async function ofReaped<T>(look: (pidfd: number) => T): Promise<T> {
  const child = Bun.spawn(["sleep", "60"]);
  using handle = ProcessHandle.open(child.pid);
  child.kill();
  await child.exited;
  return look(handle.fd);
}

function secondBindLeavesNothing(): boolean {
  using dir = tempDir();
  using scope = new Scope();
  const fd = scope.socket(SOCK_STREAM);
  expect(bind(fd, at(dir.file("first")))).toBe(0);
  expect(bind(fd, at(dir.file("second")))).toBe(-errno.EINVAL);
  return !existsSync(dir.file("second"));
}

async function waitsWithoutThread(): Promise<boolean> {
  const program = `import { capabilities } from "@/src/index.ts";
console.log(capabilities().waker?.kind);
process.exit(0);`;
  const said = await runSource(program, { env: { BUNIX_WAKER: undefined } });
  return succeeded(said).trim() === "aio";
}

/** As other programs do it: bunix maps such memory with MAP_PRIVATE. */
function sealedIsMappedShared(): boolean {
  using memory = SharedMemory.create("x", { seal: true });
  const { PROT_READ, MAP_SHARED } = mapping;
  const mapped = libc.syscall(nr.SYS_mmap ?? -1, 0, 1, PROT_READ, MAP_SHARED, memory.fd, 0);
  if (result(mapped) === -errno.EPERM) return false;
  expect(result(mapped)).toBeGreaterThan(0);
  libc.munmap(mapped, 1);
  return true;
}

/** Whoever reaches a socket of ours and is waited for before anybody looks. */
async function passer(type: string, path: string): Promise<void> {
  const client = `import socket, sys
s = socket.socket(socket.AF_UNIX, socket.${type})
s.connect(sys.argv[1])
s.send(b"x")`;
  succeeded(await run(["python3", "-c", client, path]));
}

async function peerThatIsGone(): Promise<boolean> {
  using dir = tempDir();
  using listener = listen(dir.file("s"));
  await passer("SOCK_STREAM", dir.file("s"));
  using socket = await listener.accept();
  using peer = socket.peer();
  expect(peer.alive).toBe(false);
  return peer.pidfd !== null;
}

async function senderThatIsGone(): Promise<boolean> {
  using dir = tempDir();
  using receiver = openDatagram(dir.file("s"), { passPidfd: isAtLeast(release(), "6.5") });
  await passer("SOCK_DGRAM", dir.file("s"));
  using message = await receiver.receive();
  expect(message?.text()).toBe("x");
  return message?.pidfd !== undefined;
}

/** How the rows without an entry are tried, by the first words of each. */
const tried: Readonly<Record<string, () => boolean | Promise<boolean>>> = {
  "waiting without a thread": waitsWithoutThread,
  "naps of less than a millisecond": () =>
    result(libc.syscall(nr.SYS_epoll_pwait2 ?? -1, -1, 0, 0, 0, 0, 0)) !== -errno.ENOSYS,
  "a bound socket refuses a second": secondBindLeavesNothing,
  "programs can map memory that is sealed": sealedIsMappedShared,
  "each process has a number for ever": () => ownPidfdInode() !== null,
  "`ProcessHandle` tells a zombie": () =>
    ofReaped((pidfd) => (poll(pidfd, events.POLLIN, 0) & events.POLLHUP) !== 0),
  "the pidfd of a peer": peerThatIsGone,
  "the pidfd of a message's sender": senderThatIsGone,
  "`ProcessHandle.exited` knows how": () => ofReaped((pidfd) => endingOf(pidfd) !== null),
};

test.each(besides)("$what: there from $since on, and not before", async (requirement) => {
  const { what, since, backported } = requirement;
  const [, attempt] = Object.entries(tried).find(([name]) => what.startsWith(name)) ?? [];
  expect(attempt, "how it is tried").toBeDefined();
  const there = isAtLeast(release(), since!);
  const found = await attempt!();
  if (!there && backported !== undefined && isAtLeast(release(), backported)) {
    console.log(`note: ${what}: ${found ? "there" : "not there"} on ${release()}`);
    return;
  }
  expect([release(), found]).toEqual([release(), there]);
});
