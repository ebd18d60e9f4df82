// From a connected socket to a channel.

import { closedError } from "../base/errors.ts";
import { SeqpacketSocket } from "../socket/seqpacket.ts";
import { StreamSocket } from "../socket/stream.ts";
import { Channel } from "./channel.ts";
import type { ChannelOptions } from "./options.ts";

/**
 * A channel over a connected socket: from `connect`, `accept`, `socketPair`, `spawn`'s channel or
 * `parentChannel`. The channel owns the socket from then on; nothing else may send or receive on
 * it. The peer is another channel, or a program that knows docs/channel.md.
 *
 * @throws TypeError (no stream or seqpacket socket, or unknown codec), RangeError; UnixError
 *   ERR_CLOSED
 */
export function openChannel<In = unknown, Out = unknown>(
  socket: StreamSocket | SeqpacketSocket,
  options: ChannelOptions<In, Out> = {},
): Channel<In, Out> {
  if (!(socket instanceof StreamSocket) && !(socket instanceof SeqpacketSocket)) {
    throw new TypeError("a channel needs a StreamSocket or a SeqpacketSocket");
  }
  if (socket.closed) throw closedError("openChannel");
  return new Channel<In, Out>(socket, options);
}
