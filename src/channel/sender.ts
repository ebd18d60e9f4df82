// From values to frames that go out; answers to requests are sent without a promise.

import type { Label, Unsent } from "./batch.ts";
import { bytes as bytesCodec, type Content, content, type FrameCodec } from "./codec.ts";
import type { ChannelSendOptions } from "./options.ts";
import { closeGiven } from "./pieces.ts";
import { encodeError } from "./remote-error.ts";
import type { WriteOptions } from "./send-queue.ts";
import type { ReplyOptions } from "./server.ts";
import type { FrameWriter } from "./writer.ts";

const NO_DATA: Content = { data: "", fds: [], maxBytes: 0 };
const NO_OPTIONS: WriteOptions = {};
const MESSAGE: Label = { kind: "message", number: 0 };

/** The sending half of a channel. */
export class Sender<Out> implements Unsent {
  readonly writer: FrameWriter;
  readonly #codec: FrameCodec<unknown, Out>;
  readonly #lost: (reason: unknown) => void;

  /** @param lost called when a message without a promise could not be sent */
  constructor(
    codec: FrameCodec<unknown, Out>,
    writer: FrameWriter,
    lost: (reason: unknown) => void,
  ) {
    this.writer = writer;
    this.#codec = codec;
    this.#lost = lost;
  }

  /** @throws TypeError, and what the codec throws */
  encode(value: Out, { fds }: ChannelSendOptions): Content {
    const encoded = this.#codec.encode(value);
    if (fds === undefined) return encoded;
    if (!Array.isArray(fds)) throw new TypeError("fds is an array of descriptors");
    return fds.length === 0 ? encoded : { ...encoded, fds: [...encoded.fds, ...fds] };
  }

  send(value: Out, options: ChannelSendOptions): Promise<void> {
    return this.writer.write(MESSAGE, this.encode(value, options), options);
  }

  trySend(value: Out, options: ChannelSendOptions): boolean {
    return this.writer.tryWrite(MESSAGE, this.encode(value, options), options);
  }

  /** The peer's answer to that request is not wanted any more. */
  cancel(number: number): void {
    void this.#tell({ kind: "cancel", number }, NO_DATA);
  }

  /** Answer a request; a promise if that has to wait for room. */
  answer(number: number, value: unknown, options: ReplyOptions): Promise<void> | undefined {
    let encoded: Content;
    try {
      encoded = this.encode((value ?? this.#nothing) as Out, options);
    } catch (error) {
      return this.fail(number, error);
    }
    return this.#tell({ kind: "answer", number }, encoded, options);
  }

  /** What a handler's undefined becomes. */
  get #nothing(): unknown {
    return this.#codec === (bytesCodec as unknown) ? "" : null;
  }

  /** The same with an error. */
  fail(number: number, error: unknown): Promise<void> | undefined {
    return this.#tell({ kind: "error", number }, content(encodeError(error), []));
  }

  /** If it cannot even be queued, the peer does not read. */
  #tell(
    label: Label,
    encoded: Content,
    options: WriteOptions = NO_OPTIONS,
  ): Promise<void> | undefined {
    const given = options.transfer === true && encoded.fds.length > 0;
    const failed = (reason: unknown): void => {
      if (given) closeGiven(encoded.fds);
      this.#lost(reason);
    };
    if (this.writer.waits) return this.writer.write(label, encoded, options).catch(failed);
    try {
      const whom: Unsent = given ? { unsent: (_, reason) => failed(reason) } : this;
      return this.writer.post(label, encoded, { options, whom });
    } catch (error) {
      failed(error);
      return undefined;
    }
  }

  /** Drop what was collected. */
  unsent(_: number, reason: unknown): void {
    this.#lost(reason);
  }
}
