// What runs as on a Mac (run.ts), and what of it is left out.

/** What macOS does not have, by its name in `capabilities()`. */
export const missingThere: Readonly<Record<string, string>> = {
  abstractNames: "macOS has no abstract names",
  lockHolders: "/proc/locks is Linux's",
  memorySeals: "macOS has no seals",
  messageQueues: "macOS has no POSIX message queues",
  passCredentials: "macOS has no SCM_CREDENTIALS",
  peerPidfd: "SO_PEERPIDFD is Linux's",
  seqpacket: "macOS has no seqpacket sockets",
  serveOn:
    "serveOn takes epoll, its entry in /proc, and dup3: a kqueue tells nobody what it watches",
};

export interface LeftOut {
  readonly in: string;
  readonly test: RegExp;
  readonly why: string;
}

const BACKLOG = "a full backlog is ECONNREFUSED there, which cannot be waited for";
const FOLLOWS = "what a test that is left out did not close";
const LINUX_KINDS = "it looks for a memfd, an eventfd or another kind of Linux's";
const MACOS_END = "the end is told once, and stays until another has written";
const BY_NAME = "a FIFO is opened by its name there, with one open";
const NO_UNION = "it names abstract addresses among others";

const out = (file: string, why: string, ...tests: readonly RegExp[]): LeftOut[] =>
  tests.map((test) => ({ in: `test/${file}.test.ts`, test, why }));

export const leftOut: readonly LeftOut[] = [
  ...out("api/batch", FOLLOWS, /^\(unnamed\)$/),
  ...out("api/cancel", BACKLOG, /connect to a full backlog/),
  ...out("api/connect", BACKLOG, /full backlog is waited for/, /through a backlog of one/),
  ...out("api/connect", FOLLOWS, /^\(unnamed\)$/),
  ...out("api/consume", LINUX_KINDS, /descriptors that the handler leaves/),
  ...out("api/descriptors", LINUX_KINDS, /all kinds of open files/),
  ...out("api/fifo", MACOS_END, /^reading > the end, where it was asked for/),
  ...out("api/fifo", MACOS_END, /writes and leaves between the read and the look/),
  ...out("api/fifo-writer", BY_NAME, /^no reader > it stays that FIFO/, /^an open that fails/),
  ...out("api/fifo-writer", "PIPE_BUF is 512 there", /^room > all or nothing/),
  ...out("api/fifo-writer", FOLLOWS, /^\(unnamed\)$/),
  ...out("api/listener-consume", BACKLOG, /^stream > every connection comes/),
  ...out(
    "api/listener-consume",
    "it fails accept4, which is Linux's",
    /^out of descriptors it waits/,
  ),
  ...out("api/listener-consume", FOLLOWS, /^\(unnamed\)$/),
  ...out("api/names-kept", BACKLOG, /a connect that waits reaches the server/),
  ...out("api/names-kept", NO_UNION, /from: a slash at the end/, /from: a prefix that is none/),
  ...out("api/readiness", LINUX_KINDS, /an eventfd/, /a process, by its pidfd/),
  ...out("api/release", FOLLOWS, /^\(unnamed\)$/),
  ...out("loop/exit", BACKLOG, /when a connect has timed out/),
];

export interface Suite {
  readonly file: string;
  /** Part of the names of those tests that are run; all, where it is left out. */
  readonly only?: string;
}

const folder = (name: string, ...files: readonly string[]): Suite[] =>
  files.map((file) => ({ file: `test/${name}/${file}.test.ts` }));

/** What `npm test` runs of them. */
export const short: readonly string[] = [
  ...["loop/fairness", "loop/outcomes", "api/data", "api/datagram.", "api/descriptors"],
  ...["api/ends", "api/listener.", "api/readiness", "darwin/xnu"],
];

export const suites: readonly Suite[] = [
  ...["xnu", "absence", "fifos", "memory", "processes"].map((name) => ({
    file: `test/darwin/${name}.ts`,
  })),
  ...folder("loop", "fairness", "forgotten", "generation", "order", "outcomes", "rounds"),
  ...folder("api", "accept-fds", "backpressure", "batch", "cancel", "consume", "consume-into"),
  ...folder("api", "data", "datagram", "descriptors", "duplex-net", "ends", "large-receive"),
  ...folder("api", "listener-consume", "names-kept", "own-buffer", "plain", "queued-descriptors"),
  ...folder("api", "readiness", "release", "socket-reader", "stream-descriptors"),
  ...folder("api", "listener", "connect", "duplex", "web-streams", "duplex-writes"),
  ...folder("api", "channel-batch", "channel-ends", "fifo", "fifo-adopt", "fifo-lines"),
  ...folder("api", "fifo-writer", "channel-exit", "gone-views"),
  ...folder("api", "http-bun", "http-frameworks", "http-limits"),
  ...folder("api", "addresses", "admission", "admission-options", "callbacks", "channel"),
  ...folder("api", "credentials", "datagram-restart", "errors", "exec", "fd", "http", "inspect"),
  ...folder("api", "inspect-paths", "limits", "lock", "lock-file", "lying-views", "second-day"),
  ...folder("api", "spawn", "spawn-blocking", "spawn-let-go", "spawn-messages", "spawn-names"),
  ...folder("api", "transfer", "users"),
  { file: "test/loop/exit.test.ts", only: "a process (ends|lives)|ending in the middle" },
];

/** Files of test/api that do not run here. */
export const notRun: Readonly<Record<string, readonly string[]>> = {
  "the kernel's lists of sockets are Linux's (sock_diag, /proc/net/unix)": [
    "admission-number",
    "bound-sockets",
    "list-sockets",
    "socket-graph",
    "socket-graph-real",
  ],
  "serveOn takes epoll, its entry in /proc, and dup3: a kqueue tells nobody what it watches": [
    "admission-early",
    "serve",
    "serve-drain",
    "serve-undone",
  ],
  "a handover's control socket is seqpacket, and its messages say who sent them: neither is there":
    ["handover", "handover-hostile", "handover-processes"],
  "a child's `channel: true` is a seqpacket socket (spawn-messages has it without)": [
    "spawn-channel",
  ],
  "macOS has no POSIX message queues": [
    "message-queue",
    "message-queue-names",
    "message-queue-notify",
    "queue-socket",
    "queue-socket-datagram",
    "queue-socket-faults",
    "queue-socket-hostile",
    "queue-socket-inherit",
    "queue-socket-limits",
    "queue-socket-names",
    "queue-socket-owner",
  ],
  "sendFd takes pidfds, /proc and queued signals": [
    "send-fd",
    "send-fd-failures",
    "send-fd-forged",
    "send-fd-leaving",
    "send-fd-room",
    "send-fd-yama",
  ],
  "it is systemd's, and the test's manager asks the kernel who sent each message": [
    "notify",
    "notify-waiting",
    "serve-notify",
    "watchdog",
  ],
  "senders, values, counts and real-time signals: through Bun there are none": [
    "process-signals",
    "signals",
    "signals-copies",
  ],
  "it is Linux's own: older kernels, seccomp, user namespaces, memory that nobody may execute": [
    "older-kernels",
    "seccomp",
    "user-namespace",
    "without-jit",
  ],
  "libc's tdestroy, by which a terminated Worker's descriptors are closed, is not on macOS": [
    "worker-teardown",
  ],
  "test/darwin has it with macOS's answers": [
    "activation",
    "capabilities",
    "fifo-sigpipe",
    "memory",
    "process",
  ],
};
