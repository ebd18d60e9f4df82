// Asking the kernel about sockets: netlink, sock_diag and its part for Unix sockets (sock_diag(7)).

import { constants, layout } from "./table.ts";

export const netlink = constants(["linux/netlink.h"], {
  NLM_F_REQUEST: [1, null],
  NLM_F_DUMP: [0x300, null],
  NLMSG_ERROR: [2, null],
  NLMSG_DONE: [3, null],
});

export const sockDiag = constants(["linux/sock_diag.h"], {
  SOCK_DIAG_BY_FAMILY: [20, null],
});

/** What to tell of each Unix socket. */
export const show = constants(["linux/unix_diag.h"], {
  UDIAG_SHOW_NAME: [0x01, null],
  UDIAG_SHOW_VFS: [0x02, null],
  UDIAG_SHOW_PEER: [0x04, null],
  UDIAG_SHOW_RQLEN: [0x10, null],
  UDIAG_SHOW_UID: [0x40, null, "since Linux 5.3"],
});

/** The attributes that follow a unix_diag_msg. */
export const attribute = constants(["linux/unix_diag.h"], {
  UNIX_DIAG_NAME: [0, null, "enumerator"],
  UNIX_DIAG_VFS: [1, null, "enumerator"],
  UNIX_DIAG_PEER: [2, null, "enumerator"],
  UNIX_DIAG_RQLEN: [4, null, "enumerator"],
  UNIX_DIAG_SHUTDOWN: [6, null, "enumerator"],
  UNIX_DIAG_UID: [7, null, "enumerator"],
});

/** Unix sockets borrow their states from TCP; they are never in another one. */
export const state = constants(["netinet/tcp.h"], {
  TCP_ESTABLISHED: [1, null, "enumerator"],
  TCP_LISTEN: [10, null, "enumerator"],
});

export const nlmsghdr = layout("struct nlmsghdr", ["linux/netlink.h"], [16, null], {
  nlmsg_len: [
    [0, null],
    [4, null],
  ],
  nlmsg_type: [
    [4, null],
    [2, null],
  ],
  nlmsg_flags: [
    [6, null],
    [2, null],
  ],
  nlmsg_seq: [
    [8, null],
    [4, null],
  ],
  nlmsg_pid: [
    [12, null],
    [4, null],
  ],
});

export const nlmsgerr = layout("struct nlmsgerr", ["linux/netlink.h"], [20, null], {
  error: [
    [0, null],
    [4, null],
  ],
});

export const nlattr = layout("struct nlattr", ["linux/netlink.h"], [4, null], {
  nla_len: [
    [0, null],
    [2, null],
  ],
  nla_type: [
    [2, null],
    [2, null],
  ],
});

export const unixDiagReq = layout("struct unix_diag_req", ["linux/unix_diag.h"], [24, null], {
  sdiag_family: [
    [0, null],
    [1, null],
  ],
  sdiag_protocol: [
    [1, null],
    [1, null],
  ],
  udiag_states: [
    [4, null],
    [4, null],
  ],
  udiag_ino: [
    [8, null],
    [4, null],
  ],
  udiag_show: [
    [12, null],
    [4, null],
  ],
  udiag_cookie: [
    [16, null],
    [8, null],
  ],
});

export const unixDiagMsg = layout("struct unix_diag_msg", ["linux/unix_diag.h"], [16, null], {
  udiag_family: [
    [0, null],
    [1, null],
  ],
  udiag_type: [
    [1, null],
    [1, null],
  ],
  udiag_state: [
    [2, null],
    [1, null],
  ],
  udiag_ino: [
    [4, null],
    [4, null],
  ],
});

export const unixDiagVfs = layout("struct unix_diag_vfs", ["linux/unix_diag.h"], [8, null], {
  udiag_vfs_ino: [
    [0, null],
    [4, null],
  ],
  udiag_vfs_dev: [
    [4, null],
    [4, null],
  ],
});

export const unixDiagRqlen = layout("struct unix_diag_rqlen", ["linux/unix_diag.h"], [8, null], {
  udiag_rqueue: [
    [0, null],
    [4, null],
  ],
  udiag_wqueue: [
    [4, null],
    [4, null],
  ],
});

/** The kernel's own dev_t, which sock_diag and mountinfo tell: major << 20 | minor (kdev_t.h). */
export const KERNEL_MINOR_BITS = 20;

/** /proc/net/unix: in its column `Flags` a listening socket, and the values of its column `St`. */
export const procNetUnix = constants(["linux/net.h"], {
  __SO_ACCEPTCON: [1 << 16, null],
  SS_CONNECTED: [3, null, "enumerator"],
});
