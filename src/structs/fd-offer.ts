// What `sendFd` and `receiveFds` write to each other (docs/send-fd.md): bytes ↔ values.

import { fromBytes, toBytes } from "./sockaddr-un.ts";

/** A process, told apart from later ones with the same pid. */
export interface ProcessIdentity {
  readonly pid: number;
  /** When it started, as field 22 of /proc/PID/stat has it. */
  readonly start: string;
}

/** What the name of an offer's socket says. */
export interface Offered {
  readonly from: ProcessIdentity;
  readonly to: ProcessIdentity;
}

const FORMAT = "bunix/send-fd/1";
const pattern = new RegExp(`^${FORMAT} (\\d+) (\\d+) (\\d+) (\\d+) [\\da-f]+$`);

/** The abstract name of the socket that the offer waits in; `nonce` is hexadecimal. */
export function encodeOffer({ from, to }: Offered, nonce: string): Uint8Array {
  return toBytes(`${FORMAT} ${from.pid} ${from.start} ${to.pid} ${to.start} ${nonce}`);
}

/** null: it is the name of something else. */
export function decodeOffer(name: Uint8Array): Offered | null {
  const text = fromBytes(name);
  const match = typeof text === "string" ? pattern.exec(text) : null;
  if (match === null) return null;
  const [, pid, start, toPid, toStart] = match;
  return {
    from: { pid: Number(pid), start: start! },
    to: { pid: Number(toPid), start: toStart! },
  };
}

const ANSWER_BYTES = 4;

/** 0: it is taken; else the errno why it is not. */
export function encodeAnswer(errno: number): Uint8Array {
  const bytes = new Uint8Array(new ArrayBuffer(ANSWER_BYTES));
  new DataView(bytes.buffer).setInt32(0, errno, true);
  return bytes;
}

/** null: that is no answer. */
export function decodeAnswer(bytes: Uint8Array): number | null {
  if (bytes.length !== ANSWER_BYTES) return null;
  const errno = new DataView(bytes.buffer, bytes.byteOffset).getInt32(0, true);
  return errno >= 0 ? errno : null;
}
