// How a descriptor gets a word in Bun's event loop, and what that loop does with signals.

import { expect } from "bun:test";
import { readFileSync } from "node:fs";
import { nr } from "../../native/numbers.ts";
import { aio, epoll, iocb } from "../../native/poll.ts";
import { errnoName } from "../../src/base/errors.ts";
import { epollCreate, epollCtl } from "../../src/syscalls/epoll.ts";
import { libc } from "../../src/syscalls/libc.ts";
import { Memory } from "../../src/syscalls/memory.ts";
import { result } from "../../src/syscalls/result.ts";
import { done, Raw, send } from "../cases/raw.ts";
import { runSource, succeeded } from "../support/child.ts";
import { fact } from "../support/facts.ts";
import { SOCK_STREAM } from "../syscalls/sockets.ts";

/** An AIO context of our own, which is destroyed with its scope. */
class Context implements Disposable {
  readonly id: number;
  readonly #request = new Memory(iocb.size);
  readonly #list = new Memory(8);

  constructor() {
    const made = new Memory(8);
    done(result(libc.syscall(nr.SYS_io_setup ?? -1, 1, made.address, 0, 0, 0, 0)));
    this.id = Number(made.view.getBigUint64(0, true));
  }

  /** Ask once for `events` of `fd`. */
  poll(fd: number, events: number): void {
    const { view, address } = this.#request;
    view.setUint16(iocb.at.aio_lio_opcode, aio.IOCB_CMD_POLL ?? 0, true);
    view.setUint32(iocb.at.aio_fildes, fd, true);
    view.setUint32(iocb.at.aio_buf, events, true);
    this.#list.view.setBigUint64(0, BigInt(address), true);
    const list = this.#list.address;
    done(result(libc.syscall(nr.SYS_io_submit ?? -1, this.id, 1, list, 0, 0, 0)));
  }

  [Symbol.dispose](): void {
    libc.syscall(nr.SYS_io_destroy ?? -1, this.id, 0, 0, 0, 0, 0);
  }
}

/** Why there is no AIO poll here; null where there is. */
function noAio(): string | null {
  const made = new Memory(8);
  const answer = result(libc.syscall(nr.SYS_io_setup ?? -1, 1, made.address, 0, 0, 0, 0));
  if (answer < 0) return `io_setup: ${errnoName(-answer)}`;
  const id = Number(made.view.getBigUint64(0, true));
  libc.syscall(nr.SYS_io_destroy ?? -1, id, 0, 0, 0, 0, 0);
  return null;
}

const lacking = noAio();
const IN = epoll.EPOLLIN ?? 1;

fact(
  "aio-poll-wakes-bun",
  "a socket in an epoll, an AIO poll on that, an eventfd, a stream of Bun's",
  async () => {
    const program = `
      import { eventfd as flags, epoll } from "@/native/poll.ts";
      import { AioPoll, epollCreate, epollCtl, eventfd } from "@/src/syscalls/epoll.ts";
      import { libc } from "@/src/syscalls/libc.ts";
      import { Memory } from "@/src/syscalls/memory.ts";
      import { send } from "@/src/syscalls/message.ts";
      const pair = new Memory(8);
      libc.socketpair(1, 1, 0, pair.address);
      const [near, far] = pair.words;
      const set = epollCreate();
      epollCtl(set, epoll.EPOLL_CTL_ADD, { fd: far, events: epoll.EPOLLIN });
      const counter = eventfd(flags.EFD_NONBLOCK);
      const request = AioPoll.create({ watched: set, counter });
      request.submit();
      const reader = Bun.file(counter).stream().getReader();
      const woken = reader.read();
      send(near, new Uint8Array(1), 1);
      console.log("woken with", (await woken).value.length);
      process.exit(0);`;
    expect(succeeded(await runSource(program))).toBe("woken with 8\n");
  },
  lacking,
);

