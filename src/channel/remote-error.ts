// Errors that cross a channel.

import { toJson } from "../base/printable.ts";

/**
 * The peer's handler of a request failed. `message` and `code` are the peer's text, not this
 * process's. Its stack does not travel.
 */
export class RemoteError extends Error {
  /** Always "RemoteError". */
  override readonly name: string = "RemoteError";
  /** What the other side's error had as its `code`, if that was a text. */
  readonly code?: string;

  constructor(message: string, code?: string) {
    super(message);
    if (code !== undefined) this.code = code;
  }
}

const decoder = new TextDecoder();
/** Characters of a peer's text. */
const MAX_TEXT = 8192;

const textOf = (value: unknown): string | undefined =>
  typeof value === "string" ? value.slice(0, MAX_TEXT) : undefined;

/** An error's bytes: JSON with `message` and `code`, whatever the channel's codec. */
export function encodeError(error: unknown): string {
  const { message = "the request failed", code } = textsOf(error);
  return toJson({ message, code });
}

/** What the error of a handler says; reading it may run a getter, which may throw. */
function textsOf(error: unknown): { message?: string | undefined; code?: string | undefined } {
  try {
    const { message, code } = (error ?? {}) as { message?: unknown; code?: unknown };
    return { message: textOf(message), code: textOf(code) };
  } catch {
    return {};
  }
}

/** What came as an error; null for what is none. */
export function decodeError(data: Uint8Array): RemoteError | null {
  let value: unknown;
  try {
    value = JSON.parse(decoder.decode(data));
  } catch {
    return null;
  }
  const { message, code } = (value ?? {}) as { message?: unknown; code?: unknown };
  const text = textOf(message);
  return text === undefined ? null : new RemoteError(text, textOf(code));
}
