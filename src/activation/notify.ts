// Telling the service manager the state of this service, and having it store descriptors:
// sd_notify(3).

import type { Abortable } from "../base/deadline.ts";
import type { FdLike } from "../fd/fd.ts";
import { checkFds, ownFds } from "../socket/send.ts";
import { deliver, type Notice } from "./manager.ts";
import { checkFdName, encodeState, type NotifyState } from "./state.ts";

/** What else a notification does, and how long it may take. */
export interface NotifyOptions extends Abortable {
  /**
   * Descriptors for the manager to keep (FDSTORE=1; systemd: `FileDescriptorStoreMax=`): it passes
   * them to the next run of this service, which gets them from {@link inheritedFds}. They stay
   * yours, and have to stay open until the promise settles.
   */
  readonly fds?: readonly FdLike[] | undefined;
  /**
   * Their names, by which the next run knows them: one for all, or one for each. 1 to 255 printable
   * ASCII characters without ":" and "\". Default: the manager's, "stored".
   */
  readonly fdNames?: string | readonly string[] | undefined;
  /** False: the manager keeps them even when they hang up or fail (FDPOLL=0). Default true. */
  readonly fdPoll?: boolean | undefined;
  /** Names of stored descriptors that the manager is to close (FDSTOREREMOVE=1). */
  readonly removeFds?: string | readonly string[] | undefined;
  /**
   * Resolve only when the manager has worked through this and all earlier notifications, or is
   * gone. Without a signal that may take for ever: `signal: AbortSignal.timeout(5_000)`.
   */
  readonly barrier?: boolean | undefined;
  /** Give up waiting, for room or for the barrier. What is out stays out. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Tell the service manager (`NOTIFY_SOCKET`) how this service is doing: `notify({ ready: true })`.
 * Resolves to true when the kernel has taken the message for it, with `barrier` when the manager
 * has dealt with it; false if no manager wants to know. The manager does not say what it did with
 * the message.
 *
 * Names to be removed go first, then descriptors to be stored, then the state, each in messages of
 * their own; one that fails keeps the rest from being sent. As long as the manager's queue has room
 * all is out when this returns, so it also works in an "exit" listener. Otherwise it waits.
 *
 * @throws TypeError, RangeError at once, manager or not: nothing to say, a line break in a text, a
 *   state of more than 4,096 bytes, which managers ignore; UnixError ERR_CLOSED, ESRCH (`mainPid`)
 * @throws UnixError ENOENT, ECONNREFUSED: the manager is gone; EACCES, EBADF (one of `fds`), EINVAL
 *   (NOTIFY_SOCKET is no address), EMFILE; the signal's reason
 * @throws UnsupportedError for a manager outside of the virtual machine (`vsock:`)
 * @see sd_notify(3)
 */
export function notify(state: NotifyState, options: NotifyOptions = {}): Promise<boolean> {
  const { barrier = false, signal } = options;
  if (typeof barrier !== "boolean") throw new TypeError("barrier is true or false");
  const notices = [...removals(options), ...stores(options)];
  const text = encodeState(state);
  if (text !== "") notices.push({ text });
  if (notices.length === 0 && !barrier) throw new TypeError("there is nothing to notify of");
  return deliver({ notices, barrier, signal, referenced: true });
}

function removals({ removeFds = [] }: NotifyOptions): Notice[] {
  const names = typeof removeFds === "string" ? [removeFds] : removeFds;
  return names.map((name) => ({ text: `FDSTOREREMOVE=1\nFDNAME=${checkFdName(name)}` }));
}

/** A message has one name for all its descriptors: neighbours of one name share a message. */
function stores({ fds: given = [], fdNames = [], fdPoll = true }: NotifyOptions): Notice[] {
  const fds = checkFds(ownFds(given), false);
  if (typeof fdPoll !== "boolean") throw new TypeError("fdPoll is true or false");
  const names = typeof fdNames === "string" ? fds.map(() => fdNames) : fdNames;
  if (names.length > 0 && names.length !== fds.length) {
    throw new RangeError(`${names.length} fdNames for ${fds.length} descriptors`);
  }
  const poll = fdPoll ? "" : "\nFDPOLL=0";
  const notices: { text: string; fds: number[] }[] = [];
  for (const [i, fd] of fds.entries()) {
    const name = names[i] === undefined ? "" : `\nFDNAME=${checkFdName(names[i])}`;
    const text = `FDSTORE=1${name}${poll}`;
    const last = notices.at(-1);
    if (last?.text === text) last.fds.push(fd);
    else notices.push({ text, fds: [fd] });
  }
  return notices;
}
