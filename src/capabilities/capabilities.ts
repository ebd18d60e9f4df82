// What this kernel, libc and Bun can do, found out by trying.

import { existsSync } from "node:fs";
import { errno } from "../../native/errno.ts";
import { file, memfd } from "../../native/file.ts";
import { seal } from "../../native/mapping.ts";
import { arch, system, verified } from "../../native/platform.ts";
import { socket as c, local, option } from "../../native/socket.ts";
import { whyNotInherited } from "../activation/inherited-fds.ts";
import { whyNoVsock } from "../activation/manager.ts";
import { errnoName } from "../base/errors.ts";
import { underFilter } from "../base/filter.ts";
import { whyNoRequestCallers } from "../http/caller.ts";
import { tellsDescriptors, whyNoServing } from "../http/probe.ts";
import { wakerChoice } from "../loop/poller.ts";
import { whyNoProc } from "../send-fd/receiver-process.ts";
import { whyNoSenders, whyNotHere } from "../signals/dispatcher.ts";
import { whyNoGaps } from "../spawn/descriptors.ts";
import { whyNoNames } from "../spawn/listen-names.ts";
import { type AskedCall, whyFailed, whyFatal, whyRefused } from "../syscalls/asked-calls.ts";
import { close, memfdCreate } from "../syscalls/fd.ts";
import { hasKqueue } from "../syscalls/kqueue.ts";
import { absentFunctions, isMusl, libcName, whyNoCalls } from "../syscalls/libc.ts";
import { shmCreate } from "../syscalls/mapping.ts";
import { mqOpen } from "../syscalls/message-queue.ts";
import { dumpUnixSockets } from "../syscalls/netlink.ts";
import { pidfdGetfd, pidfdOpen, pidfdSendSignal } from "../syscalls/process.ts";
import { setOption, socket } from "../syscalls/socket.ts";
import { whyNoTeardown } from "../syscalls/thread-teardown.ts";
import { requirements } from "./table.ts";

/** Whether something works here, and if not, why. */
export type Capability =
  | { readonly available: true; readonly reason?: string }
  | { readonly available: false; readonly reason: string };

/** What {@link capabilities} answers. */
export interface Capabilities {
  /** The operating system. */
  readonly system: "linux" | "darwin";
  /** The machine's architecture. */
  readonly arch: "x64" | "arm64";
  /**
   * The C library that is called; "none": nothing can be called, for the reason that
   * `libcFunctions` and all others give.
   */
  readonly libc: "glibc" | "musl" | "macOS" | "none";
  /** Bun's version, as `Bun.version`. */
  readonly bun: string;
  /** "verified": tests ran on such a system. "unverified": written from its headers only. */
  readonly tier: "verified" | "unverified";
  /** How waiting reaches Bun's event loop; `reason` if it is not the first choice. */
  readonly waker: { readonly kind: "aio" | "thread"; readonly reason?: string } | null;
  /** Whether anything can be awaited: without it only `try…` and `…Sync` work. */
  readonly waiting: Capability;
  /** Whether libc has each function that this library calls. */
  readonly libcFunctions: Capability;
  /** Sockets of type "seqpacket". */
  readonly seqpacket: Capability;
  /** Addresses without a file (`@name`). */
  readonly abstractNames: Capability;
  /** Paths longer than a sockaddr_un has room for (107 bytes on Linux). */
  readonly longPaths: Capability;
  /** `passCredentials`: the kernel says with each message who sent it. */
  readonly passCredentials: Capability;
  /** Whether such a message brings its sender's process as a descriptor, too (SO_PASSPIDFD). */
  readonly passPidfd: Capability;
  /** `peerCredentials`: who connected, by the kernel's word. */
  readonly peerCredentials: Capability;
  /** `peerGroups`: the peer's supplementary groups. */
  readonly peerGroups: Capability;
  /** `peerPidfd`: the peer's process as a descriptor. */
  readonly peerPidfd: Capability;
  /** Whether the kernel refuses descriptors for us (`acceptFds: "refuse"`); else we close them. */
  readonly refuseFds: Capability;
  /** `serveOn`: whether a server can be put on a socket that is there already. */
  readonly serveOn: Capability;
  /** `serveHttp`: whether node:http of this Bun serves connections that are handed to it. */
  readonly serveHttp: Capability;
  /** `callerOf(request, server)`: whether Bun.serve tells which connection a request came over. */
  readonly requestCallers: Capability;
  /** Whether descriptors are close-on-exec from birth; else a child that starts then has them. */
  readonly closeOnExecAtomic: Capability;
  /** Whether the kernel tells which sockets there are (`listSockets`, exclusive addresses). */
  readonly sockDiag: Capability;
  /** `openFifo`. */
  readonly fifos: Capability;
  /** `lockHolders`: whether the kernel tells who has which file locked (/proc/locks). */
  readonly lockHolders: Capability;
  /** `SharedMemory`. */
  readonly sharedMemory: Capability;
  /** Whether it can be sealed, and mapped so that what is written stays here. */
  readonly memorySeals: Capability;
  /** Processes as descriptors (`ProcessHandle`). */
  readonly pidfd: Capability;
  /** `ProcessHandle.duplicateFd`; of which processes is another question. */
  readonly pidfdGetfd: Capability;
  /** Whether signals go to a process by its descriptor (`ProcessHandle.signal`), not by pid. */
  readonly pidfdSignals: Capability;
  /** `sendFd` and `receiveFds`: whether /proc tells of other processes, and pidfdGetfd is there. */
  readonly sendFd: Capability;
  /** POSIX message queues (`MessageQueue`). */
  readonly messageQueues: Capability;
  /** `watchSignals`: in this thread. */
  readonly signals: Capability;
  /** Whether signals come with their sender and value, real-time ones included. */
  readonly signalSenders: Capability;
  /** Whether a child's numbers may leave gaps (`spawn`). */
  readonly spawnGaps: Capability;
  /** Whether a child can be told the names of its descriptors (`spawn`). */
  readonly listenNames: Capability;
  /** `inheritedFds`: in this thread. */
  readonly inheritedFds: Capability;
  /** Whether `notify` reaches a service manager outside of this virtual machine. */
  readonly notifyVsock: Capability;
  /**
   * Whether descriptors of a Worker are closed when it is terminated, which runs no JavaScript.
   * BUNIX_NO_TEARDOWN=1 switches that off; they then stay open until the process ends.
   */
  readonly workerTeardown: Capability;
}

