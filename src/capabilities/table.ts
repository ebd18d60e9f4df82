// What each entry of `capabilities()` takes of a kernel, and what happens before that. The reasons
// that `capabilities()` gives are made of it, and so is docs/kernels.md.

import type { KernelVersion } from "../base/kernel.ts";
import { sinceOf } from "../syscalls/asked-calls.ts";

/** A feature, and the first kernel that has it. */
export interface Requirement {
  /** Linux's first version with it; null if it is not the kernel's to give. */
  readonly since: KernelVersion | null;
  /** An older version whose later stable releases have it, too: of those nothing is certain. */
  readonly backported?: KernelVersion;
  /** What it is, for people. */
  readonly what: string;
  /** What happens without it. */
  readonly otherwise: string;
}

const unsupported = "an UnsupportedError";

/** By the keys of `Capabilities`. */
export const requirements = {
  waiting: {
    since: "2.6.22",
    what: "anything that is awaited (`eventfd`)",
    otherwise: "only `try…` and `…Sync` work",
  },
  libcFunctions: {
    since: null,
    what: "each function of libc that is called",
    otherwise: `${unsupported} from the call that lacks it`,
  },
  seqpacket: {
    since: "2.6.4",
    what: 'sockets of type "seqpacket"',
    otherwise: "a UnixError from `connect`, `listen` and `socketPair`",
  },
  abstractNames: {
    since: "2.2",
    what: "addresses without a file (`@name`)",
    otherwise: unsupported,
  },
  longPaths: {
    since: "2.6.39",
    what: "socket paths of more than 107 bytes (`O_PATH`)",
    otherwise: "a UnixError ENAMETOOLONG that says the limit",
  },
  passCredentials: {
    since: "2.2",
    what: "`passCredentials` (`SO_PASSCRED`)",
    otherwise: unsupported,
  },
  passPidfd: {
    since: "6.5",
    what: "`passPidfd` (`SO_PASSPIDFD`)",
    otherwise: unsupported,
  },
  peerCredentials: {
    since: "2.2",
    what: "`peerCredentials` (`SO_PEERCRED`)",
    otherwise: unsupported,
  },
  peerGroups: {
    since: "4.13",
    what: "`peerGroups` (`SO_PEERGROUPS`)",
    otherwise: `${unsupported}; \`peer().groups\` is null`,
  },
  peerPidfd: {
    since: "6.5",
    what: "`peerPidfd`, and `peer()` read under the pidfd (`SO_PEERPIDFD`)",
    otherwise:
      `${unsupported}; \`peer()\` reads by pid, which another process may have got by then, has ` +
      'no `pidfd`, and says so: `source` is "peercred"',
  },
  refuseFds: {
    since: "6.16",
    what: '`acceptFds: "refuse"` (`SO_PASSRIGHTS`): the sender gets EPERM',
    otherwise: "descriptors are closed on arrival, and the message comes",
  },
  serveOn: {
    since: "3.8",
    what: "`serveOn`: a server on a socket that is there already (epoll's fdinfo)",
    otherwise: unsupported,
  },
  serveHttp: {
    since: null,
    what: "`serveHttp`: node:http on connections that it did not accept itself (Bun 1.4)",
    otherwise: unsupported,
  },
  requestCallers: {
    since: null,
    what: "`callerOf(request, server)` of Bun.serve (`server.requestFD`: no Bun up to 1.4.5)",
    otherwise: unsupported,
  },
  closeOnExecAtomic: {
    since: "2.6.27",
    what: "descriptors that are close-on-exec from birth",
    otherwise: "a child that starts in that moment has them",
  },
  sockDiag: {
    since: sinceOf("socket"),
    what: "which sockets there are (`listSockets`, exclusive addresses; sock_diag)",
    otherwise:
      `${unsupported} from \`listSockets\`; whether an address is in use is found out by ` +
      "connecting, and a file that may be in use stays",
  },
  fifos: { since: "2.6.39", what: "`openFifo` (`O_PATH`)", otherwise: unsupported },
  lockHolders: {
    since: null,
    what: "`lockHolders`: who has which file locked (/proc/locks)",
    otherwise: `${unsupported} from that; locking works`,
  },
  sharedMemory: {
    since: sinceOf("memfd_create"),
    what: "`SharedMemory` (memfds)",
    otherwise: unsupported,
  },
  memorySeals: {
    since: sinceOf("memfd_create"),
    what: "sealed memory, and private mappings of it",
    otherwise: unsupported,
  },
  pidfd: {
    since: sinceOf("pidfd_open"),
    what: "`ProcessHandle` (`pidfd_open`)",
    otherwise: unsupported,
  },
  pidfdGetfd: {
    since: sinceOf("pidfd_getfd"),
    what: "`ProcessHandle.duplicateFd` (`pidfd_getfd`)",
    otherwise: unsupported,
  },
  pidfdSignals: {
    since: sinceOf("pidfd_send_signal"),
    what: "`ProcessHandle.signal` (`pidfd_send_signal`)",
    otherwise: unsupported,
  },
  sendFd: {
    since: sinceOf("pidfd_getfd"),
    what: "`sendFd` and `receiveFds` (`pidfd_getfd`, /proc)",
    otherwise: unsupported,
  },
  messageQueues: {
    since: sinceOf("mq_open"),
    what: "`MessageQueue`, and sockets over queues (CONFIG_POSIX_MQUEUE)",
    otherwise: unsupported,
  },
  signals: { since: null, what: "`watchSignals`", otherwise: unsupported },
  signalSenders: {
    since: null,
    what: "signals with their sender and value, real-time ones (a handler compiled by Bun)",
    otherwise: "`watchSignals` says neither; `receiveFds` is an UnsupportedError",
  },
  spawnGaps: {
    since: null,
    what: "children's descriptors with gaps in their numbers",
    otherwise: unsupported,
  },
  listenNames: {
    since: null,
    what: "names for a child's descriptors (/bin/sh)",
    otherwise: unsupported,
  },
  inheritedFds: { since: null, what: "`inheritedFds`", otherwise: unsupported },
  notifyVsock: {
    since: null,
    what: "`notify` to a manager outside of the virtual machine",
    otherwise: unsupported,
  },
  workerTeardown: {
    since: null,
    what: "what a terminated Worker had open is closed (libc's tdestroy)",
    otherwise: "it stays open until the process ends",
  },
} as const satisfies Readonly<Record<string, Requirement>>;

