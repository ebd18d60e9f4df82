// A msghdr with all that it points to, prepared once and used for every call.

import { mmsghdr, SCM_MAX_FD } from "../../native/socket.ts";
import { cmsgSpace } from "../structs/cmsg.ts";
import { ucredBytes } from "../structs/credentials.ts";
import { iovecBytes, msghdrBytes, word, writeAddress, writeIovec } from "../structs/msghdr.ts";
import { addressRoom } from "../structs/sockaddr-un.ts";
import { Memory } from "./memory.ts";

/**
 * Most bytes of a security label that we make room for; and a time stamp, which tells an empty
 * message from the end (facts: #empty-message-looks-like-the-end).
 */
const LABEL_ROOM = 256;
const STAMP_ROOM = 16;

const align = (bytes: number): number => (bytes + 7) & ~7;

/**
 * Control data that holds all that one message can carry at once: with less room the kernel drops
 * what does not fit (facts: #room-decides-what-arrives).
 */
export const controlRoom = align(
  cmsgSpace(4 * SCM_MAX_FD) +
    cmsgSpace(ucredBytes) +
    cmsgSpace(4) +
    cmsgSpace(LABEL_ROOM) +
    cmsgSpace(STAMP_ROOM),
);

/** One header as an element of an array for sendmmsg: the msghdr, then msg_len. */
const HEADER_BYTES = Math.max(mmsghdr.size, align(msghdrBytes) + 8);
/** Where that is; behind the msghdr if there is no such struct. */
const LENGTH = (mmsghdr.size > 0 ? mmsghdr.at.msg_len : align(msghdrBytes)) >> 2;
const CONTROL = addressRoom;
const IOVECS = CONTROL + controlRoom;

interface Slot {
  readonly memory: Memory;
  readonly header: number;
  readonly body: number;
}

export class MessageHeader {
  /** Address of the msghdr. */
  readonly address: number;
  /** The name and the control data, as the codecs take them. */
  readonly name: Uint8Array;
  readonly control: DataView;
  readonly #memory: Memory;
  readonly #words: Int32Array;
  readonly #iovec: number;
  readonly #nameAddress: number;

  private constructor({ memory, header, body }: Slot) {
    this.#memory = memory;
    this.#words = memory.words.subarray(header >> 2, (header + HEADER_BYTES) >> 2);
    this.#iovec = (body + IOVECS) >> 2;
    this.address = memory.address + header;
    this.name = new Uint8Array(memory.buffer, body, addressRoom);
    this.control = new DataView(memory.buffer, body + CONTROL, controlRoom);
    this.#nameAddress = memory.address + body;
    writeAddress(this.#words, word.control, memory.address + body + CONTROL);
    writeAddress(this.#words, word.iov, memory.address + body + IOVECS);
    this.#words[word.iovCount] = 1;
  }

  /** @param parts how many pieces of data it can gather */
  static single(parts: number): MessageHeader {
    const memory = new Memory(HEADER_BYTES + IOVECS + parts * iovecBytes);
    return new MessageHeader({ memory, header: 0, body: HEADER_BYTES });
  }

  /** `count` headers of one part each, which form an array. */
  static array(count: number): MessageHeader[] {
    const body = IOVECS + iovecBytes;
    const memory = new Memory(count * (HEADER_BYTES + body));
    return Array.from({ length: count }, (_, i) => {
      const place = { memory, header: i * HEADER_BYTES, body: count * HEADER_BYTES + i * body };
      return new MessageHeader(place);
    });
  }

  /** Point part `index` at `bytes` bytes at `address`. */
  part(index: number, address: number, bytes: number): void {
    writeIovec(this.#memory.words, this.#iovec, { index, address, bytes });
  }

  set parts(count: number) {
    this.#words[word.iovCount] = count;
  }
  get nameBytes(): number {
    return this.#words[word.nameBytes]!;
  }
  /** 0: no name at all, which spares the kernel a look at it. */
  set nameBytes(bytes: number) {
    this.#words[word.nameBytes] = bytes;
    writeAddress(this.#words, word.name, bytes === 0 ? 0 : this.#nameAddress);
  }
  get controlBytes(): number {
    return this.#words[word.controlBytes]!;
  }
  set controlBytes(bytes: number) {
    this.#words[word.controlBytes] = bytes;
  }
  get flags(): number {
    return this.#words[word.flags]!;
  }
  set flags(flags: number) {
    this.#words[word.flags] = flags;
  }
  /** msg_len: what sendmmsg or recvmmsg counted for this one. */
  get transferred(): number {
    return this.#words[LENGTH]!;
  }
  /** For systems without those calls. */
  set transferred(bytes: number) {
    this.#words[LENGTH] = bytes;
  }
}