type Key = {
  [K in keyof Capabilities]: Capabilities[K] extends { readonly available: boolean } ? K : never;
}[keyof Capabilities];

/** The table has a row for each, and no other. */
const rows: Readonly<Record<Key, unknown>> & { [K in keyof typeof requirements]: unknown } =
  requirements;

const yes: Capability = { available: true };
const no = (reason: string): Capability => ({ available: false, reason });

const unless = (reason: string | null): Capability => (reason === null ? yes : no(reason));

function linuxOnly(): Capability {
  return system === "linux" ? yes : no("only Linux has it");
}

/** Does a new Unix socket take the option that this capability stands for? */
function optionWorks(which: number | null, key: keyof typeof requirements): Capability {
  if (which === null) return no("only Linux has it");
  const fd = socket(c.SOCK_STREAM);
  if (fd < 0) return no(`socket: ${errnoName(-fd)}`);
  const done = setOption(fd, which, 1);
  close(fd);
  if (done >= 0) return yes;
  return no(
    done === -errno.ENOPROTOOPT
      ? `since Linux ${requirements[key].since}`
      : `setsockopt: ${errnoName(-done)}`,
  );
}

function seqpacket(): Capability {
  const fd = socket(c.SOCK_SEQPACKET);
  if (fd < 0) return no(`socket: ${errnoName(-fd)}`);
  close(fd);
  return yes;
}

function sockDiag(): Capability {
  if (system !== "linux") return linuxOnly();
  const fatal = whyFatal("socket");
  if (fatal !== null) return no(fatal);
  const dump = dumpUnixSockets();
  if (typeof dump !== "number") return yes;
  return no(whyFailed("socket", dump) ?? `NETLINK_SOCK_DIAG: ${errnoName(-dump)}`);
}

function lockHolders(): Capability {
  if (system !== "linux") return linuxOnly();
  return unless(existsSync("/proc/locks") ? null : "there is no /proc/locks");
}

/** A server of Bun's says it, so one is started for a moment. */
function requestCallers(): Capability {
  const fatal = underFilter() && system === "linux" ? whyFatal("socket") : null;
  if (fatal !== null) return no(fatal);
  return tellsDescriptors() ? yes : no(whyNoRequestCallers);
}

/** Under a filter the answer of another process; null: this one may ask. */
const asked = (name: AskedCall): Capability | null =>
  underFilter() && system === "linux" ? ask(name) : null;

const ask = (name: AskedCall): Capability => unless(whyRefused(name));

/** No queue can have this name; a kernel without queues says so before it looks. */
function messageQueues(): Capability {
  if (system !== "linux") return no("only Linux has it");
  const missing = mqOpen("/", file.O_RDONLY);
  return missing === -errno.ENOENT ? yes : refused("mq_open", missing);
}

function sharedMemory(): Capability {
  const atOnce = memfd.MFD_CLOEXEC;
  const fd = atOnce === null ? shmCreate() : memfdCreate("bunix", atOnce);
  if (fd < 0)
    return atOnce === null ? no(`shm_open: ${errnoName(-fd)}`) : refused("memfd_create", fd);
  close(fd);
  return yes;
}

type Pidfds = Pick<Capabilities, "pidfd" | "pidfdGetfd" | "pidfdSignals">;

