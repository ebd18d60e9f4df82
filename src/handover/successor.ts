// The next process: it gets the descriptors, and takes over when it is ready.

import { errno } from "../../native/errno.ts";
import type { AddressInput } from "../address/address.ts";
import type { UnixError } from "../base/errors.ts";
import type { Fd } from "../fd/fd.ts";
import { type Allow, admits } from "../peer/admission.ts";
import { CONTROL, type HandoverEntry } from "../structs/handover-frame.ts";
import { HandoverChannel, handoverError } from "./channel.ts";
import { MAX_ENTRIES } from "./table.ts";

/** What the predecessor has sent, owned. */
export interface HandoverOffer {
  readonly channel: HandoverChannel;
  readonly control: { readonly fd: Fd; readonly entry: HandoverEntry };
  readonly others: readonly { readonly fd: Fd; readonly entry: HandoverEntry }[];
}

interface AskOptions {
  readonly allow: Allow;
  readonly signal: AbortSignal;
}

/**
 * Ask the process that listens at `address`. null: it has ended in the meantime, another may be
 * there.
 * @throws UnixError EBUSY, EACCES, EPROTO; ENOENT, ECONNREFUSED if no process listens
 */
export async function ask(
  address: AddressInput,
  { allow, signal }: AskOptions,
): Promise<HandoverOffer | null> {
  const channel = await HandoverChannel.at(address, signal);
  const got: { fd: Fd; entry: HandoverEntry }[] = [];
  try {
    await channel.send({ kind: "hello" }, { signal });
    if (!(await collect(channel, { allow, signal }, got))) {
      release(channel, got);
      return null;
    }
    const [control, ...others] = got;
    const names = new Set(got.map(({ entry }) => entry.name));
    if (control?.entry.name !== CONTROL || names.size !== got.length) {
      throw handoverError(errno.EPROTO, "the table is wrong");
    }
    return { channel, control, others };
  } catch (error) {
    release(channel, got);
    throw error;
  }
}

/** Close what has come. */
export function release(channel: HandoverChannel, got: readonly { readonly fd: Fd }[]): void {
  channel.close();
  for (const { fd } of got) fd.close();
}

/** false: it has gone before it had sent all. */
async function collect(
  channel: HandoverChannel,
  { allow, signal }: AskOptions,
  got: { fd: Fd; entry: HandoverEntry }[],
): Promise<boolean> {
  for (;;) {
    const arrived = await channel.receive(signal);
    if (arrived === null) return false;
    const { frame, fds } = arrived;
    if (frame.kind === "table") {
      for (const [i, entry] of frame.entries.entries()) got.push({ entry, fd: fds[i]! });
    }
    if (channel.peer === null || !admits(allow, channel.peer)) {
      const who = channel.peer?.uid ?? "unknown";
      const whose = `it is uid ${who} who has answered: nothing is taken from there`;
      throw handoverError(errno.EACCES, whose);
    }
    if (frame.kind !== "table") throw answerError(frame); // what it says is shown only now
    if (got.length > MAX_ENTRIES + 1) throw handoverError(errno.EPROTO, "the table does not end");
    if (frame.last) return true;
    if (fds.length === 0) throw handoverError(errno.EPROTO, "an empty part of a table");
  }
}

function answerError(frame: { kind: string; pid?: number; reason?: string }): UnixError {
  if (frame.kind === "busy") {
    const hint = `process ${frame.pid} is starting or taking over at this moment`;
    return handoverError(errno.EBUSY, hint);
  }
  const said = frame.reason ?? `"${frame.kind}" came, which makes no sense here`;
  const number = frame.kind === "refused" ? errno.EACCES : errno.EPROTO;
  return handoverError(frame.kind === "failed" ? errno.ECANCELED : number, said);
}

/**
 * Say that we are ready, and wait for the predecessor's answer. One that has died in the meantime
 * need not answer. When this returns, all is ours; `taken` has to be said then.
 * @throws UnixError: the predecessor goes on
 */
export async function takeOver(channel: HandoverChannel, signal: AbortSignal): Promise<void> {
  await channel.send({ kind: "ready" }, { signal });
  const arrived = await channel.receive(signal);
  if (arrived?.frame.kind === "yours") return;
  if (arrived !== null) throw answerError(arrived.frame);
  if (await hasDied(channel, signal)) return;
  throw handoverError(errno.ECONNABORTED, "the predecessor has ended it, and goes on");
}

/** A connection ends a moment before its process does. */
const DYING_MS = 1_000;

async function hasDied(channel: HandoverChannel, signal: AbortSignal): Promise<boolean> {
  const predecessor = channel.process;
  if (predecessor === null) return false;
  const enough = AbortSignal.any([signal, AbortSignal.timeout(DYING_MS)]);
  try {
    await predecessor.exited({ signal: enough });
  } catch {
    // not yet, or cut short
  }
  return !predecessor.alive();
}
