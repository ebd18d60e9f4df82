// What runs as on a Mac (run.ts), and what of it is left out.

/** What macOS does not have, by its name in `capabilities()`. */
export const missingThere: Readonly<Record<string, string>> = {
  abstractNames: "macOS has no abstract names",
  fifos: "openFifo needs O_PATH, which is Linux's",
  messageQueues: "macOS has no POSIX message queues",
  passCredentials: "macOS has no SCM_CREDENTIALS",
  peerGroups: "SO_PEERGROUPS is Linux's",
  peerPidfd: "SO_PEERPIDFD is Linux's",
  seqpacket: "macOS has no seqpacket sockets",
  sharedMemory: "memfd_create is Linux's",
};

export interface LeftOut {
  readonly in: string;
  readonly test: RegExp;
  readonly why: string;
}

const BACKLOG = "a full backlog is ECONNREFUSED there, which cannot be waited for";
const FOLLOWS = "what a test that is left out did not close";
const LINUX_KINDS = "it looks for a memfd, an eventfd or another kind of Linux's";
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
  ...folder("api", "listener", "connect", "duplex", "web-streams"),
  { file: "test/loop/exit.test.ts", only: "a process (ends|lives)|ending in the middle" },
];
