// macOS: sockets that launchd listens on for a job, by their names in its launchd.plist(5).

import { errno } from "../../native/errno.ts";
import { check, UnixError } from "../base/errors.ts";
import { describeFd } from "../fd/description.ts";
import { Fd } from "../fd/fd.ts";
import { setCloseOnExec } from "../syscalls/fd.ts";
import { launchActivateSocket } from "../syscalls/launchd.ts";
import type { InheritedFd } from "./inherited-fd.ts";

const HINTS = new Map<number, string>([
  [errno.ENOENT, "the job's plist has no socket of this name under Sockets"],
  [errno.EALREADY, "this process has taken it already, not through bunix"],
]);

const taken = new Map<string, readonly InheritedFd[]>();

/**
 * The sockets of one name, the same objects each time; none if launchd did not start us.
 * @throws UnixError ENOENT, EALREADY, EMFILE
 */
export function launchdSockets(name: string): readonly InheritedFd[] {
  const known = taken.get(name);
  if (known !== undefined) return known;
  const found = launchActivateSocket(name);
  if (found === -errno.ESRCH) return [];
  if (typeof found === "number") {
    const hint = HINTS.get(-found);
    throw new UnixError("launch_activate_socket", found, { address: name, hint });
  }
  // owned before anything can fail: launchd gives them once
  const owned = found.map((number) => Fd.adopt(number, "inheritedFds"));
  const all = owned.map((fd) => {
    check(setCloseOnExec(fd.fd, true), "fcntl");
    return { name, fd, description: describeFd(fd.fd) };
  });
  taken.set(name, all);
  return all;
}
