// Sockets: addresses, options, who is at the other end.
#include "darwin.h"
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>

#define PATH_ROOM 104

// sockaddr_un: a length and a family of one byte each. Bytes of Linux's, or −1.
int address_to_linux(const unsigned char *from, unsigned length, unsigned char *to) {
  if (length < 2 || length > 128) return -1;
  memset(to, 0, 128);
  uint16_t family = from[1] == D_AF_INET6 ? AF_INET6 : from[1];
  memcpy(to, &family, 2);
  memcpy(to + 2, from + 2, length - 2);
  if (family != AF_UNIX) return length;
  size_t bytes = strnlen((const char *)from + 2, length - 2);
  if (bytes > PATH_ROOM) return -1;
  to[2 + bytes] = 0;
  return bytes == 0 ? -1 : (int)(2 + bytes + 1);
}

// An unnamed socket's address has 16 bytes there.
unsigned address_to_darwin(const unsigned char *from, unsigned length, unsigned char *to) {
  uint16_t family = 0;
  memcpy(&family, from, 2);
  memset(to, 0, 128);
  unsigned bytes = length < 16 ? 16 : length;
  if (length > 2) memcpy(to + 2, from + 2, length - 2);
  if (family == AF_UNIX && length > 2 && from[2] != 0) bytes = length;
  to[0] = bytes;
  to[1] = family == AF_INET6 ? D_AF_INET6 : family;
  return bytes;
}

EXPORT int d_socket(int family, int type, int protocol) __asm__("socket");
int d_socket(int family, int type, int protocol) {
  if (family == D_AF_INET6) family = AF_INET6;
  if (family == AF_UNIX && type != SOCK_STREAM && type != SOCK_DGRAM)
    return refuse(D_EPROTONOSUPPORT); // no flags in the type, no SOCK_SEQPACKET
  return done(syscall(SYS_socket, family, type, protocol));
}

EXPORT int d_socketpair(int family, int type, int protocol, int ends[2]) __asm__("socketpair");
int d_socketpair(int family, int type, int protocol, int ends[2]) {
  if (type != SOCK_STREAM && type != SOCK_DGRAM) return refuse(D_EPROTONOSUPPORT);
  return done(syscall(SYS_socketpair, family, type, protocol, ends));
}

// Its status flags are the listener's there.
EXPORT int d_accept(int fd, void *name, void *bytes) __asm__("accept");
int d_accept(int fd, void *name, void *bytes) {
  if (name != NULL || bytes != NULL) broken("accept: a name was asked for");
  int flags = fcntl(fd, F_GETFL);
  return done(syscall(SYS_accept4, fd, NULL, NULL, flags & O_NONBLOCK ? SOCK_NONBLOCK : 0));
}

EXPORT int d_bind(int fd, const unsigned char *name, unsigned bytes) __asm__("bind");
int d_bind(int fd, const unsigned char *name, unsigned bytes) {
  unsigned char own[128];
  int length = address_to_linux(name, bytes, own);
  if (length < 0) return refuse(D_ENOENT);
  return done(syscall(SYS_bind, fd, own, length));
}

// A full backlog is a refusal there, not something to wait for.
EXPORT int d_connect(int fd, const unsigned char *name, unsigned bytes) __asm__("connect");
int d_connect(int fd, const unsigned char *name, unsigned bytes) {
  unsigned char own[128];
  int length = address_to_linux(name, bytes, own);
  if (length < 0) return refuse(D_ENOENT);
  long got = syscall(SYS_connect, fd, own, length);
  if (got < 0 && errno == EAGAIN) errno = ECONNREFUSED;
  return done(got);
}

EXPORT int d_listen(int fd, int backlog) __asm__("listen");
int d_listen(int fd, int backlog) { return done(syscall(SYS_listen, fd, backlog)); }

EXPORT int d_shutdown(int fd, int how) __asm__("shutdown");
int d_shutdown(int fd, int how) { return done(syscall(SYS_shutdown, fd, how)); }

static int name_of(long call, int fd, unsigned char *to, unsigned *bytes) {
  unsigned char linux_name[128], own[128];
  unsigned length = sizeof linux_name;
  if (done(syscall(call, fd, linux_name, &length)) < 0) return -1;
  unsigned made = address_to_darwin(linux_name, length, own);
  memcpy(to, own, made < *bytes ? made : *bytes);
  *bytes = made;
  return 0;
}

EXPORT int d_getsockname(int fd, unsigned char *to, unsigned *bytes) __asm__("getsockname");
int d_getsockname(int fd, unsigned char *to, unsigned *bytes) {
  return name_of(SYS_getsockname, fd, to, bytes);
}

EXPORT int d_getpeername(int fd, unsigned char *to, unsigned *bytes) __asm__("getpeername");
int d_getpeername(int fd, unsigned char *to, unsigned *bytes) {
  return name_of(SYS_getpeername, fd, to, bytes);
}

