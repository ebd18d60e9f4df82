// What each property that hardens a unit takes away: the table in docs/systemd.md is made of this
// (test/docs/hardening.test.ts), and test/kernels/units/hardening.ts tries it under systemd.

/** A property, and what is then not as it is in a plain service. */
export interface Hardening {
  /** As lines of a unit. The first ones are what the row is about. */
  readonly properties: readonly string[];
  /** Entries of capabilities() that are lost. */
  readonly lost?: readonly string[];
  /** How waiting is done then, if not as elsewhere. */
  readonly waker?: "thread" | null;
  /** For the guide: what it costs, and what to add. */
  readonly says: string;
  /** Bun itself does not start. */
  readonly deadly?: true;
}

const NOTHING = "nothing";

/** What is to be had without executable memory, or calls. */
const everything = "everything";
export const EVERYTHING: readonly string[] = [everything];

const FILTER = "SystemCallFilter=@system-service";

export const hardenings: readonly Hardening[] = [
  { properties: ["DynamicUser=yes"], says: "nothing; files go to `RuntimeDirectory=`" },
  { properties: ["User=nobody"], says: NOTHING },
  {
    properties: ["PrivateUsers=yes", "DynamicUser=yes"],
    says: "callers that are neither root nor the service's own user have no uid (null)",
  },
  { properties: ["NoNewPrivileges=yes"], says: NOTHING },
  { properties: ["CapabilityBoundingSet="], says: NOTHING },
  {
    properties: ["ProtectSystem=strict", "PrivateTmp=yes"],
    says: "sockets and FIFOs need a `RuntimeDirectory=`, all else is read-only",
  },
  { properties: ["ProtectHome=yes"], says: NOTHING },
  {
    properties: ["PrivateTmp=yes"],
    says: "a socket in /tmp is in the service's own: put it into a `RuntimeDirectory=`",
  },
  { properties: ["PrivateDevices=yes"], says: NOTHING },
  {
    properties: ["PrivateIPC=yes"],
    says: "message queues are the service's own: leave it out if another service is to find them",
  },
  {
    properties: ["PrivateNetwork=yes"],
    says: "`@names` are the service's own; `listSockets` knows only its own sockets",
  },
  {
    properties: ["ProtectProc=invisible", "User=nobody"],
    says: "executable and command line of other users' processes are null",
  },
  {
    properties: ["ProcSubset=pid"],
    lost: ["lockHolders"],
    says: "who has a file locked is not known (`lockHolders`); locking works",
  },
  { properties: ["ProtectKernelTunables=yes"], says: NOTHING },
  { properties: ["ProtectKernelModules=yes"], says: NOTHING },
  { properties: ["ProtectKernelLogs=yes"], says: NOTHING },
  { properties: ["ProtectControlGroups=yes"], says: NOTHING },
  { properties: ["ProtectClock=yes"], says: NOTHING },
  { properties: ["ProtectHostname=yes"], says: NOTHING },
  { properties: ["RestrictNamespaces=yes"], says: NOTHING },
  { properties: ["RestrictRealtime=yes"], says: NOTHING },
  { properties: ["RestrictSUIDSGID=yes"], says: NOTHING },
  { properties: ["LockPersonality=yes"], says: NOTHING },
  {
    properties: ["UMask=0077"],
    says: "a socket is for its own user, unless `mode` says otherwise",
  },
  { properties: ["SystemCallArchitectures=native"], says: NOTHING },
  {
    properties: ["RestrictAddressFamilies=AF_UNIX AF_NETLINK AF_INET AF_INET6"],
    says: NOTHING,
  },
  {
    properties: ["RestrictAddressFamilies=AF_UNIX"],
    lost: ["sockDiag"],
    says: "`sockDiag`: a name that may be in use stays taken. Add `AF_NETLINK`",
  },
  {
    properties: ["SystemCallFilter=@system-service pidfd_getfd", "SystemCallErrorNumber=EPERM"],
    says: NOTHING,
  },
  {
    properties: [FILTER],
    lost: ["pidfdGetfd", "sendFd"],
    says: "`sendFd`, `receiveFds`, `duplicateFd`: who calls them is ended. Add `pidfd_getfd`",
  },
  {
    properties: [FILTER, "SystemCallErrorNumber=EPERM"],
    lost: ["pidfdGetfd", "sendFd"],
    says: "the same, and they say so",
  },
  {
    properties: ["SystemCallFilter=~@aio", "SystemCallErrorNumber=EPERM"],
    waker: "thread",
    says: "nothing: a thread waits instead",
  },
  {
    properties: ["MemoryDenyWriteExecute=yes"],
    lost: EVERYTHING,
    waker: null,
    says: "[everything](kernels.md#without-executable-memory), each call says so. Leave it out",
  },
  {
    properties: ["InaccessiblePaths=/proc"],
    deadly: true,
    says: "Bun itself does not start. Leave it out; `ProtectProc=invisible` is fine",
  },
];
