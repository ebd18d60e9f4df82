// Frames of a channel as bytes, right and wrong ones.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../support/child.ts";

const HEADER = 12;
export const kind = { message: 0, request: 1, answer: 2, error: 3, cancel: 4 } as const;

export interface Parts {
  readonly kind?: number;
  readonly number?: number;
  readonly fds?: number;
  readonly flags?: number;
  /** What the header says, if not the truth. */
  readonly bytes?: number;
}

/** One frame: what is left out is right for a message. */
export function frame(data: string | Uint8Array, parts: Parts = {}): Buffer {
  const body = Buffer.from(data as string);
  const whole = Buffer.alloc(HEADER + body.length);
  whole.writeUInt32LE(parts.bytes ?? body.length, 0);
  whole.writeUInt16LE(parts.fds ?? 0, 4);
  whole.writeUInt8(parts.kind ?? kind.message, 6);
  whole.writeUInt8(parts.flags ?? 0, 7);
  whole.writeUInt32LE(parts.number ?? 0, 8);
  body.copy(whole, HEADER);
  return whole;
}

export interface Vector {
  readonly bytes: Buffer;
  readonly says: string;
}

/** The test vectors of docs/channel.md. */
export function vectors(): Vector[] {
  const text = readFileSync(join(root, "docs/channel.md"), "utf8");
  const section = text.slice(text.indexOf("## Test vectors"));
  return [...section.matchAll(/^ {4}([0-9a-f ]+?) {3}\((.*)\)$/gm)].map(([, hex, says]) => ({
    bytes: Buffer.from((hex ?? "").replaceAll(" ", ""), "hex"),
    says: says ?? "",
  }));
}
