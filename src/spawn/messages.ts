// A child's channel of messages to the process that spawned it.

import type { Channel } from "../channel/channel.ts";
import { openChannel } from "../channel/open.ts";
import type { ChannelOptions } from "../channel/options.ts";
import { MESSAGES_OVER, parentSocket } from "./channel.ts";

let messages: Channel | null = null;

/**
 * The channel to the process that spawned this one with `channel: "messages"`; null if there is
 * none. Later calls return the same object, in the main thread; a Worker gets null. It takes the
 * socket that `parentChannel` would return: use the one or the other. Options are this end's: the
 * codec must be the parent's.
 *
 * A child in another language: docs/channel.md, over the seqpacket socket (on macOS a stream) whose
 * number stands before the colon of BUNIX_CHANNEL.
 *
 * @throws as `parentChannel` and `openChannel`
 */
export function parentMessages<In = unknown, Out = unknown>(
  options?: ChannelOptions<In, Out>,
): Channel<In, Out> | null {
  if (messages === null) {
    const socket = parentSocket(MESSAGES_OVER);
    if (socket === null) return null;
    messages = openChannel<In, Out>(socket, options) as Channel;
  }
  return messages as Channel<In, Out>;
}
