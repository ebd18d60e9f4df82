// Socket constants and layouts: sys/socket.h, sys/un.h and their kin.

import { constants, layout } from "./table.ts";

const socketHeaders = ["sys/types.h", "sys/socket.h"] as const;

export const socket = constants(socketHeaders, {
  AF_UNSPEC: [0, 0],
  AF_UNIX: [1, 1],
  AF_INET: [2, 2],
  AF_NETLINK: [16, null],
  AF_INET6: [10, 30],
  SOCK_STREAM: [1, 1],
  SOCK_DGRAM: [2, 2],
  SOCK_SEQPACKET: [5, 5],
  SOCK_CLOEXEC: [0o2000000, null],
  SOCK_NONBLOCK: [0o4000, null],
  SOMAXCONN: [4096, 128],
  SHUT_RD: [0, 0],
  SHUT_WR: [1, 1],
  SHUT_RDWR: [2, 2],
});

/** What is behind a socket of AF_NETLINK. */
export const protocol = constants(["linux/netlink.h"], { NETLINK_SOCK_DIAG: [4, null] });

export const option = constants(socketHeaders, {
  SOL_SOCKET: [1, 0xffff],
  SO_TYPE: [3, 0x1008],
  SO_ERROR: [4, 0x1007],
  SO_OOBINLINE: [10, 0x100],
  SO_LINGER: [13, 0x80],
  SO_SNDBUF: [7, 0x1001],
  SO_RCVBUF: [8, 0x1002],
  SO_NOSIGPIPE: [null, 0x1022],
  SO_PASSCRED: [16, null],
  SO_PEERCRED: [17, null],
  SO_TIMESTAMP: [29, null],
  SO_ACCEPTCONN: [30, 0x0002],
  SO_PEERSEC: [31, null],
  SO_PEEK_OFF: [42, null],
  SO_PASSSEC: [34, null],
  SO_PROTOCOL: [38, null],
  SO_DOMAIN: [39, null],
  SO_COOKIE: [57, null],
  SO_PEERGROUPS: [59, null],
  SO_PASSPIDFD: [76, null, "since Linux 6.5"],
  SO_PEERPIDFD: [77, null, "since Linux 6.5"],
  SO_PASSRIGHTS: [83, null, "since Linux 6.16"],
});

/** Ancillary data: the `cmsg_type` values, all at level SOL_SOCKET. */
export const scm = constants(socketHeaders, {
  SCM_RIGHTS: [1, 1],
  SCM_CREDENTIALS: [2, null, "glibc: only with _GNU_SOURCE"],
  SCM_SECURITY: [3, null, "since Linux 2.6.18, in no libc header"],
  SCM_PIDFD: [4, null, "since Linux 6.5"],
});

export const message = constants(socketHeaders, {
  MSG_PEEK: [2, 2],
  MSG_CTRUNC: [8, 0x20],
  MSG_TRUNC: [0x20, 0x10],
  MSG_DONTWAIT: [0x40, 0x80],
  MSG_NOSIGNAL: [0x4000, 0x80000],
  MSG_CMSG_CLOEXEC: [0x40000000, null],
});

/**
 * macOS: this call does not sleep for room. MSG_DONTWAIT does not say so there: it is about the
 * lock of the buffer (bsd/kern/uipc_socket.c, sosendcheck). In sys/socket_private.h, which programs
 * do not get, so O_NONBLOCK is set as well.
 */
export const MSG_NBIO = 0x20000;

/** macOS: level and options for who is at the other end. */
export const local = constants(["sys/un.h"], {
  SOL_LOCAL: [null, 0],
  LOCAL_PEERCRED: [null, 1],
  LOCAL_PEERPID: [null, 2],
  LOCAL_PEEREPID: [null, 3],
  LOCAL_PEERTOKEN: [null, 6],
});

