// Signals: their numbers, sigaction and siginfo. Real-time signals have no constant: libc keeps the
// first few for itself and says at run time which is the first (34 in glibc, 35 in musl).

import { constants, layout } from "./table.ts";

export const signals = constants(["signal.h"], {
  SIGHUP: [1, 1],
  SIGINT: [2, 2],
  SIGQUIT: [3, 3],
  SIGILL: [4, 4],
  SIGTRAP: [5, 5],
  SIGABRT: [6, 6],
  SIGBUS: [7, 10],
  SIGFPE: [8, 8],
  SIGKILL: [9, 9],
  SIGUSR1: [10, 30],
  SIGSEGV: [11, 11],
  SIGUSR2: [12, 31],
  SIGPIPE: [13, 13],
  SIGALRM: [14, 14],
  SIGTERM: [15, 15],
  SIGSTKFLT: [16, null],
  SIGCHLD: [17, 20],
  SIGCONT: [18, 19],
  SIGSTOP: [19, 17],
  SIGTSTP: [20, 18],
  SIGTTIN: [21, 21],
  SIGTTOU: [22, 22],
  SIGURG: [23, 16],
  SIGXCPU: [24, 24],
  SIGXFSZ: [25, 25],
  SIGVTALRM: [26, 26],
  SIGPROF: [27, 27],
  SIGWINCH: [28, 28],
  SIGIO: [29, 23],
  SIGPWR: [30, null],
  SIGSYS: [31, 12],
});

/** The most that a signal's number can be: _NSIG − 1 of the kernel (asm/signal.h). */
export const lastSignal = constants(["signal.h"], { "NSIG - 1": [64, 31] })["NSIG - 1"];

export const action = constants(["signal.h"], {
  SA_SIGINFO: [4, 0x40],
  SA_ONSTACK: [0x08000000, 0x1],
  SA_RESTART: [0x10000000, 0x2],
});

export const blocking = constants(["signal.h"], {
  SIG_BLOCK: [0, 1],
  SIG_SETMASK: [2, 3],
});

/** The kernel's sigset_t (asm/signal.h), which is not libc's: one bit for each of 64 signals. */
export const kernelSignalSet = { bytes: 8 } as const;

/** What stands where the handler's address would. */
export const handlers = constants(["signal.h"], {
  "(long)SIG_DFL": [0, 0],
  "(long)SIG_IGN": [1, 1],
});

/** libc's own struct, which is not the kernel's; glibc and musl agree on it. */
export const sigaction = layout("struct sigaction", ["signal.h"], [152, 16], {
  sa_sigaction: [
    [0, 0],
    [8, 8],
  ],
  sa_mask: [
    [8, 8],
    [128, 4],
  ],
  sa_flags: [
    [136, 12],
    [4, 4],
  ],
});

/** Where a signal came from: si_code. */
export const origin = constants(["signal.h"], {
  SI_USER: [0, 0x10001, "enumerator"],
  SI_QUEUE: [-1, 0x10002, "enumerator"],
  SI_TIMER: [-2, 0x10003, "enumerator"],
  SI_ASYNCIO: [-4, 0x10004, "enumerator"],
  SI_MESGQ: [-3, 0x10005, "enumerator"],
  SI_TKILL: [-6, null, "enumerator"],
  SI_SIGIO: [-5, null, "enumerator"],
  SI_KERNEL: [0x80, null, "enumerator"],
});

/** As signals and waitid(2) fill it in: si_status of SIGCHLD lies where others have si_value. */
export const siginfo = layout("siginfo_t", ["signal.h"], [128, 104], {
  si_signo: [
    [0, 0],
    [4, 4],
  ],
  si_errno: [
    [4, 4],
    [4, 4],
  ],
  si_code: [
    [8, 8],
    [4, 4],
  ],
  si_pid: [
    [16, 12],
    [4, 4],
  ],
  si_uid: [
    [20, 16],
    [4, 4],
  ],
  si_status: [
    [24, 20],
    [4, 4],
  ],
  si_value: [
    [24, 32],
    [8, 8],
  ],
});

/** How a process is to be told of an event: sigev_notify. */
export const notification = constants(["signal.h"], { SIGEV_SIGNAL: [0, 1] });

export const sigevent = layout("struct sigevent", ["signal.h"], [64, 32], {
  sigev_value: [
    [0, 8],
    [8, 8],
  ],
  sigev_signo: [
    [8, 4],
    [4, 4],
  ],
  sigev_notify: [
    [12, 0],
    [4, 4],
  ],
});

/** Of a siginfo_t, what src/structs/siginfo.ts reads is in these first bytes. */
export const infoBytes = 32;

/** What native/signal-handler.c writes for each signal: its time, and the beginning of siginfo. */
export const record = { bytes: 8 + infoBytes, time: 0, info: 8 } as const;
