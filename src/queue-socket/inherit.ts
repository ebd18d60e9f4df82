// A queue socket that lives on in another program: what it is told, and how it takes over.

import { fstatSync } from "node:fs";
import { errno } from "../../native/errno.ts";
import { file } from "../../native/file.ts";
import { integer } from "../base/checks.ts";
import { check, fileCall, UnixError } from "../base/errors.ts";
import { Fd } from "../fd/fd.ts";
import { close, open, setCloseOnExec, tryLock, tryShareLock } from "../syscalls/fd.ts";
import { mqGetattr } from "../syscalls/message-queue.ts";
import { describe, type ReceiveQueue } from "./receive-queue.ts";
import { SendQueue } from "./send-queue.ts";

/** How a socket is handed on. */
export interface InheritOptions {
  /** The numbers that its two descriptors have in the child, in the order of `socket.fds`. */
  readonly as?: readonly [own: number, peer: number] | undefined;
}

/** @internal How far a connection has come. */
export interface StreamState {
  /** What was received and not yet asked for. */
  readonly rest: Uint8Array | null;
  readonly ended: boolean;
  readonly sendEnded: boolean;
}

interface Ends {
  readonly own: ReceiveQueue;
  readonly peer: SendQueue;
  readonly state: StreamState;
}

const FORMAT = "queue-socket-1";

/** @internal What the other program has to know, as text. @throws UnixError */
export function handOn({ own, peer, state }: Ends, { as }: InheritOptions): string {
  const numbers = [own.handle.fd, peer.handle.fd];
  const [ownNumber, peerNumber] = as ?? numbers;
  integer("as[0]", ownNumber);
  integer("as[1]", peerNumber);
  if (as === undefined) for (const fd of numbers) check(setCloseOnExec(fd, false), "fcntl");
  const { pid, inode, tagLow, tagHigh } = own.identity;
  return JSON.stringify({
    format: FORMAT,
    own: { pid, fd: ownNumber, inode, tagLow, tagHigh },
    peer: {
      pid: peer.credentials.pid,
      fd: peerNumber,
      number: peer.number,
      inode: peer.inode,
      tagLow: peer.tag.tagLow,
      tagHigh: peer.tag.tagHigh,
    },
    rest: state.rest === null ? null : Buffer.from(state.rest).toString("base64"),
    ended: state.ended,
    sendEnded: state.sendEnded,
  });
}

/** @internal Close what may live on elsewhere; `tell` if it does not. */
export function leaveToHeirs(handle: Fd, tell: () => unknown): void {
  const again = open(`/proc/self/fd/${handle.fd}`, file.O_WRONLY | file.O_NONBLOCK);
  handle.close();
  if (again < 0) return;
  try {
    if (tryShareLock(again) === 0) tell();
  } catch {
    // no process is there to be told
  } finally {
    close(again);
  }
}

interface Numbers {
  readonly pid: number;
  readonly fd: number;
  readonly inode: number;
  readonly tagLow: number;
  readonly tagHigh: number;
}

const WORD = 2 ** 32 - 1;

function numbersOf(value: unknown): Numbers {
  const { pid, fd, inode, tagLow, tagHigh } = (value ?? {}) as Record<string, unknown>;
  return {
    pid: integer("pid", pid, { min: 1 }),
    fd: integer("fd", fd),
    inode: integer("inode", inode, { min: 1, max: Number.MAX_SAFE_INTEGER }),
    tagLow: integer("tagLow", tagLow, { max: WORD }),
    tagHigh: integer("tagHigh", tagHigh, { max: WORD }),
  };
}

interface Token {
  readonly own: Numbers;
  readonly peer: Numbers & { readonly number: number };
  readonly state: StreamState;
}

function parse(token: string): Token {
  try {
    const told = JSON.parse(token) as Record<string, unknown>;
    if (told["format"] !== FORMAT) throw new TypeError("another format");
    const { rest, ended, sendEnded, own, peer } = told;
    const text = rest === null ? null : Buffer.from(String(rest), "base64");
    const number = integer("number", (peer as Record<string, unknown>)["number"]);
    const state = { rest: text, ended: ended === true, sendEnded: sendEnded === true };
    return { own: numbersOf(own), peer: { ...numbersOf(peer), number }, state };
  } catch (cause) {
    throw new TypeError("that is not what inherit() of a queue socket returned", { cause });
  }
}

/**
 * @internal The ends of an inherited connection, and whether this is another process by now.
 *   Nothing is owned before both descriptors have been looked at; what fails then closes both.
 * @throws TypeError, UnixError EBADF, EAGAIN (another open file holds the socket's lock)
 */
export function takeOver(token: string): Ends & { readonly moved: boolean } {
  if (typeof token !== "string") throw new TypeError("what inherit() returned is a string");
  const { own: told, peer: toldPeer, state } = parse(token);
  for (const { fd, inode } of [told, toldPeer]) mustBe(fd, inode);
  check(tryLock(told.fd), "flock"); // this very open file holds it already
  for (const { fd } of [told, toldPeer]) check(setCloseOnExec(fd, true), "fcntl");
  const [handle, other] = [Fd.adopt(told.fd, PLACE), Fd.adopt(toldPeer.fd, PLACE)];
  try {
    const own = describe(handle, told);
    const peer = SendQueue.inherited(other, { ...toldPeer, fd: toldPeer.number });
    return { own, peer, state, moved: process.pid !== told.pid };
  } catch (error) {
    handle.close();
    other.close();
    throw error;
  }
}

const PLACE = "adoptQueueSocket";

function mustBe(fd: number, inode: number): void {
  const attributes = mqGetattr(fd);
  const same = typeof attributes !== "number" && fileCall(() => fstatSync(fd)).ino === inode;
  const hint = `descriptor ${fd} is not the socket's: was it inherited under this number?`;
  if (!same) throw new UnixError(PLACE, -errno.EBADF, { hint });
}
