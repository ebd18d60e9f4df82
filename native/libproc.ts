// What macOS tells of processes: libproc.h, sys/proc_info.h.

import { constants, layout } from "./table.ts";

const headers = ["sys/types.h", "sys/proc_info.h"] as const;

/** What is asked for: lists, and facts of one process or descriptor ("flavors"). */
export const procInfo = constants(headers, {
  PROC_ALL_PIDS: [null, 1],
  PROC_PIDLISTFDS: [null, 1],
  PROC_PIDT_SHORTBSDINFO: [null, 13],
  PROC_PIDFDSOCKETINFO: [null, 3],
  PROC_PIDPATHINFO_MAXSIZE: [null, 4096],
  PROX_FDTYPE_SOCKET: [null, 2],
});

export const socketKind = constants(headers, { SOCKINFO_UN: [null, 3, "enumerator"] });

export const processStatus = constants(["sys/proc.h"], { SZOMB: [null, 5] });

export const procFdInfo = layout("struct proc_fdinfo", headers, [null, 8], {
  proc_fd: [
    [null, 0],
    [null, 4],
  ],
  proc_fdtype: [
    [null, 4],
    [null, 4],
  ],
});

/** What anybody may ask of any process. */
export const procShortInfo = layout("struct proc_bsdshortinfo", headers, [null, 64], {
  pbsi_pid: [
    [null, 0],
    [null, 4],
  ],
  pbsi_ppid: [
    [null, 4],
    [null, 4],
  ],
  pbsi_status: [
    [null, 12],
    [null, 4],
  ],
  pbsi_comm: [
    [null, 16],
    [null, 16],
  ],
  pbsi_uid: [
    [null, 36],
    [null, 4],
  ],
  pbsi_gid: [
    [null, 40],
    [null, 4],
  ],
});

export const socketFdInfo = layout("struct socket_fdinfo", headers, [null, 792], {
  "psi.soi_type": [
    [null, 176],
    [null, 4],
  ],
  "psi.soi_options": [
    [null, 188],
    [null, 2],
  ],
  "psi.soi_kind": [
    [null, 256],
    [null, 4],
  ],
  "psi.soi_proto.pri_un.unsi_conn_so": [
    [null, 264],
    [null, 8],
  ],
  "psi.soi_proto.pri_un.unsi_addr": [
    [null, 280],
    [null, 255],
  ],
});
