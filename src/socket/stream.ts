// SOCK_STREAM: bytes in order, without boundaries.

import type { Socket as NetSocket } from "node:net";
import { option } from "../../native/socket.ts";
import { closedError } from "../base/errors.ts";
import type { Fd } from "../fd/fd.ts";
import { setOption } from "../syscalls/socket.ts";
import type { Kind } from "./endpoint.ts";
import type { Message, Received } from "./message.ts";
import { MessagingSocket } from "./messaging.ts";
import { type DescriptorDuplex, type DuplexOptions, makeDuplex } from "./node-stream.ts";
import type { Settings } from "./options.ts";
import { type ReaderOptions, SocketReader } from "./reader.ts";
import { type CopyOut, copyToBuffer, type Room, receiveOnce } from "./receive.ts";
import { readableOf, writableOf } from "./web-streams.ts";

const KIND: Kind = {
  name: "stream",
  receives: { place: "StreamSocket.receive", wantSender: false, zeroBytes: "end" },
  stream: true,
};

/**
 * A connected stream socket.
 *
 * Descriptors come with the first byte of their own send. One receive never returns bytes of two
 * sends that both carry descriptors, but the tail of one send may come together with the
 * descriptors of the next: frame your messages, and take descriptors in order.
 *
 * @see unix(7)
 */
export class StreamSocket extends MessagingSocket {
  /** @internal */
  constructor(handle: Fd, settings: Settings) {
    super(handle, settings, KIND);
    // a byte out of band that is passed over is closed by the kernel in the call that receives,
    // with its descriptors (facts: #out-of-band-descriptors)
    setOption(handle.fd, option.SO_OOBINLINE, 1);
  }

  /** Always "stream". */
  get type(): "stream" {
    return "stream";
  }

  /** @internal */
  protected override get kind(): Kind {
    return KIND;
  }

  /** @internal A short read, not stopped by what came beside it, has emptied the queue. */
  override take(maxBytes: number, copyOut?: CopyOut): Message | null | undefined {
    const message = receiveOnce(this.fd, this.rules, maxBytes, copyOut);
    if (message && message.data.length < maxBytes && message.alone) this.noteDrained();
    return message;
  }

  /** @internal {@link consume}, with Buffers for data. */
  consumeBuffers(handler: (message: Message) => unknown): Promise<void> {
    const { maxMessageBytes } = this.settings;
    return this.consumeFrom({ tryOnce: () => this.take(maxMessageBytes, copyToBuffer) }, handler);
  }

  /** @internal */
  protected override takeInto(into: Room, bytes: number): Received | null | undefined {
    const received = super.takeInto(into, bytes);
    if (received && received.bytes < bytes && received.alone) this.noteDrained();
    return received;
  }

  /**
   * Half-close: the peer reads what was sent before, then the end. Receiving goes on. Queued sends
   * go out first. Does nothing the second time.
   * @see shutdown(2)
   */
  end(): void {
    this.endSending();
  }

  /**
   * Read in the pieces of a protocol: a number of bytes, a line, up to a byte, the rest. What has
   * been received before is not part of it. See {@link SocketReader}.
   */
  reader(options?: ReaderOptions): SocketReader {
    if (this.closed) throw closedError("reader");
    return new SocketReader(this, options);
  }

  /**
   * A node:stream over this socket that stands where a net.Socket does, with what libraries touch
   * on one; see {@link DescriptorDuplex}. The stream owns the socket from then on, and reads ahead
   * as a net.Socket does. What a listener throws is an uncaught exception; the stream reads on.
   */
  toDuplex(options: DuplexOptions = {}): DescriptorDuplex & NetSocket {
    if (this.closed) throw closedError("toDuplex");
    return makeDuplex(this, options);
  }

  /**
   * The bytes as a web stream, the same one at each look; its end is the peer's. Nothing is read
   * before it is asked for. Descriptors that come are closed.
   */
  get readable(): ReadableStream<Uint8Array> {
    return readableOf(this);
  }

  /** A web stream into the socket, the same one at each look; closing it is `end()`. */
  get writable(): WritableStream<Uint8Array> {
    return writableOf(this);
  }
}