/** What has no entry there: it is used if it is there. */
export const besides: readonly Requirement[] = [
  {
    since: sinceOf("io_setup"),
    what: "waiting without a thread (IOCB_CMD_POLL); `waker` says which way it is",
    otherwise: "a thread waits",
  },
  {
    since: "5.11",
    what: "naps of less than a millisecond in `busyPollMicros` (`epoll_pwait2`)",
    otherwise: "no naps between looks",
  },
  {
    since: "6.1",
    what: "a bound socket refuses a second `bind` without leaving a file",
    otherwise: "the file stays; nothing here binds twice",
  },
  {
    since: "6.7",
    backported: "6.1",
    what: "programs can map memory that is sealed against writing with MAP_SHARED, to read it",
    otherwise: "EPERM for them; MAP_PRIVATE works, and is what is used here",
  },
  {
    since: "6.9",
    what: "each process has a number for ever (the inode of its pidfd): LISTEN_PIDFDID is checked",
    otherwise: "LISTEN_PID alone is believed",
  },
  {
    since: "6.9",
    what: "`ProcessHandle` tells a zombie from a process that was waited for",
    otherwise: "`exited` of another process's child takes half a second longer",
  },
  {
    since: "6.15",
    what: "`ProcessHandle.exited` knows how another process's child ended (PIDFD_GET_INFO)",
    otherwise: "it resolves to undefined",
  },
  {
    since: "6.16",
    what: "the pidfd of a peer that has ended and was waited for",
    otherwise: "`peerPidfd` is a UnixError ESRCH; `peer()` has no `pidfd`, and `alive` is false",
  },
  {
    since: "6.17",
    what: "the pidfd of a message's sender that has ended and was waited for",
    otherwise: "`message.pidfd` is undefined",
  },
];
