// Numbers that this machine's headers may not have, checked against what its kernel does with them.

import { read as peek } from "bun:ffi";
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { release } from "node:os";
import { errno } from "../../native/errno.ts";
import { MQUEUE_MAGIC } from "../../native/file.ts";
import { nr } from "../../native/numbers.ts";
import { aioRing } from "../../native/poll.ts";
import { option, SCM_MAX_FD, scm, socket as socketNumbers } from "../../native/socket.ts";
import { encodeControl } from "../../src/structs/cmsg.ts";
import { close } from "../../src/syscalls/fd.ts";
import { MessageHeader } from "../../src/syscalls/header.ts";
import { libc } from "../../src/syscalls/libc.ts";
import { asPointer, Memory } from "../../src/syscalls/memory.ts";
import { recvmsg, sendmsg } from "../../src/syscalls/message.ts";
import { getOption, setOption, socketpair } from "../../src/syscalls/socket.ts";
import { compileCSource, peerTest } from "../support/peers.ts";
import { testUnless } from "../support/unless.ts";

function kernelHas(since: string): boolean {
  const [major = 0, minor = 0] = release().split(".").map(Number);
  const [wantMajor = 0, wantMinor = 0] = since.split(".").map(Number);
  return major > wantMajor || (major === wantMajor && minor >= wantMinor);
}

/** Runs where the kernel is new enough; elsewhere the kernel must not know the option. */
function optionTest(name: string, since: string, which: number | null, fn: () => void): void {
  if (which === null) return;
  let known = false;
  withPair((fd) => {
    const value = getOption(fd, which);
    const asked = which === option.SO_PEERPIDFD ? value : setOption(fd, which, 1);
    known = value !== -errno.ENOPROTOOPT && asked !== -errno.ENOPROTOOPT;
    if (which === option.SO_PEERPIDFD && value >= 0) close(value);
  });
  const reason = `this machine says Linux ${release()}, and does not know the option`;
  const lacking = kernelHas(since) && !known ? reason : null;
  testUnless(lacking, `${name} (${which}), since Linux ${since}`, () => {
    if (kernelHas(since)) return fn();
    console.log(`note: ${name} is not in this kernel`);
    withPair((fd) => expect(getOption(fd, which)).toBe(-errno.ENOPROTOOPT));
  });
}

function withPair(fn: (a: number, b: number) => void): void {
  const made = socketpair(socketNumbers.SOCK_STREAM);
  if (typeof made === "number") throw new Error(`socketpair: ${made}`);
  const [a, b] = made;
  try {
    fn(a, b);
  } finally {
    close(a);
    close(b);
  }
}

const byte = new Memory(8);

function envelope(fds: readonly number[] = []): MessageHeader {
  const made = MessageHeader.single(1);
  made.part(0, byte.address, 1);
  made.controlBytes = encodeControl(made.control, { fds });
  return made;
}

/** The process of a pidfd, as the kernel tells it. */
const pidOf = (pidfd: number): number =>
  Number(/^Pid:\s+(-?\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${pidfd}`, "utf8"))?.[1]);

optionTest("SO_PASSPIDFD and SCM_PIDFD", "6.5", option.SO_PASSPIDFD, () =>
  withPair((a, b) => {
    expect(setOption(b, option.SO_PASSPIDFD!, 1)).toBe(0);
    expect(getOption(b, option.SO_PASSPIDFD!)).toBe(1);
    expect(sendmsg(a, envelope())).toBe(1);
    const got = envelope();
    expect(recvmsg(b, got, false)).toBe(1);
    expect(got.control.getInt32(8, true)).toBe(option.SOL_SOCKET);
    expect(got.control.getInt32(12, true)).toBe(scm.SCM_PIDFD!);
    const pidfd = got.control.getInt32(16, true);
    expect(pidOf(pidfd)).toBe(process.pid);
    close(pidfd);
  }),
);

optionTest("SO_PEERPIDFD", "6.5", option.SO_PEERPIDFD, () =>
  withPair((a) => {
    const pidfd = getOption(a, option.SO_PEERPIDFD!);
    expect(pidfd).toBeGreaterThan(2);
    expect(pidOf(pidfd)).toBe(process.pid);
    close(pidfd);
  }),
);

optionTest("SO_PASSRIGHTS", "6.16", option.SO_PASSRIGHTS, () =>
  withPair((a, b) => {
    expect(getOption(b, option.SO_PASSRIGHTS!)).toBe(1);
    expect(setOption(b, option.SO_PASSRIGHTS!, 0)).toBe(0);
    expect(sendmsg(a, envelope([0]))).toBe(-errno.EPERM);
    expect(sendmsg(a, envelope())).toBe(1);
  }),
);

optionTest("SO_PASSSEC", "2.6", option.SO_PASSSEC, () =>
  withPair((a) => {
    expect(getOption(a, option.SO_PASSSEC!)).toBe(0);
    expect(setOption(a, option.SO_PASSSEC!, 1)).toBe(0);
    expect(getOption(a, option.SO_PASSSEC!)).toBe(1);
  }),
);

test("SCM_MAX_FD: so many descriptors go in one message, and not one more", () => {
  withPair((a) => {
    expect(sendmsg(a, envelope(new Array(SCM_MAX_FD).fill(0)))).toBe(1);
    const tooMany = envelope(new Array(SCM_MAX_FD + 1).fill(0));
    expect(sendmsg(a, tooMany)).toBe(-errno.EINVAL);
  });
});

test("aioRing: the header of the ring that io_setup maps", () => {
  const context = new Memory(8);
  const made = libc.syscall(nr.SYS_io_setup ?? -1, 1, context.address, 0, 0, 0, 0);
  if (made < 0) return console.log("note: this kernel has no AIO");
  const address = Number(context.view.getBigUint64(0, true));
  const word = (at: number): number => peek.u32(asPointer(address), at);
  const fields = { magic: word(16), bytes: word(28), head: word(aioRing.head) };
  const tail = word(aioRing.tail);
  libc.syscall(nr.SYS_io_destroy ?? -1, address, 0, 0, 0, 0, 0);
  expect({ ...fields, tail }).toEqual({
    magic: 0xa10a10a1,
    bytes: aioRing.bytes,
    head: 0,
    tail: 0,
  });
});

peerTest("MQUEUE_MAGIC: what statfs says of a message queue", ["cc"], () => {
  const program = compileCSource(
    "mqueue-magic",
    `#include <mqueue.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/vfs.h>
int main(void) {
  struct statfs s;
  mqd_t q = mq_open("/bunix-magic", O_CREAT | O_RDWR, 0600, NULL);
  if (q < 0) { puts("none"); return 0; }
  mq_unlink("/bunix-magic");
  if (fstatfs(q, &s)) return 1;
  printf("%ld", (long)s.f_type);
  return 0;
}
`,
  );
  const said = Bun.spawnSync([program]).stdout.toString();
  if (said === "none") console.log("note: no message queues here");
  else expect(Number(said)).toBe(MQUEUE_MAGIC);
});
