// Options that all sockets share: checked in one place, set in one place.

import { errno } from "../../native/errno.ts";
import { option, SCM_MAX_FD } from "../../native/socket.ts";
import { integer } from "../base/checks.ts";
import { check, UnsupportedError } from "../base/errors.ts";
import { MAX_QUEUED_BYTES } from "../base/limits.ts";
import { setOption } from "../syscalls/socket.ts";
import { reportBuffer } from "./kernel-limits.ts";
import { receiveBytes } from "./receive.ts";

/** What every kind of socket can be told when it is made. */
export interface SocketOptions {
  /**
   * Ask the kernel who sent each message: `message.credentials`. Not on macOS.
   * @see unix(7), SO_PASSCRED
   */
  readonly passCredentials?: boolean | undefined;
  /**
   * Ask for the sender's process: `message.pidfd`. Linux 6.5; not on macOS.
   * @see unix(7), SO_PASSPIDFD
   */
  readonly passPidfd?: boolean | undefined;
  /**
   * How many descriptors a message may bring: true or nothing for 253, the most there can be; 0 or
   * false to take none. Those beyond are closed on arrival, and the message comes all the same.
   * "refuse": take none, and have the kernel refuse the whole message (Linux 6.16: its sender gets
   * EPERM; before that it is as 0).
   */
  readonly acceptFds?: boolean | number | "refuse" | undefined;
  /**
   * SO_SNDBUF in bytes, of which the kernel gives at most net.core.wmem_max: if that is less the
   * process is warned once (`KernelLimitWarning`), and the socket's `sendBufferBytes` says how much
   * it is.
   */
  readonly sendBufferBytes?: number | undefined;
  /**
   * SO_RCVBUF in bytes, at most net.core.rmem_max, as above. Unix sockets hold what is in flight in
   * the sender's buffer instead.
   */
  readonly receiveBufferBytes?: number | undefined;
  /**
   * Datagram and seqpacket: the longest message that is received whole, in bytes; longer ones are
   * cut off and marked `truncated`. Default 262,144. Streams: the most that one receive returns.
   */
  readonly maxMessageBytes?: number | undefined;
  /** Bytes that may wait in this process before `send` fails with ENOBUFS. Default 64 MiB. */
  readonly maxQueuedBytes?: number | undefined;
}

/** The options with every default filled in. */
export interface Settings {
  readonly passCredentials: boolean;
  readonly passPidfd: boolean;
  readonly acceptFds: number;
  readonly refuseFds: boolean;
  readonly sendBufferBytes: number | undefined;
  readonly receiveBufferBytes: number | undefined;
  readonly maxMessageBytes: number;
  readonly maxQueuedBytes: number;
}

const optional = (name: string, value: number | undefined): number | undefined =>
  value === undefined ? undefined : integer(name, value, { min: 1 });

/** @throws TypeError, RangeError */
export function toSettings(options: SocketOptions = {}): Settings {
  const {
    acceptFds = true,
    maxMessageBytes = receiveBytes,
    maxQueuedBytes = MAX_QUEUED_BYTES,
  } = options;
  const refuseFds = acceptFds === "refuse";
  const fds = acceptFds === true ? SCM_MAX_FD : acceptFds === false || refuseFds ? 0 : acceptFds;
  return {
    passCredentials: options.passCredentials ?? false,
    passPidfd: options.passPidfd ?? false,
    acceptFds: integer("acceptFds", fds, { max: SCM_MAX_FD }),
    refuseFds,
    sendBufferBytes: optional("sendBufferBytes", options.sendBufferBytes),
    receiveBufferBytes: optional("receiveBufferBytes", options.receiveBufferBytes),
    maxMessageBytes: integer("maxMessageBytes", maxMessageBytes, { min: 1 }),
    maxQueuedBytes: integer("maxQueuedBytes", maxQueuedBytes, { max: Number.MAX_SAFE_INTEGER }),
  };
}

/** Set them on a socket. @throws UnsupportedError for what this kernel does not have */
export function applySettings(fd: number, settings: Settings): void {
  if (settings.passCredentials) need(fd, option.SO_PASSCRED, "passCredentials");
  if (settings.passPidfd) need(fd, option.SO_PASSPIDFD, "passPidfd");
  if (settings.refuseFds && option.SO_PASSRIGHTS !== null) {
    setOption(fd, option.SO_PASSRIGHTS, 0); // before Linux 6.16 they are closed on arrival only
  }
  setSize(fd, "sendBufferBytes", settings.sendBufferBytes);
  setSize(fd, "receiveBufferBytes", settings.receiveBufferBytes);
}

function need(fd: number, which: number | null, capability: string): void {
  const done = which === null ? -errno.ENOPROTOOPT : setOption(fd, which, 1);
  if (done === -errno.ENOPROTOOPT) throw new UnsupportedError(capability, "no such socket option");
  check(done, "setsockopt");
}

const sizes = { sendBufferBytes: option.SO_SNDBUF, receiveBufferBytes: option.SO_RCVBUF } as const;

function setSize(fd: number, name: keyof typeof sizes, bytes: number | undefined): void {
  if (bytes !== undefined) setBufferBytes(fd, name, bytes);
}

/** Set a buffer's size, and warn once if the system allows less. @throws UnixError */
export function setBufferBytes(fd: number, name: keyof typeof sizes, bytes: number): void {
  check(setOption(fd, sizes[name], bytes), "setsockopt");
  reportBuffer(fd, name, bytes);
}
