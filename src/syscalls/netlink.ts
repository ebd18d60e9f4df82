// One question over netlink, and all of its answer.

import { errno } from "../../native/errno.ts";
import { poll as events } from "../../native/poll.ts";
import { socket as c, message, protocol } from "../../native/socket.ts";
import type { Address } from "../structs/sockaddr-un.ts";
import {
  decodeDump,
  encodeDumpRequest,
  requestBytes,
  type UnixRecord,
} from "../structs/unix-diag.ts";
import { close, poll } from "./fd.ts";
import { libc } from "./libc.ts";
import { Memory } from "./memory.ts";
import { AGAIN, result, uninterrupted } from "./result.ts";

/** The kernel fills at most 32 KiB at a time (net/netlink/af_netlink.c, netlink_recvmsg). */
const CHUNK_BYTES = 64 * 1024;

/** The kernel answers before send and recv return; this is for a kernel that does not. */
const PATIENCE_MS = 1_000;

/** All Unix sockets of this network namespace, and in how many pieces they came. */
export interface Dump {
  readonly records: readonly UnixRecord[];
  readonly chunks: number;
}

/** Ask sock_diag; a negative errno if it is not available. */
export function dumpUnixSockets(): Dump | number {
  if (protocol.NETLINK_SOCK_DIAG === null || c.AF_NETLINK === null) return -errno.EAFNOSUPPORT;
  const type = c.SOCK_DGRAM | (c.SOCK_CLOEXEC ?? 0);
  const fd = result(libc.socket(c.AF_NETLINK, type, protocol.NETLINK_SOCK_DIAG));
  if (fd < 0) return fd;
  try {
    const sent = sendRequest(fd);
    return sent < 0 ? sent : receiveAll(fd);
  } finally {
    close(fd);
  }
}

function sendRequest(fd: number): number {
  const request = new Memory(requestBytes);
  encodeDumpRequest(request.view);
  return uninterrupted(() => libc.send(fd, request.address, requestBytes, 0));
}

function receiveAll(fd: number): Dump | number {
  const room = new Memory(CHUNK_BYTES);
  const records: UnixRecord[] = [];
  const paths = new Map<string, Address>();
  for (let chunks = 1; ; chunks++) {
    const bytes = receive(fd, room);
    if (bytes <= 0) return bytes === 0 ? -errno.EPROTO : bytes;
    if (bytes > CHUNK_BYTES) return -errno.EMSGSIZE;
    const state = decodeDump(room.view, bytes, records, paths);
    if (state < 0) return state;
    if (state === 0) return { records, chunks };
  }
}

/** MSG_TRUNC: the length that the answer had, were it longer than the room. */
function receive(fd: number, room: Memory): number {
  const flags = message.MSG_TRUNC | message.MSG_DONTWAIT;
  for (;;) {
    const bytes = uninterrupted(() => libc.recv(fd, room.address, CHUNK_BYTES, flags));
    if (bytes !== AGAIN) return bytes;
    const ready = poll(fd, events.POLLIN, PATIENCE_MS);
    if (ready <= 0) return ready === 0 ? -errno.ETIMEDOUT : ready;
  }
}
