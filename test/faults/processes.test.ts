// Signals, processes, descriptors by pid and what is spawned, under every fault.

import {
  Fd,
  ProcessHandle,
  receiveFds,
  type SeqpacketSocket,
  type StreamSocket,
  sendFd,
  sendSignal,
  socketPair,
  spawn,
  spawnSync,
  UnixError,
  UnsupportedError,
  watchSignals,
} from "../../src/index.ts";
import { marked, markOf } from "../api/tools.ts";
import { translatedSignals } from "../support/unless.ts";
import { same, setUp, underFaults } from "./driver.ts";

setUp();

/** Two kinds: one that the runtime knows, and a real-time one. */
for (const name of ["SIGUSR2", "SIGRTMIN+4"] as const) {
  underFaults(`signals: ${name}, watched, sent, received, all forms`, {
    run: async (_, keep) => {
      const watcher = keep(watchSignals([name]));
      sendSignal(process.pid, name);
      same((await watcher.receive()).signal, name);
      const stop = new AbortController();
      const coming = watcher.receive({ signal: stop.signal });
      coming.catch(() => {});
      try {
        sendSignal(process.pid, name);
      } catch (error) {
        stop.abort();
        throw error;
      }
      same((await coming).signal, name);
      sendSignal(process.pid, name);
      same(watcher.receiveSync({ timeoutMs: 5_000 }).signal, name);
      same(watcher.tryReceive(), undefined);
    },
    atEnd: () => {
      using watcher = watchSignals([name]);
      sendSignal(process.pid, name);
      same(watcher.receiveSync({ timeoutMs: 5_000 }).signal, name);
    },
  });
}

underFaults("a process: open, look, signal, duplicate, until it ends", {
  prepare: (keep) => {
    const child = Bun.spawn(["cat"], { stdin: "pipe", stdout: "ignore" });
    keep({ close: () => void child.kill("SIGKILL") });
    return child;
  },
  run: async ({ pid }, keep) => {
    const handle = keep(ProcessHandle.open(pid));
    same(handle.alive(), true);
    same(handle.info()?.pid ?? pid, pid); // null: not to be seen
    keep(ProcessHandle.of(handle));
    keep(handle.duplicateFd(0));
    const ended = handle.exited();
    ended.catch(() => {});
    handle.signal("SIGTERM");
    same((await ended)?.signal ?? "SIGTERM", "SIGTERM");
  },
  right: (error) => error instanceof UnixError && error.code === "ESRCH",
});

const answers = /^E(?:AGAIN|TIMEDOUT|CONNREFUSED|MFILE|NFILE|PROTO|PERM)$/;
const realtimeSignal = "SIGRTMIN+6" as const;

/** Who is not seen in /proc may be hidden: EACCES; without /proc there is nobody to be seen. */
const cannotSee = (error: unknown, call: string): boolean =>
  (call === "readFileSync" && error instanceof UnixError && /EACCES|ESRCH/.test(error.code)) ||
  (call === "readlinkSync" && error instanceof UnsupportedError);

underFaults("a descriptor by pid and signal", {
  lacking: await translatedSignals(),
  prepare: (keep) => keep(marked("by pid")),
  run: async (fd, keep, point) => {
    const receiver = keep(receiveFds({ realtimeSignal }));
    const stop = new AbortController();
    const timeoutMs = point === null ? 10_000 : 100;
    const sending = sendFd(process.pid, fd, { realtimeSignal, timeoutMs });
    const failed = sending.then(() => new Promise<never>(() => {}));
    failed.catch(() => {});
    const coming = receiver.receive({ signal: stop.signal });
    coming.then(({ fd }) => keep(fd)).catch(() => {});
    try {
      same(markOf((await Promise.race([coming, failed])).fd), "by pid");
      await sending;
    } finally {
      stop.abort();
      await sending.catch(() => {});
    }
  },
  // the other side has its word, or none comes
  right: (error, { call }) =>
    (error instanceof UnixError && answers.test(error.code)) || cannotSee(error, call),
});

underFaults("spawn, with descriptors", {
  prepare: (keep) => keep(marked("for the child")),
  run: async (fd, keep) => {
    const child = spawn(["cat", "/proc/self/fd/3"], { fds: [fd], stdout: "pipe" });
    keep({ close: () => void child.kill() });
    same(await new Response(child.stdout).text(), "for the child");
    await child.exited;
    const said = spawnSync(["cat", "/proc/self/fd/3"], { fds: { state: fd } });
    same(said.stdout.toString(), "for the child");
  },
  right: (error, { call }) => call === "existsSync" && error instanceof UnsupportedError, // no sh
});

underFaults("spawn, with a socket, which blocks", {
  prepare: (keep) => socketPair("stream").map(keep) as [StreamSocket, StreamSocket],
  run: async ([near, far], keep) => {
    const child = spawn(["sh", "-c", "read line <&3; echo $line >&3"], { fds: [far] });
    keep({ close: () => void child.kill() });
    await near.send("there and back\n");
    same(await near.reader().line(), "there and back");
    await child.exited;
  },
  // a reader tells of lost descriptors, which it could not have given out in their place
  right: (error, { fault }) =>
    fault === "flag" && error instanceof UnixError && error.code === "EMFILE",
});

underFaults("spawn, with a channel", {
  prepare: () => [] as { exited: Promise<number> }[],
  run: async (children, keep) => {
    const child = spawn(["sleep", "60"], { channel: true });
    children.push(child);
    keep({ close: () => void child.kill("SIGKILL") });
    const channel: SeqpacketSocket = keep(child.channel);
    await channel.send("hello");
    same(channel.tryReceive(), undefined);
  },
  atEnd: (children) => Promise.all(children.map(({ exited }) => exited)),
});

underFaults("an Fd", {
  prepare: (keep) => keep(marked("x")),
  run: (fd, keep) => {
    const copy = keep(Fd.duplicate(fd));
    same(copy.closeOnExec, true);
    copy.nonBlocking = true;
    same(copy.nonBlocking, true);
    const { kind, target } = copy.describe();
    same(kind, target === undefined ? "file" : "memfd"); // its link tells
    keep(Fd.adopt(copy.release()));
  },
  right: (error, { call }) =>
    (error instanceof UnixError && error.code === "EIO") || call === "fcntl F_GET_SEALS",
});