fact(
  "aio-poll-holds-its-file",
  "closed while it is watched: a socket lives on, one behind an epoll does not",
  () => {
    using raw = new Raw();
    using context = new Context();
    const [near, far] = raw.pair(SOCK_STREAM);
    context.poll(near, IN);
    raw.close(near);
    expect(raw.text(far)).toBe("EAGAIN");
    expect(send(far)).toBe(1); // and so the request completes
    expect(raw.receive(far).result).toBe("ECONNRESET");

    using other = new Context();
    const [behind, end] = raw.pair(SOCK_STREAM);
    const set = raw.own(epollCreate());
    done(epollCtl(set, epoll.EPOLL_CTL_ADD ?? 1, { fd: behind, events: IN }));
    other.poll(set, IN);
    raw.close(behind);
    expect(raw.text(end)).toBe("");
  },
  lacking,
);

fact(
  "io-destroy-unmaps-the-ring",
  "the ring of a context in /proc/self/maps",
  () => {
    const mapped = (id: number): boolean =>
      readFileSync("/proc/self/maps", "latin1").includes(`\n${id.toString(16).padStart(8, "0")}-`);
    let id: number;
    {
      using context = new Context();
      id = context.id;
      expect(mapped(id)).toBe(true);
    }
    expect(mapped(id)).toBe(false);
  },
  lacking,
);

const counting = `
  import { eventfd as flags } from "@/native/poll.ts";
  import { eventfd, signalEventfd } from "@/src/syscalls/epoll.ts";
  import { descriptorFlags } from "@/src/syscalls/fd.ts";
  const counter = eventfd(flags.EFD_NONBLOCK);`;
const reader = `${counting}
  const reader = Bun.file(counter).stream().getReader();`;
/** It comes only if something else keeps the process alive for so long. */
const timer = `setTimeout(() => { console.log("alive"); process.exit(0); }, 50).unref();`;

fact("pending-read-keeps-alive", "an unreferenced timer comes while Bun reads ahead", async () => {
  expect(succeeded(await runSource(`${counting}\n${timer}`))).toBe("");
  expect(succeeded(await runSource(`${reader}\n${timer}`))).toBe("alive\n");
  const read = `${reader}
    reader.read().then(({ value }) => {
      console.log("read", value.length);
      process.exit(0);
    });
    setTimeout(() => signalEventfd(counter, 1), 50).unref();`;
  expect(succeeded(await runSource(read))).toBe("read 8\n");
});

fact(
  "cancel-leaves-the-eventfd",
  "cancelled, the process ends; the eventfd stays open",
  async () => {
    const program = `${reader}
    reader.read().then(() => {});
    await new Promise(setImmediate);
    await reader.cancel();
    for (let i = 0; i < 20; i++) await new Promise(setImmediate);
    console.log(descriptorFlags(counter) >= 0 ? "open" : "closed");`;
    expect(succeeded(await runSource(program))).toBe("open\n");
  },
);

fact(
  "idle-with-no-signal-blocked",
  "what is blocked and pending arrives while Bun waits",
  async () => {
    const program = `
    import { dlopen } from "bun:ffi";
    import { libcName, libc } from "@/src/syscalls/libc.ts";
    import { Memory } from "@/src/syscalls/memory.ts";
        const { symbols } = dlopen(libcName, {
      pthread_sigmask: { args: ["i32", "ptr", "ptr"], returns: "i32" },
    });
    const SIGUSR1 = 10;
    const set = new Memory(128);
    set.words[0] = 1 << (SIGUSR1 - 1);
    symbols.pthread_sigmask(0, set.address, null);
    const tgkill = process.arch === "arm64" ? 131 : 234;
    libc.syscall(tgkill, process.pid, process.pid, SIGUSR1, 0, 0, 0);
    console.log("blocked");
    await Bun.sleep(200);
    console.log("survived");`;
    const { stdout, signal } = await runSource(program);
    expect([stdout, signal]).toEqual(["blocked\n", "SIGUSR1"]);
  },
);
