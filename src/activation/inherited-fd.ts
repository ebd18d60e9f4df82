import type { FdDescription } from "../fd/description.ts";
import type { Fd } from "../fd/fd.ts";

/** A descriptor that this process was started with. */
export interface InheritedFd {
  /** The manager's name for it (`FileDescriptorName=`, `FDNAME=`); "unknown" if it gave none. */
  readonly name: string;
  /** It owns the descriptor, which is close-on-exec by now. */
  readonly fd: Fd;
  /** What it was when it was taken over, by asking the kernel. */
  readonly description: FdDescription;
}
