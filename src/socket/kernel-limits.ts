// Limits by which the kernel silently gives less than was asked for, and the warnings about them.

import { readFileSync } from "node:fs";
import { system } from "../../native/platform.ts";
import { option } from "../../native/socket.ts";
import { getOption } from "../syscalls/socket.ts";

const limits = {
  sendBufferBytes: "net.core.wmem_max",
  receiveBufferBytes: "net.core.rmem_max",
  backlog: "net.core.somaxconn",
} as const;

type Limited = keyof typeof limits;

/** What an administrator allows; null if that cannot be read. */
function sysctl(name: Limited): number | null {
  try {
    return Number(readFileSync(`/proc/sys/${limits[name].replaceAll(".", "/")}`, "utf8"));
  } catch {
    return null;
  }
}

const warned = new Set<Limited>();

/** One warning for each: a server that asks with every connection warns once. */
function tell(name: Limited, asked: number, given: number): void {
  if (warned.has(name)) return;
  warned.add(name);
  const what = `${name}: ${asked} asked for, ${given} given`;
  const text = `${what}: sysctl ${limits[name]} limits it, and an administrator can raise that`;
  process.emitWarning(text, { type: "KernelLimitWarning", code: "BUNIX_KERNEL_LIMIT" });
}

/** Linux keeps twice of what was asked for, and says so. @see socket(7), SO_SNDBUF */
const KEPT = system === "linux" ? 2 : 1;

/** How much a buffer has, as one asks for it; or a negative errno. */
export function bufferBytes(fd: number, name: "sendBufferBytes" | "receiveBufferBytes"): number {
  const kept = getOption(fd, name === "sendBufferBytes" ? option.SO_SNDBUF : option.SO_RCVBUF);
  return kept < 0 ? kept : Math.floor(kept / KEPT);
}

/** After it was set to `asked` bytes: was it? */
export function reportBuffer(
  fd: number,
  name: "sendBufferBytes" | "receiveBufferBytes",
  asked: number,
): void {
  const given = bufferBytes(fd, name);
  if (given >= 0 && given < asked) tell(name, asked, given);
}

/** After listen(2): the queue is as long as that, or as the system allows. */
export function reportBacklog(asked: number): void {
  const max = sysctl("backlog");
  if (max !== null && max < asked) tell("backlog", asked, max);
}

/** What to do about a message that does not fit. */
export function tooLong(): string {
  const max = sysctl("sendBufferBytes");
  const limit = max === null ? "" : `, ${max} now,`;
  const by = `to which sysctl ${limits.sendBufferBytes}${limit} sets a limit`;
  return `a message must fit into the send buffer: raise sendBufferBytes, ${by}`;
}
