// Making a FIFO.

import { libc } from "./libc.ts";
import { bytesToC } from "./memory.ts";
import { result } from "./result.ts";

export function mkfifo(path: Uint8Array, mode: number): number {
  const name = bytesToC(path);
  return result(libc.mkfifo(name.address, mode));
}
