// Memory of ours that frames are put together in, and received into.

import { Memory } from "../syscalls/memory.ts";

/** For the kernel by its address, for bytes as a Uint8Array, for text as a Buffer. */
export class Room extends Memory {
  readonly text: Buffer;

  constructor(size: number) {
    super(size);
    const { buffer } = this;
    this.text = Buffer.from(buffer);
  }
}
