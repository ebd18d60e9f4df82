// Memory of ours that frames are put together in, and received into.

import { Memory } from "../syscalls/memory.ts";

/** For the kernel by its address, for bytes as a Uint8Array, for text as a Buffer. */
export class Room extends Memory {
  readonly text: Buffer = Buffer.from(this.buffer);
}
