// Children of many kinds have exactly the descriptors that they were given. BUNIX_SPAWNS=1000 is
// the figure of the promise; fewer show the same.

import { describe, expect, setDefaultTimeout } from "bun:test";
import { type Fd, type FdLike, socketPair } from "../../src/index.ts";
import type { SpawnFds } from "../../src/spawn/descriptors.ts";
import { spawn } from "../../src/spawn/spawn.ts";
import { expected, inventory, listers } from "../api/spawns.ts";
import {
  closeAll,
  eventually,
  leakFree,
  marked,
  markedMany,
  must,
  openFds,
  startLoop,
} from "../api/tools.ts";
import { fewer, slower } from "../support/child.ts";
import { compileCSource, peerTest } from "../support/peers.ts";
import { noSpawnGaps, testUnless } from "../support/unless.ts";

const SPAWNS = Number(process.env["BUNIX_SPAWNS"] ?? fewer(24));
const AT_ONCE = 3;
const DESCRIPTORS = 20;
const TIMEOUT_MS = 600_000;

/** A generator that gives the same numbers each run; a failure names its round. */
function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state * 1_664_525 + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** Files, sockets and pipes, more than one spawn takes, in the range of the children's numbers. */
class Sources implements Disposable {
  readonly #files = markedMany(16);
  readonly #sockets = [
    ...socketPair("stream"),
    ...socketPair("seqpacket"),
    ...socketPair("datagram"),
  ];
  readonly all: readonly FdLike[] = [...this.#files, ...this.#sockets, 0, 1, 2];

  [Symbol.dispose](): void {
    closeAll([...this.#files, ...this.#sockets]);
  }
}

const HIGHEST = 80;

/** Twenty descriptors in one of the three forms, the same ones more than once among them. */
function choose(all: readonly FdLike[], form: number, next: (below: number) => number): SpawnFds {
  const fds = Array.from({ length: DESCRIPTORS }, () => all[next(all.length)]!);
  if (form === 0) return fds;
  const record: Record<string, FdLike> = {};
  const named = form === 1 ? 0 : 6;
  for (const fd of fds.slice(0, named)) record[`name ${Object.keys(record).length}`] = fd;
  for (const fd of fds.slice(named)) {
    let number = 0;
    do number = 3 + named + next(HIGHEST);
    while (number in record);
    record[number] = fd;
  }
  return record;
}

const kinds = [
  ["sh", []],
  ["c", ["cc"]],
  ["python3", ["python3"]],
  ["bun", []],
] as const;

type Kind = (typeof kinds)[number][0];

async function look(kind: Kind, fds: SpawnFds): Promise<ReturnType<typeof inventory>> {
  const child = spawn(listers[kind](Object.keys(expected(fds)).map(Number)), { fds });
  const said = await child.stdout.text();
  if ((await child.exited) !== 0) throw new Error(`${kind} ended with ${child.exitCode}: ${said}`);
  return inventory(said);
}

/** What Bun opens for itself is of other kinds than what is passed here. */
const strays = (rest: readonly string[]): string[] =>
  rest.filter((line) => /marked|sock/.test(line));

/** peerTest where a child's numbers may have gaps. */
const gapTest: typeof peerTest = (name, needs, fn, timeoutMs) => {
  const lacking = noSpawnGaps();
  if (lacking === null) peerTest(name, needs, fn, timeoutMs);
  else testUnless(lacking, name, fn);
};

for (const [kind, needs] of kinds) {
  gapTest(
    `${kind}: exactly the listed ones at exactly the listed numbers`,
    needs,
    async () => {
      using sources = new Sources();
      const next = random(SPAWNS);
      const own = strays((await look(kind, [])).rest);
      const before = openFds();
      for (let i = 0; i < SPAWNS / kinds.length; i += AT_ONCE) {
        const round = Array.from({ length: AT_ONCE }, (_, at) => {
          const fds = choose(sources.all, (i + at) % 3, next);
          return { fds, found: look(kind, fds) };
        });
        for (const { fds, found } of round) {
          const { fds: has, rest } = await found;
          expect(has).toEqual(expected(fds));
          expect(strays(rest)).toEqual(own);
          if (Array.isArray(fds)) continue;
          const names = Object.keys(fds).filter((key) => key.startsWith("name"));
          if (names.length === 0 || kind === "sh") continue;
          expect(rest).toContain(`mine ${names.length} ${names.join(":")}`);
        }
        await eventually(() => openFds() <= before, "no more open here than before");
      }
    },
    TIMEOUT_MS,
  );
}

describe("the channel of children in other languages", () => {
  /** Echoes one message with its descriptor, says who its peer is, and ends at the end. */
  const python = `
import os, socket, struct
channel = socket.socket(fileno=int(os.environ["BUNIX_CHANNEL"].split(":")[0]))
assert channel.type == socket.SOCK_SEQPACKET and channel.family == socket.AF_UNIX
pid, uid, gid = struct.unpack("3i", channel.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
data, fds, flags, _ = socket.recv_fds(channel, 100, 4)
socket.send_fds(channel, [b"%s from %d of %d" % (data, os.getpid(), pid)], fds)
assert channel.recv(10) == b"", "the end was due"
`;
  const c = `
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
int main(void) {
  const char *variable = getenv("BUNIX_CHANNEL");
  if (!variable) return 2;
  int fd = atoi(variable);
  char data[100], answer[200], control[256];
  struct iovec part = {data, sizeof data};
  struct msghdr message = {0};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t bytes = recvmsg(fd, &message, 0);
  if (bytes < 0) return 3;
  struct ucred peer;
  socklen_t size = sizeof peer;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0) return 4;
  int passed = -1;
  for (struct cmsghdr *at = CMSG_FIRSTHDR(&message); at; at = CMSG_NXTHDR(&message, at)) {
    if (at->cmsg_type == SCM_RIGHTS) memcpy(&passed, CMSG_DATA(at), sizeof passed);
  }
  int length = snprintf(answer, sizeof answer, "%.*s from %d of %d", (int)bytes, data, getpid(),
                        (int)peer.pid);
  char room[CMSG_SPACE(sizeof passed)];
  struct iovec said = {answer, length};
  struct msghdr back = {0};
  back.msg_iov = &said;
  back.msg_iovlen = 1;
  back.msg_control = room;
  back.msg_controllen = sizeof room;
  struct cmsghdr *with = CMSG_FIRSTHDR(&back);
  with->cmsg_level = SOL_SOCKET;
  with->cmsg_type = SCM_RIGHTS;
  with->cmsg_len = CMSG_LEN(sizeof passed);
  memcpy(CMSG_DATA(with), &passed, sizeof passed);
  if (sendmsg(fd, &back, 0) < 0) return 5;
  return recv(fd, data, sizeof data, 0) == 0 ? 0 : 6;
}
`;

  const talkers: readonly [string, readonly string[], () => string[]][] = [
    ["python3", ["python3"], () => ["python3", "-c", python]],
    ["C", ["cc"], () => [compileCSource("spawn-channel", c)]],
  ];
  for (const [name, needs, command] of talkers) {
    gapTest(`${name}: blocking, with descriptors, to the end`, needs, () =>
      leakFree(async () => {
        using fd: Fd = marked("through");
        const child = spawn(command(), { channel: true, fds: { a: fd }, stderr: "inherit" });
        const { channel, pid } = child;
        await channel.send("hello", { fds: [fd] });
        using answer = must(await channel.receive());
        expect(answer.text()).toBe(`hello from ${pid} of ${process.pid}`);
        expect(expected(answer.fds)).toEqual(expected([fd]));
        channel.close();
        expect(await child.exited).toBe(0);
      }),
    );
  }
});

/** libsystemd itself, which refuses a LISTEN_PID that is not the process's own. */
const SD_LISTEN = `
import ctypes
sd = ctypes.CDLL("libsystemd.so.0")
names = ctypes.POINTER(ctypes.c_char_p)()
count = sd.sd_listen_fds_with_names(0, ctypes.byref(names))
print(count, [names[i].decode() for i in range(max(count, 0))])
print([bool(sd.sd_is_socket_unix(3 + i, 0, -1, None, 0)) for i in range(max(count, 0))])
`;

setDefaultTimeout(30_000 * slower);

gapTest("libsystemd takes the names", ["python3", "systemd-socket-activate"], () =>
  leakFree(async () => {
    const [near, far] = socketPair("stream");
    using file = marked("x");
    const fds = { "a socket": near, file, 9: far };
    const child = spawn(["python3", "-c", SD_LISTEN], { fds, stderr: "inherit" });
    expect(await child.stdout.text()).toBe("2 ['a socket', 'file']\n[True, False]\n");
    closeAll([near, far]);
  }),
);

testUnless(noSpawnGaps(), "200 channels that come and go leave nothing", () =>
  leakFree(async () => {
    await startLoop();
    for (let i = 0; i < 20; i++) {
      const children = Array.from({ length: 10 }, () =>
        spawn(["true"], { channel: true, fds: [0] }),
      );
      await Promise.all(
        children.map(async (child) => {
          expect([await child.channel.receive(), await child.exited]).toEqual([null, 0]);
          child.channel.close();
        }),
      );
    }
  }),
);