/** Tried on this process itself: a filter for system calls says no to any of them. */
function pidfds(): Pidfds {
  if (underFilter() && system === "linux") {
    const [pidfdGetfd, pidfdSignals] = [ask("pidfd_getfd"), ask("pidfd_send_signal")];
    return { pidfd: ask("pidfd_open"), pidfdGetfd, pidfdSignals };
  }
  if (hasKqueue) {
    const pidfd = { available: true, reason: "kqueue, which stands for a pidfd" } as const;
    return { pidfd, pidfdGetfd: linuxOnly(), pidfdSignals: linuxOnly() };
  }
  const pidfd = pidfdOpen(process.pid);
  if (pidfd < 0) {
    const none = refused("pidfd_open", pidfd);
    return { pidfd: none, pidfdGetfd: none, pidfdSignals: none };
  }
  const copy = pidfdGetfd(pidfd, pidfd);
  const sent = pidfdSendSignal(pidfd, 0);
  close(pidfd);
  if (copy >= 0) close(copy);
  return {
    pidfd: yes,
    pidfdGetfd: copy < 0 ? refused("pidfd_getfd", copy) : yes,
    pidfdSignals: sent < 0 ? refused("pidfd_send_signal", sent) : yes,
  };
}

const refused = (call: AskedCall, result: number): Capability =>
  no(whyFailed(call, result) ?? `${call}: ${errnoName(-result)}`);

function waiting(): Pick<Capabilities, "waker" | "waiting"> {
  try {
    const { waker, reason } = wakerChoice();
    const found = reason === undefined ? { kind: waker.kind } : { kind: waker.kind, reason };
    return { waker: found, waiting: yes };
  } catch (error) {
    return { waker: null, waiting: no(error instanceof Error ? error.message : String(error)) };
  }
}

function libc(): Capabilities["libc"] {
  if (system === "darwin") return "macOS";
  return isMusl() ? "musl" : "glibc";
}

function libcFunctions(): Capability {
  if (libcName === "") return no("no libc could be opened");
  const absent = absentFunctions().filter((name) => name !== "__errno_location");
  return absent.length === 0 ? yes : no(`${libcName} has no ${absent.join(", ")}`);
}

function peerCredentials(): Capability {
  const known = option.SO_PEERCRED !== null || local.LOCAL_PEERCRED !== null;
  return known ? yes : no("no option for it on this system");
}

/** Both ends: one looks at the other in /proc, and takes the descriptor from it. */
function sendFd({ pidfdGetfd, pidfdSignals }: Pidfds): Capability {
  const proc = whyNoProc();
  if (proc !== null) return no(proc);
  return pidfdGetfd.available ? pidfdSignals : pidfdGetfd;
}

const about = {
  system,
  arch,
  bun: Bun.version,
  tier: verified ? "verified" : "unverified",
} as const;

/** Without a libc there is nothing. */
function nothing(reason: string): Capabilities {
  const all = Object.fromEntries(Object.keys(rows).map((key) => [key, no(reason)]));
  return { ...about, libc: "none", waker: null, ...(all as Record<Key, Capability>) };
}

/**
 * What works here; each entry that does not says why. Starts the event loop's waker. Under a
 * seccomp filter, which may kill the process that makes a call, short-lived processes ask in our
 * place. If Bun can call no C at all (`MemoryDenyWriteExecute=yes`) every entry says so.
 */
export function capabilities(): Capabilities {
  const why = whyNoCalls();
  if (why !== null) return nothing(why);
  const processes = pidfds();
  const passPidfd = optionWorks(option.SO_PASSPIDFD, "passPidfd");
  return {
    ...about,
    libc: libc(),
    ...waiting(),
    libcFunctions: libcFunctions(),
    seqpacket: seqpacket(),
    abstractNames: linuxOnly(),
    longPaths: linuxOnly(),
    passCredentials: optionWorks(option.SO_PASSCRED, "passCredentials"),
    passPidfd,
    peerCredentials: peerCredentials(),
    peerGroups: peerCredentials(),
    peerPidfd: passPidfd, // came with the same release
    serveOn: linuxOnly(),
    serveHttp: unless(whyNoServing()),
    requestCallers: requestCallers(),
    refuseFds: optionWorks(option.SO_PASSRIGHTS, "refuseFds"),
    closeOnExecAtomic: linuxOnly(),
    sockDiag: sockDiag(),
    fifos: yes,
    lockHolders: lockHolders(),
    sharedMemory: asked("memfd_create") ?? sharedMemory(),
    memorySeals: seal.F_ADD_SEALS === null ? linuxOnly() : yes,
    ...processes,
    sendFd: sendFd(processes),
    messageQueues: asked("mq_open") ?? messageQueues(),
    signals: unless(whyNotHere()),
    signalSenders: unless(whyNoSenders()),
    spawnGaps: unless(whyNoGaps()),
    listenNames: unless(whyNoNames()),
    inheritedFds: unless(whyNotInherited()),
    notifyVsock: no(whyNoVsock),
    workerTeardown: unless(whyNoTeardown()),
  };
}
