// Making a FIFO.

import { libc } from "./libc.ts";
import { bytesToC } from "./memory.ts";
import { uninterrupted } from "./result.ts";

export function mkfifo(path: Uint8Array, mode: number): number {
  const name = bytesToC(path);
  return uninterrupted(() => libc.mkfifo(name.address, mode));
}