export const auditToken = layout("audit_token_t", ["mach/message.h"], [null, 32], {
  val: [
    [null, 0],
    [null, 32],
  ],
});

/**
 * Words of an audit token. The header calls its contents opaque; the kernel fills them in this
 * order (xnu-11417, bsd/kern/kern_prot.c, kern_proc.c), and libbsm reads them so.
 */
export const auditTokenWord = { euid: 1, egid: 2, pid: 5, pidVersion: 7 } as const;

export const request = constants(["sys/ioctl.h"], {
  FIONREAD: [0x541b, 0x4004667f],
});

export const limits = constants(["limits.h", "sys/uio.h"], {
  IOV_MAX: [1024, 1024],
});

/**
 * SCM_MAX_FD of net/scm.h, which no user header exports: descriptors in one message
 * (facts: #descriptors-per-message).
 */
export const SCM_MAX_FD = 253;

export const sockaddrUn = layout("struct sockaddr_un", ["sys/socket.h", "sys/un.h"], [110, 106], {
  sun_family: [
    [0, 1],
    [2, 1],
  ],
  sun_path: [
    [2, 2],
    [108, 104],
  ],
});

export const sockaddrIn = layout("struct sockaddr_in", ["netinet/in.h"], [16, 16], {
  sin_port: [
    [2, 2],
    [2, 2],
  ],
  sin_addr: [
    [4, 4],
    [4, 4],
  ],
});

export const sockaddrIn6 = layout("struct sockaddr_in6", ["netinet/in.h"], [28, 28], {
  sin6_port: [
    [2, 2],
    [2, 2],
  ],
  sin6_addr: [
    [8, 8],
    [16, 16],
  ],
});

export const msghdr = layout("struct msghdr", socketHeaders, [56, 48], {
  msg_name: [
    [0, 0],
    [8, 8],
  ],
  msg_namelen: [
    [8, 8],
    [4, 4],
  ],
  msg_iov: [
    [16, 16],
    [8, 8],
  ],
  msg_iovlen: [
    [24, 24],
    [8, 4],
  ],
  msg_control: [
    [32, 32],
    [8, 8],
  ],
  msg_controllen: [
    [40, 40],
    [8, 4],
  ],
  msg_flags: [
    [48, 44],
    [4, 4],
  ],
});

export const mmsghdr = layout("struct mmsghdr", socketHeaders, [64, null], {
  msg_len: [
    [56, null],
    [4, null],
  ],
});

export const iovec = layout("struct iovec", ["sys/uio.h"], [16, 16], {
  iov_base: [
    [0, 0],
    [8, 8],
  ],
  iov_len: [
    [8, 8],
    [8, 8],
  ],
});

export const cmsghdr = layout("struct cmsghdr", socketHeaders, [16, 12], {
  cmsg_len: [
    [0, 0],
    [8, 4],
  ],
  cmsg_level: [
    [8, 4],
    [4, 4],
  ],
  cmsg_type: [
    [12, 8],
    [4, 4],
  ],
});

/** Bytes that control data is aligned to: CMSG_ALIGN's unit. */
export const cmsgAlign = constants(["sys/socket.h"], {
  "CMSG_SPACE(1) - CMSG_SPACE(0)": [8, 4],
})["CMSG_SPACE(1) - CMSG_SPACE(0)"];

export const ucred = layout("struct ucred", socketHeaders, [12, null], {
  pid: [
    [0, null],
    [4, null],
  ],
  uid: [
    [4, null],
    [4, null],
  ],
  gid: [
    [8, null],
    [4, null],
  ],
});

export const xucred = layout("struct xucred", ["sys/ucred.h"], [null, 76], {
  cr_version: [
    [null, 0],
    [null, 4],
  ],
  cr_uid: [
    [null, 4],
    [null, 4],
  ],
  cr_ngroups: [
    [null, 8],
    [null, 2],
  ],
  cr_groups: [
    [null, 12],
    [null, 64],
  ],
});
