// The messages of a post box, with their channel and sender; and bytes split into lines.

import { errno } from "../../../native/errno.ts";
import { UnixError } from "../../base/errors.ts";
import type { LineBuffer } from "../../fifo/lines.ts";
import type { QueueMessage } from "../../message-queue/message.ts";
import type { SignalEvent } from "../../signals/watcher.ts";
import type { Message } from "../../socket/message.ts";
import type { Credentials } from "../../structs/credentials.ts";

/** A longer line comes in pieces. */
export const MAX_LINE_BYTES = 65_536;

interface Sender {
  readonly pid: number | null;
  readonly uid: number | null;
  readonly gid: number | null;
}

/** One message, with its channel and sender. */
export type Letter =
  | { readonly channel: "fifo"; readonly text: string }
  | ({ readonly channel: "socket" | "datagram"; readonly text: string } & Sender)
  | { readonly channel: "queue"; readonly priority: number; readonly text: string }
  | ({
      readonly channel: "signal";
      readonly signal: string;
      readonly value: number | null;
    } & Omit<Sender, "gid">);

const NOBODY: Sender = { pid: null, uid: null, gid: null };

export const senderOf = (who: Credentials | undefined): Sender => who ?? NOBODY;

export const datagramLetter = (message: Message): Letter => ({
  channel: "datagram",
  ...senderOf(message.credentials),
  text: message.text(),
});

export const queueLetter = (message: QueueMessage): Letter => ({
  channel: "queue",
  priority: message.priority,
  text: message.text(),
});

export const signalLetter = ({ signal, pid, uid, value }: SignalEvent): Letter => ({
  channel: "signal",
  signal,
  pid: pid ?? null,
  uid: uid ?? null,
  value: value ?? null,
});

export const isTooLong = (error: unknown): boolean =>
  error instanceof UnixError && error.errno === -errno.EMSGSIZE;

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** What is left of a line that was too long, and what came with it. */
export function piecesOf(bytes: Uint8Array | null | undefined): string[] {
  if (!bytes || bytes.length === 0) return [];
  return decoder.decode(bytes).replace(/\n$/, "").split("\n");
}

/** The complete lines of the buffer. */
export function* linesOf(buffer: LineBuffer): Generator<string> {
  for (;;) {
    try {
      const line = buffer.line(MAX_LINE_BYTES);
      if (line === undefined) return;
      yield line;
    } catch (error) {
      if (!isTooLong(error)) throw error;
      yield* piecesOf(buffer.rest());
    }
  }
}