static const int options[][2] = {
    {D_SO_TYPE, SO_TYPE},     {D_SO_ERROR, SO_ERROR},   {D_SO_LINGER, SO_LINGER},
    {D_SO_SNDBUF, SO_SNDBUF}, {D_SO_RCVBUF, SO_RCVBUF}, {D_SO_ACCEPTCONN, SO_ACCEPTCONN},
};

static int option_to_linux(int darwin) {
  for (size_t i = 0; i < sizeof options / sizeof *options; i++)
    if (options[i][0] == darwin) return options[i][1];
  return -1;
}

#define MAX_FDS 65536
static unsigned char quiet[MAX_FDS]; // SO_NOSIGPIPE

int is_quiet(int fd) { return fd >= 0 && fd < MAX_FDS && quiet[fd]; }

EXPORT int d_setsockopt(int fd, int level, int which, const void *value, unsigned bytes)
    __asm__("setsockopt");
int d_setsockopt(int fd, int level, int which, const void *value, unsigned bytes) {
  int number = level == D_SOL_SOCKET ? option_to_linux(which) : -1;
  if (level == D_SOL_SOCKET && which == D_SO_NOSIGPIPE) {
    int type;
    unsigned room = sizeof type;
    if (done(syscall(SYS_getsockopt, fd, SOL_SOCKET, SO_TYPE, &type, &room)) < 0) return -1;
    if (fd < MAX_FDS) quiet[fd] = *(const int *)value != 0;
    return 0;
  }
  if (number < 0) return refuse(D_ENOPROTOOPT);
  return done(syscall(SYS_setsockopt, fd, SOL_SOCKET, number, value, bytes));
}

// struct xucred: cr_version at 0, cr_uid at 4, cr_ngroups (16 bits) at 8, cr_groups at 12.
static int peer_of(int fd, int which, unsigned char *to, unsigned *bytes) {
  struct ucred peer;
  unsigned length = sizeof peer;
  if (done(syscall(SYS_getsockopt, fd, SOL_SOCKET, SO_PEERCRED, &peer, &length)) < 0) return -1;
  if (peer.uid == (uid_t)-1) return refuse(D_ENOTCONN);
  if (which == D_LOCAL_PEERTOKEN) {
    // auid, euid, egid, ruid, rgid, pid, asid, pidversion: of who has that pid by now
    enum { STARTED = 18 };
    long long fields[STARTED + 1];
    char state;
    if (process_stat(peer.pid, &state, fields, STARTED + 1) <= STARTED || state == 'Z')
      return refuse(D_EINVAL);
    uint32_t token[8] = {peer.uid, peer.uid, peer.gid, peer.uid, peer.gid, peer.pid, 0, fields[STARTED]};
    memcpy(to, token, sizeof token);
    *bytes = sizeof token;
    return 0;
  }
  if (which != D_LOCAL_PEERCRED) {
    memcpy(to, &peer.pid, 4);
    *bytes = 4;
    return 0;
  }
  uint32_t groups[1024], said[19] = {0, peer.uid};
  length = sizeof groups;
  if (syscall(SYS_getsockopt, fd, SOL_SOCKET, SO_PEERGROUPS, groups, &length) < 0) length = 0;
  uint16_t count = 1;
  said[3] = peer.gid;
  for (unsigned i = 0; i < length / 4 && count < 16; i++)
    if (groups[i] != peer.gid) said[3 + count++] = groups[i];
  memcpy(&said[2], &count, 2);
  unsigned made = sizeof said < *bytes ? sizeof said : *bytes;
  memcpy(to, said, made);
  *bytes = made;
  return 0;
}

EXPORT int d_getsockopt(int fd, int level, int which, void *to, unsigned *bytes)
    __asm__("getsockopt");
int d_getsockopt(int fd, int level, int which, void *to, unsigned *bytes) {
  if (level == D_SOL_LOCAL && which >= D_LOCAL_PEERCRED && which <= D_LOCAL_PEERTOKEN)
    return peer_of(fd, which, to, bytes);
  int number = level == D_SOL_SOCKET ? option_to_linux(which) : -1;
  if (level == D_SOL_SOCKET && which == D_SO_NOSIGPIPE) {
    *(int *)to = is_quiet(fd);
    *bytes = 4;
    return 0;
  }
  if (number < 0) return refuse(D_ENOPROTOOPT);
  long got = done(syscall(SYS_getsockopt, fd, SOL_SOCKET, number, to, bytes));
  // Linux says twice as much, for what its own records take
  if (got == 0 && (number == SO_SNDBUF || number == SO_RCVBUF)) *(int *)to /= 2;
  return got;
}

void messages_forget(int fd);

void socket_forgets(int fd) {
  if (fd >= 0 && fd < MAX_FDS) quiet[fd] = 0;
  messages_forget(fd);
}
