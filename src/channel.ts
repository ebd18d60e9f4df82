// Whole messages with descriptors in them, requests and answers, over a stream or seqpacket socket.

export { Channel } from "./channel/channel.ts";
export type { Codec, Encoded } from "./channel/codec.ts";
export { ChannelMessage } from "./channel/message.ts";
export { openChannel } from "./channel/open.ts";
export type { ChannelOptions, ChannelSendOptions, RequestOptions } from "./channel/options.ts";
export { RemoteError } from "./channel/remote-error.ts";
export {
  Reply,
  type ReplyOptions,
  RequestContext,
  type RequestHandler,
} from "./channel/server.ts";
