// Paths that are longer than sun_path.

import { basename, dirname } from "node:path";
import { errno } from "../../native/errno.ts";
import { file } from "../../native/file.ts";
import { check, UnixError } from "../base/errors.ts";
import { type Address, fitsSockaddr, maxPathBytes } from "../structs/sockaddr-un.ts";
import { close, open } from "../syscalls/fd.ts";
import { formatAddress } from "./address.ts";
import { asLatin, fromLatin } from "./path-bytes.ts";

const procPath = (fd: number): string => `/proc/self/fd/${fd}`;

/**
 * @internal Call `use` with an address that fits into sun_path and leads to the same place. A path
 *   that is too long goes through a descriptor, on Linux (facts: #long-paths-through-proc): of its
 *   directory if the socket is yet to be made, of the socket's file itself if that exists, so that
 *   no part is too long.
 */
export function withShortAddress<T>(
  address: Address,
  purpose: "bind" | "connect",
  use: (short: Address) => T,
): T {
  if (address.kind !== "path" || fitsSockaddr(address)) return use(address);
  if (file.O_PATH === null) throw tooLong(address, maxPathBytes, purpose);
  const path = asLatin(address.path);
  const [target, flags, rest] =
    purpose === "connect"
      ? [path, file.O_PATH, ""]
      : [dirname(path), file.O_PATH | file.O_DIRECTORY, `/${basename(path)}`];
  const fd = check(open(fromLatin(target), flags), "open", { address: formatAddress(address) });
  try {
    const short = fromLatin(procPath(fd) + rest);
    const max = maxPathBytes - procPath(fd).length - 1;
    if (short.length > maxPathBytes) throw tooLong(address, max, purpose);
    return use({ kind: "path", path: short });
  } finally {
    close(fd);
  }
}

/**
 * @internal The last part of a socket's path does not fit, whatever the way to it; on macOS the
 * path, to which there is one way.
 */
export function tooLong(
  address: Address,
  max: number,
  syscall: "bind" | "connect" = "bind",
): UnixError {
  const what = file.O_PATH === null ? "a socket's path" : "the last part of a socket's path";
  const hint = `${what} has at most ${max} bytes here`;
  return new UnixError(syscall, -errno.ENAMETOOLONG, { address: formatAddress(address), hint });
}
