// Making a FIFO, and giving it its mode.

import { libc } from "./libc.ts";
import { bytesToC, cString } from "./memory.ts";
import { result } from "./result.ts";

export function mkfifo(path: Uint8Array, mode: number): number {
  const name = bytesToC(path);
  return result(libc.mkfifo(name.address, mode));
}

export function chmod(path: string, mode: number): number {
  const name = cString(path);
  return result(libc.chmod(name.address, mode));
}
