// Memory that is mapped: sys/mman.h, and the seals of fcntl.h.

import { constants } from "./table.ts";

export const mapping = constants(["sys/mman.h"], {
  PROT_READ: [1, 1],
  PROT_WRITE: [2, 2],
  MAP_SHARED: [1, 1],
  MAP_PRIVATE: [2, 2],
  MAP_FIXED: [16, 16],
  MAP_NORESERVE: [0x4000, 0x40],
});

export const seal = constants(["fcntl.h"], {
  F_ADD_SEALS: [1033, null],
  F_GET_SEALS: [1034, null],
  F_SEAL_SEAL: [1, null],
  F_SEAL_SHRINK: [2, null],
  F_SEAL_GROW: [4, null],
  F_SEAL_WRITE: [8, null],
  F_SEAL_FUTURE_WRITE: [16, null, "since Linux 5.1"],
});
