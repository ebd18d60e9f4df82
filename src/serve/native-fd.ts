// Whether Bun.serve takes `fd` itself (oven-sh/bun#22559): no Bun up to 1.4.5 does
// (facts: #serve-listens-elsewhere). Found out by trying, on a listener with a name that the kernel
// chooses, so that a Bun that takes descriptors is given them.

import { socket as c } from "../../native/socket.ts";
import { Fd } from "../fd/fd.ts";
import { inodeOf } from "../fd/inode.ts";
import { bind, listen, socket } from "../syscalls/socket.ts";
import { registrations } from "./epoll-entry.ts";

/** The address beside `fd`: a Bun that does not know `fd` listens here. */
const elsewhere = { hostname: "127.0.0.1", port: 0 } as const;

/** Whether an epoll of this process watches the socket with this inode. */
export const isWatched = (inode: number): boolean =>
  registrations().some((entry) => entry.inode === inode);

/** null: not tried yet. Tests set true, for Bun.listen, which does take `fd`. */
export const native: { works: boolean | null } = { works: null };

/** Whether Bun.serve listens on `fd` rather than on the address beside it. */
export function takesDescriptors(): boolean {
  native.works ??= tryServe();
  return native.works;
}

function tryServe(): boolean {
  const number = socket(c.SOCK_STREAM);
  if (number < 0) return false;
  const given = Fd.adopt(number, "serveOn");
  const inode = inodeOf(number);
  try {
    if (bind(number, { kind: "unnamed" }) < 0 || listen(number, 1) < 0) return false;
    const options = { ...elsewhere, fd: number, fetch: () => new Response() };
    const server = Bun.serve(options as Parameters<typeof Bun.serve>[0]);
    const works = isWatched(inode);
    void server.stop(true);
    return works;
  } catch {
    return false;
  } finally {
    closeIfStill(given, inode);
  }
}

/** Bun closes what it has taken: close the number only if it is still the same socket. */
export function closeIfStill(given: Fd, inode: number): void {
  if (given.closed) return;
  if (inodeOf(given.fd) === inode) given.close();
  else given.release();
}
