// The process at the other end of a queue socket.

import { readFileSync } from "node:fs";
import { poll as events } from "../../native/poll.ts";
import { Fd } from "../fd/fd.ts";
import type { VerifiedPeer } from "../peer/verify.ts";
import { isRunning, processInfo } from "../process/proc-info.ts";
import type { Credentials } from "../structs/credentials.ts";
import { poll } from "../syscalls/fd.ts";

/**
 * The other end as a process. `source` is "peerpidfd" if what /proc says was read while the very
 * process that had the queue was alive; "peercred" if no pidfd could be had.
 */
export type QueueProcess = VerifiedPeer;

/** What /proc says is read first, and believed only if the pidfd shows it alive afterwards. */
export function verifyReader(credentials: Credentials, known: Fd | null): QueueProcess {
  const pidfd = known === null || known.closed ? null : Fd.duplicate(known);
  const read = processInfo(credentials.pid);
  const groups = groupsOf(credentials.pid);
  const alive =
    pidfd === null
      ? read !== null && isRunning(credentials.pid) // facts: #zombies-look-alive
      : poll(pidfd.fd, events.POLLIN, 0) === 0;
  const told = alive ? read : null;
  const close = (): void => pidfd?.close();
  return {
    ...credentials,
    groups: alive ? groups : null,
    security: null,
    pidfd,
    executable: told?.executable ?? null,
    command: told?.command ?? null,
    arguments: told?.arguments ?? null,
    alive,
    source: pidfd === null ? "peercred" : "peerpidfd",
    auditToken: null,
    effectivePid: null,
    close,
    [Symbol.dispose]: close,
  };
}

function groupsOf(pid: number | null): number[] | null {
  try {
    const line = /^Groups:(.*)$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
    return line === undefined ? null : (line.match(/\d+/g) ?? []).map(Number);
  } catch {
    return null; // gone, or not shown
  }
}
