// Descriptors and files: fcntl.h, sys/stat.h.

import { constants, layout } from "./table.ts";

export const file = constants(["fcntl.h"], {
  O_RDONLY: [0, 0],
  O_WRONLY: [1, 1],
  O_RDWR: [2, 2],
  O_ACCMODE: [3, 3],
  O_CREAT: [0o100, 0x200],
  O_EXCL: [0o200, 0x800],
  O_APPEND: [0o2000, 0x8],
  O_NONBLOCK: [0o4000, 0x4],
  O_DIRECTORY: [{ x64: 0o200000, arm64: 0o40000 }, 0x100000],
  O_NOFOLLOW: [{ x64: 0o400000, arm64: 0o100000 }, 0x100],
  O_CLOEXEC: [0o2000000, 0x1000000],
  O_PATH: [0o10000000, null],
  F_GETFD: [1, 1],
  F_SETFD: [2, 2],
  F_GETFL: [3, 3],
  F_SETFL: [4, 4],
  F_DUPFD_CLOEXEC: [1030, 67],
  F_OFD_GETLK: [36, null],
  F_WRLCK: [1, 3],
  F_UNLCK: [2, 2],
  FD_CLOEXEC: [1, 1],
  AT_EMPTY_PATH: [0x1000, null],
  AT_STATX_DONT_SYNC: [0x4000, null],
});

export const mode = constants(["sys/stat.h"], {
  S_IFMT: [0o170000, 0o170000],
  S_IFSOCK: [0o140000, 0o140000],
  S_IFLNK: [0o120000, 0o120000],
  S_IFREG: [0o100000, 0o100000],
  S_IFBLK: [0o060000, 0o060000],
  S_IFDIR: [0o040000, 0o040000],
  S_IFCHR: [0o020000, 0o020000],
  S_IFIFO: [0o010000, 0o010000],
  S_ISVTX: [0o1000, 0o1000],
  S_IWGRP: [0o20, 0o20],
  S_IWOTH: [0o2, 0o2],
});

export const lock = constants(["sys/file.h"], {
  LOCK_SH: [1, 1],
  LOCK_EX: [2, 2],
  LOCK_NB: [4, 4],
  LOCK_UN: [8, 8],
});

export const memfd = constants(["sys/mman.h"], {
  MFD_CLOEXEC: [1, null],
  MFD_ALLOW_SEALING: [2, null],
});

export const pollfd = layout("struct pollfd", ["poll.h"], [8, 8], {
  fd: [
    [0, 0],
    [4, 4],
  ],
  events: [
    [4, 4],
    [2, 2],
  ],
  revents: [
    [6, 6],
    [2, 2],
  ],
});

/** An entry of a directory as getdents64(2) writes it. */
export const dirent = layout("struct dirent", ["dirent.h"], [280, null], {
  d_reclen: [
    [16, null],
    [2, null],
  ],
  d_name: [
    [19, null],
    [256, null],
  ],
});

/** The system's own number of a device that is memory: /dev/null, /dev/zero and their like. */
export const MEM_MAJOR = 1;

export const statxMask = constants(["linux/stat.h"], {
  STATX_TYPE: [1, null],
  STATX_INO: [0x100, null],
  STATX_BLOCKS: [0x400, null],
});

export const statx = layout("struct statx", ["linux/stat.h"], [256, null], {
  stx_mode: [
    [28, null],
    [2, null],
  ],
  stx_ino: [
    [32, null],
    [8, null],
  ],
  stx_blocks: [
    [48, null],
    [8, null],
  ],
  stx_rdev_major: [
    [128, null],
    [4, null],
  ],
  stx_dev_major: [
    [136, null],
    [4, null],
  ],
});

export const flock = layout("struct flock", ["fcntl.h"], [32, null], {
  l_type: [
    [0, null],
    [2, null],
  ],
});

/** statfs's f_type of a message queue (ipc/mqueue.c), which no user header exports. */
export const MQUEUE_MAGIC = 0x19800202;

/** No user, no group: what the kernel writes where it knows none, and chown(2) leaves as it is. */
export const NO_ID = constants(["sys/types.h"], { "(uid_t)-1": [0xffffffff, 0xffffffff] })[
  "(uid_t)-1"
];
