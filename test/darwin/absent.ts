// What is an UnsupportedError on macOS, by the public name that says so in its docstring: a member
// as "Type.member". absence.ts tries each on the shim; test/docs/macos.test.ts reads docstrings.

import * as bunix from "../../src/index.ts";

export interface Absent {
  /** Its key in `capabilities()`. */
  readonly capability: keyof bunix.Capabilities;
  readonly call: () => unknown;
}

const NAME = "/bunix-absent";
const OFFER = { realtimeSignal: "SIGRTMIN+1" } as const;
const { MessageQueue, ProcessHandle, SharedMemory } = bunix;

function withPair(use: (socket: bunix.StreamSocket) => unknown): unknown {
  const [near, far] = bunix.socketPair("stream");
  try {
    return use(near);
  } finally {
    near.close();
    far.close();
  }
}

function withMemory(use: (memory: bunix.SharedMemory) => unknown): unknown {
  using memory = SharedMemory.create(1);
  return use(memory);
}

function withSelf(use: (handle: bunix.ProcessHandle) => unknown): unknown {
  using handle = ProcessHandle.open(process.pid);
  return use(handle);
}

export const absent: Readonly<Record<string, Absent>> = {
  AddressInput: {
    capability: "abstractNames",
    call: () => bunix.parseAddress("@name"),
  },
  parseAddress: {
    capability: "abstractNames",
    call: () => bunix.parseAddress({ abstract: "name" }),
  },
  SocketType: { capability: "seqpacket", call: () => bunix.socketPair("seqpacket") },
  socketPair: { capability: "seqpacket", call: () => bunix.socketPair("seqpacket") },
  "ConnectOptions.type": {
    capability: "seqpacket",
    call: () => bunix.connectSync("/nowhere", { type: "seqpacket" }),
  },
  "ListenOptions.type": {
    capability: "seqpacket",
    call: () => bunix.listen("/nowhere", { type: "seqpacket" }),
  },
  "SocketOptions.passCredentials": {
    capability: "passCredentials",
    call: () => bunix.openDatagram(undefined, { passCredentials: true }),
  },
  "SocketOptions.passPidfd": {
    capability: "passPidfd",
    call: () => bunix.openDatagram(undefined, { passPidfd: true }),
  },
  peerPidfd: { capability: "peerPidfd", call: () => withPair(bunix.peerPidfd) },
  "ProcessHandle.of": { capability: "peerPidfd", call: () => ProcessHandle.of(0) },
  "ProcessHandle.duplicateFd": {
    capability: "pidfdGetfd",
    call: () => withSelf((handle) => handle.duplicateFd(0)),
  },
  "ProcessHandle.signal": {
    capability: "signalSenders",
    call: () => withSelf((handle) => handle.signal("SIGURG", { value: 1 })),
  },
  sendSignal: {
    capability: "pidfdSignals",
    call: () => withSelf((handle) => bunix.sendSignal(handle, 0)),
  },
  listSockets: { capability: "sockDiag", call: () => bunix.listSockets() },
  socketGraph: { capability: "sockDiag", call: () => bunix.socketGraph() },
  lockHolders: { capability: "lockHolders", call: () => bunix.lockHolders(import.meta.path) },
  "SharedMemoryOptions.seal": {
    capability: "memorySeals",
    call: () => SharedMemory.create(1, { seal: true }),
  },
  "SharedMemory.seal": {
    capability: "memorySeals",
    call: () => withMemory((memory) => memory.seal("shrink")),
  },
  "MapMemoryOptions.writable": {
    capability: "memorySeals",
    call: () =>
      withMemory((memory) => SharedMemory.map(memory, { writable: false, trustSender: true })),
  },
  MessageQueue: { capability: "messageQueues", call: () => MessageQueue.open(NAME) },
  listenQueue: { capability: "messageQueues", call: () => bunix.listenQueue(NAME) },
  connectQueue: { capability: "messageQueues", call: () => bunix.connectQueue(NAME) },
  connectQueueSync: { capability: "messageQueues", call: () => bunix.connectQueueSync(NAME) },
  openQueueDatagram: { capability: "messageQueues", call: () => bunix.openQueueDatagram(NAME) },
  sendFd: { capability: "sendFd", call: () => bunix.sendFd(process.pid, 0, OFFER) },
  receiveFds: {
    capability: "sendFd",
    call: () => bunix.receiveFds({ ...OFFER, allow: () => true }),
  },
  "SpawnExtras.channel": {
    capability: "seqpacket",
    call: () => bunix.spawn(["true"], { channel: true }),
  },
  "Handover.open": { capability: "seqpacket", call: () => bunix.Handover.open("/nowhere/at-all") },
  serveOn: {
    capability: "serveOn",
    call: () => bunix.serveOn(0, (at) => Bun.serve({ ...at, fetch: () => new Response() })),
  },
};

/** Entries that macOS does not have, and that make no call fail: their docstrings say what then. */
export const without: Readonly<Record<string, string>> = {
  closeOnExecAtomic: "close-on-exec is set afterwards",
  longPaths: "ENAMETOOLONG says how long a path may be",
  notifyVsock: "nor on Linux",
  refuseFds: "descriptors are closed when they come",
  requestCallers: "nor with this Bun on Linux",
  workerTeardown: "what a terminated Worker had open stays so",
};
