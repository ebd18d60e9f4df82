// Whether Bun.serve takes `fd` itself (oven-sh/bun#22559): no Bun up to 1.4.5 does
// (facts: #serve-listens-elsewhere). Found out by trying, on a listener that nobody can know, so
// that a Bun that does is used as it is meant.

import { socket as c } from "../../native/socket.ts";
import { Fd } from "../fd/fd.ts";
import { inodeOf } from "../fd/inode.ts";
import { bind, listen, socket } from "../syscalls/socket.ts";
import { registrations } from "./epoll-entry.ts";

/** A harmless place, with a descriptor that is to be preferred to it. */
const beside = { hostname: "127.0.0.1", port: 0 } as const;

/** Does an epoll of this process watch the socket with this inode? */
export const isWatched = (inode: number): boolean =>
  registrations().some((entry) => entry.inode === inode);

/** null: not tried yet. Tests say true, for Bun.listen, which does take `fd`. */
export const native: { works: boolean | null } = { works: null };

/** Whether Bun.serve listens on `fd` rather than on what stands beside it. */
export function takesDescriptors(): boolean {
  native.works ??= tried();
  return native.works;
}

function tried(): boolean {
  const number = socket(c.SOCK_STREAM);
  if (number < 0) return false;
  const given = Fd.adopt(number, "serveOn");
  const inode = inodeOf(number);
  try {
    if (bind(number, { kind: "unnamed" }) < 0 || listen(number, 1) < 0) return false;
    const options = { ...beside, fd: number, fetch: () => new Response() };
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

/** Bun closes what it has taken: only a number that still stands for the same socket is closed. */
export function closeIfStill(given: Fd, inode: number): void {
  if (given.closed) return;
  if (inodeOf(given.fd) === inode) given.close();
  else given.release();
}
