// Processes: pidfds, and how one ends.

import { constants } from "./table.ts";

export const prctl = constants(["sys/prctl.h"], {
  PR_GET_DUMPABLE: [3, null],
  PR_SET_PTRACER: [0x59616d61, null],
});

/** Bits of CapEff and CapPrm in /proc/PID/status. */
export const capability = constants(["linux/capability.h"], {
  CAP_SYS_PTRACE: [19, null],
});

export const wait = constants(["sys/wait.h"], {
  WNOHANG: [1, 1],
  WEXITED: [4, 4],
  WNOWAIT: [0x1000000, 0x20],
  P_PIDFD: [3, null, "enumerator"],
});

/** Why a child ended: the si_code of waitid. */
export const child = constants(["signal.h"], {
  CLD_EXITED: [1, 1, "enumerator"],
  CLD_DUMPED: [3, 3, "enumerator"],
});

/** A wait status as wait(2) has it: WTERMSIG, WCOREDUMP and WEXITSTATUS as bits. */
export const waitStatus = { signal: 0x7f, core: 0x80, codeShift: 8, code: 0xff } as const;

export const pidfdInfo = constants(["linux/pidfd.h"], {
  PIDFD_INFO_EXIT: [8, null, "since Linux 6.15"],
});

/**
 * linux/pidfd.h's `struct pidfd_info` as Linux 6.13 has it (PIDFD_INFO_SIZE_VER0), and the request
 * for one of that size: _IOWR(0xFF, 11, struct pidfd_info). Later kernels have a longer struct, and
 * with it another number for the same name; they all know this one.
 */
export const pidfdInfoV0 = { bytes: 64, mask: 0, exitCode: 60, request: 0xc040ff0b } as const;

/** statfs's f_type of a pidfd since Linux 6.9: each process has an inode there of its own. */
export const pidfs = constants(["linux/magic.h"], {
  PID_FS_MAGIC: [0x50494446, null, "since headers later than Linux 6.9"],
});
