// launch_activate_socket(3), macOS's: the sockets that launchd has for this process.

import { toArrayBuffer } from "bun:ffi";
import { libc } from "./libc.ts";
import { asPointer, cells, cString } from "./memory.ts";

const FD_BYTES = 4;

/** The descriptors, or a negative errno. A name's are given once. */
export function launchActivateSocket(name: string): number[] | number {
  const text = cString(name);
  const [list, count] = [cells.address, cells.address + 8];
  const failed = libc.launch_activate_socket(text.address, list, count);
  if (failed !== 0) return -failed;
  const at = Number(cells.view.getBigUint64(0, true));
  const many = Number(cells.view.getBigUint64(8, true));
  if (at === 0) return [];
  const fds =
    many === 0 ? [] : [...new Int32Array(toArrayBuffer(asPointer(at), 0, FD_BYTES * many))];
  libc.free(at);
  return fds;
}
