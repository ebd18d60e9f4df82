// What a channel can be told, and what it makes of it.

import { integer } from "../base/checks.ts";
import type { FdLike } from "../fd/fd.ts";
import { bytes as bytesCodec, type Codec, type FrameCodec, framed, json } from "./codec.ts";
import type { FrameLimits } from "./frames.ts";
import type { WriteOptions } from "./send-queue.ts";

/** How a channel is opened. Both ends need the same codec; limits are each end's own. */
export interface ChannelOptions<In = unknown, Out = unknown> {
  /**
   * How values become bytes: "json" (default), "bytes" (Uint8Array in, Uint8Array or string out),
   * or one of your own.
   */
  readonly codec?: "json" | "bytes" | Codec<In, Out> | undefined;
  /** Bytes of a message that comes, at most. Default 16 MiB. */
  readonly maxMessageBytes?: number | undefined;
  /** Descriptors of a message that comes, at most. Default 253. */
  readonly maxFds?: number | undefined;
  /** Requests under way, at most, in each direction. Default 16,384. */
  readonly maxRequests?: number | undefined;
}

/** How one message is sent. */
export interface ChannelSendOptions extends WriteOptions {
  /** Descriptors beside those in the value, for codecs that cannot name them. */
  readonly fds?: readonly FdLike[] | undefined;
}

/** How one request is sent, and how long its answer may take. */
export interface RequestOptions extends ChannelSendOptions {
  /** Milliseconds until it fails with ETIMEDOUT. Default: wait for as long as the channel lives. */
  readonly timeoutMs?: number | undefined;
}

/** Options that were checked. */
export interface ChannelSettings<In, Out> {
  readonly codec: FrameCodec<In, Out>;
  readonly limits: FrameLimits;
  readonly maxRequests: number;
}

const MAX_MESSAGE_BYTES = 16 * 1024 * 1024;
const MAX_FDS = 253;
const MAX_REQUESTS = 16_384;

/** @throws TypeError, RangeError */
export function settingsOf<In, Out>(options: ChannelOptions<In, Out>): ChannelSettings<In, Out> {
  const { maxMessageBytes = MAX_MESSAGE_BYTES, maxFds = MAX_FDS } = options;
  return {
    codec: codecOf(options.codec) as FrameCodec<In, Out>,
    limits: {
      maxMessageBytes: integer("maxMessageBytes", maxMessageBytes),
      maxFds: integer("maxFds", maxFds),
    },
    maxRequests: integer("maxRequests", options.maxRequests ?? MAX_REQUESTS, { min: 1 }),
  };
}

function codecOf(codec: unknown): FrameCodec {
  if (codec === undefined || codec === "json") return json;
  if (codec === "bytes") return bytesCodec as FrameCodec;
  const { encode, decode } = (codec ?? {}) as Partial<Codec>;
  if (typeof encode === "function" && typeof decode === "function") return framed(codec as Codec);
  throw new TypeError('codec is "json", "bytes", or an object with encode and decode');
}
