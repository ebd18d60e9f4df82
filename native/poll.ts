// Readiness: poll, epoll, and the Linux AIO poll that wakes Bun's loop
// (facts: #aio-poll-wakes-bun).

import { constants, layout } from "./table.ts";

export const poll = constants(["poll.h"], {
  POLLIN: [1, 1],
  POLLPRI: [2, 2],
  POLLOUT: [4, 4],
  POLLERR: [8, 8],
  POLLHUP: [16, 16],
  POLLNVAL: [32, 32],
  POLLRDHUP: [0x2000, null],
});

export const epoll = constants(["sys/epoll.h"], {
  EPOLL_CLOEXEC: [0o2000000, null],
  EPOLL_CTL_ADD: [1, null],
  EPOLL_CTL_DEL: [2, null],
  EPOLL_CTL_MOD: [3, null],
  EPOLLIN: [1, null],
  EPOLLPRI: [2, null],
  EPOLLOUT: [4, null],
  EPOLLERR: [8, null],
  EPOLLHUP: [16, null],
  EPOLLRDHUP: [0x2000, null],
  EPOLLET: [0x80000000, null],
});

/** Packed on x64 only: the kernel's ABI, not the compiler's. */
export const epollEvent = layout(
  "struct epoll_event",
  ["sys/epoll.h"],
  [{ x64: 12, arm64: 16 }, null],
  {
    events: [
      [0, null],
      [4, null],
    ],
    data: [
      [{ x64: 4, arm64: 8 }, null],
      [8, null],
    ],
  },
);

export const eventfd = constants(["sys/eventfd.h"], {
  EFD_CLOEXEC: [0o2000000, null],
  EFD_NONBLOCK: [0o4000, null],
});

export const aio = constants(["linux/aio_abi.h"], {
  IOCB_CMD_POLL: [5, null, "enumerator"],
  IOCB_FLAG_RESFD: [1, null],
});

export const iocb = layout("struct iocb", ["linux/aio_abi.h"], [64, null], {
  aio_lio_opcode: [
    [16, null],
    [2, null],
  ],
  aio_fildes: [
    [20, null],
    [4, null],
  ],
  aio_buf: [
    [24, null],
    [8, null],
  ],
  aio_flags: [
    [56, null],
    [4, null],
  ],
  aio_resfd: [
    [60, null],
    [4, null],
  ],
});

/** The kernel's `struct aio_ring` (fs/aio.c), mapped at the context's address; in no header. */
export const aioRing = { bytes: 32, head: 8, tail: 12 } as const;
