// Sending and receiving as XNU does it. What it says of would-block, of descriptors and of control
// data that is cut is in docs/facts.md, #xnu-sends, with the places in its source.
#include "darwin.h"
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>

// struct msghdr, 48 bytes.
struct d_msghdr {
  unsigned char *name;
  uint32_t name_bytes;
  struct iovec *iov;
  int32_t iov_count;
  unsigned char *control;
  uint32_t control_bytes;
  int32_t flags;
};
_Static_assert(sizeof(struct d_msghdr) == 48 && offsetof(struct d_msghdr, flags) == 44, "msghdr");

struct d_cmsghdr {
  uint32_t length;
  int32_t level, type;
};
#define MAX_RIGHTS 254

int is_quiet(int fd);

// Data that stays queued although it was taken from Linux: its descriptors found no room.
struct kept {
  int fd;
  size_t bytes;
  struct kept *next;
  unsigned char data[];
};
static struct kept *all_kept;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static struct kept *take_kept(int fd) {
  pthread_mutex_lock(&lock);
  struct kept **at = &all_kept, *found;
  while (*at != NULL && (*at)->fd != fd) at = &(*at)->next;
  found = *at;
  if (found != NULL) *at = found->next;
  pthread_mutex_unlock(&lock);
  return found;
}

void messages_forget(int fd) {
  if (all_kept != NULL) free(take_kept(fd));
}

static void keep(int fd, const struct iovec *iov, size_t bytes) {
  struct kept *made = malloc(sizeof *made + bytes);
  *made = (struct kept){fd, bytes, NULL};
  for (size_t at = 0; at < bytes; iov++) {
    size_t some = iov->iov_len < bytes - at ? iov->iov_len : bytes - at;
    memcpy(made->data + at, iov->iov_base, some);
    at += some;
  }
  pthread_mutex_lock(&lock);
  made->next = all_kept;
  all_kept = made;
  pthread_mutex_unlock(&lock);
}

// What stayed queued, into the first piece; −1 where there is nothing.
static long from_kept(int fd, const struct iovec *iov) {
  struct kept *found = all_kept == NULL ? NULL : take_kept(fd);
  if (found == NULL) return -1;
  size_t some = found->bytes < iov->iov_len ? found->bytes : iov->iov_len;
  memcpy(iov->iov_base, found->data, some);
  struct iovec rest = {found->data + some, found->bytes - some};
  if (rest.iov_len > 0) keep(fd, &rest, rest.iov_len);
  free(found);
  return some;
}

static int socket_type(int fd) {
  int type = 0;
  unsigned bytes = sizeof type;
  syscall(SYS_getsockopt, fd, SOL_SOCKET, SO_TYPE, &type, &bytes);
  return type;
}

// What a send that failed says there. MSG_DONTWAIT does not keep it from sleeping.
static long sent(long result, int fd, int flags, int with_control) {
  if (result >= 0) return result;
  if (errno == EPIPE && !(flags & D_MSG_NOSIGNAL) && !is_quiet(fd))
    broken("send: SIGPIPE, for neither MSG_NOSIGNAL nor SO_NOSIGPIPE is set");
  if (errno != EAGAIN) return done(result);
  if (socket_type(fd) == SOCK_DGRAM) return refuse(D_ENOBUFS);
  if (with_control) return refuse(D_EMSGSIZE);
  int asleep = !(flags & PRIVATE_MSG_NBIO) && !(fcntl(fd, F_GETFL) & O_NONBLOCK);
  if (asleep) broken("send: it would sleep, for neither MSG_NBIO nor O_NONBLOCK is set");
  return refuse(D_EAGAIN);
}

#define SENDING (D_MSG_DONTWAIT | D_MSG_NOSIGNAL | PRIVATE_MSG_NBIO)
#define LINUX_SENDING (MSG_DONTWAIT | MSG_NOSIGNAL)

EXPORT long d_send(int fd, const void *from, size_t bytes, int flags) __asm__("send");
long d_send(int fd, const void *from, size_t bytes, int flags) {
  if (flags & ~SENDING) broken("send: a flag that it does not know");
  return sent(syscall(SYS_sendto, fd, from, bytes, LINUX_SENDING, NULL, 0), fd, flags, 0);
}

// Exactly one SCM_RIGHTS, and nothing behind it. How many descriptors, or −1.
static int rights_of(const struct d_msghdr *message) {
  struct d_cmsghdr header;
  if (message->control_bytes < sizeof header) return -1;
  memcpy(&header, message->control, sizeof header);
  if (header.length != message->control_bytes) return -1;
  if (header.level != D_SOL_SOCKET || header.type != D_SCM_RIGHTS) return -1;
  unsigned count = (header.length - sizeof header) / 4;
  return count > MAX_RIGHTS ? -1 : (int)count;
}

EXPORT long d_sendmsg(int fd, const struct d_msghdr *message, int flags) __asm__("sendmsg");
long d_sendmsg(int fd, const struct d_msghdr *message, int flags) {
  if (flags & ~SENDING) broken("sendmsg: a flag that it does not know");
  unsigned char name[128], control[CMSG_SPACE(4 * MAX_RIGHTS)] __attribute__((aligned(8)));
  struct msghdr own = {.msg_iov = message->iov, .msg_iovlen = message->iov_count};
  if (message->name_bytes > 0) {
    int length = address_to_linux(message->name, message->name_bytes, name);
    if (length < 0) return refuse(D_ENOENT);
    own.msg_name = name;
    own.msg_namelen = length;
  }
  int with_control = message->control_bytes > 0;
  if (with_control) {
    int count = rights_of(message);
    if (count < 0) return refuse(D_EINVAL);
    own.msg_control = control;
    own.msg_controllen = CMSG_SPACE(4 * count);
    struct cmsghdr *header = CMSG_FIRSTHDR(&own);
    *header = (struct cmsghdr){CMSG_LEN(4 * count), SOL_SOCKET, SCM_RIGHTS};
    memcpy(CMSG_DATA(header), message->control + sizeof(struct d_cmsghdr), 4 * count);
  }
  return sent(syscall(SYS_sendmsg, fd, &own, LINUX_SENDING), fd, flags, with_control);
}

#define RECEIVING (D_MSG_PEEK | D_MSG_DONTWAIT | PRIVATE_MSG_NBIO)

static int receiving(int flags) {
  if (flags & ~RECEIVING) broken("recv: a flag that it does not know");
  return (flags & D_MSG_PEEK ? MSG_PEEK : 0) |
         (flags & (D_MSG_DONTWAIT | PRIVATE_MSG_NBIO) ? MSG_DONTWAIT : 0);
}

EXPORT long d_recv(int fd, void *to, size_t bytes, int flags) __asm__("recv");
long d_recv(int fd, void *to, size_t bytes, int flags) {
  struct iovec iov = {to, bytes};
  long kept = from_kept(fd, &iov);
  if (kept >= 0) return kept;
  return done(syscall(SYS_recvfrom, fd, to, bytes, receiving(flags), NULL, NULL));
}

static int fds_in(struct msghdr *own, int *fds) {
  int count = 0;
  for (struct cmsghdr *at = CMSG_FIRSTHDR(own); at != NULL; at = CMSG_NXTHDR(own, at)) {
    if (at->cmsg_level != SOL_SOCKET || at->cmsg_type != SCM_RIGHTS) continue;
    int some = (at->cmsg_len - CMSG_LEN(0)) / 4;
    memcpy(fds + count, CMSG_DATA(at), 4 * some);
    count += some;
  }
  return count;
}

// All of them are open by now; then the control data is cut, and its length stays what it was.
static void deliver(struct d_msghdr *message, const int *fds, int count) {
  unsigned char made[sizeof(struct d_cmsghdr) + 4 * MAX_RIGHTS];
  struct d_cmsghdr header = {sizeof header + 4 * count, D_SOL_SOCKET, D_SCM_RIGHTS};
  memcpy(made, &header, sizeof header);
  memcpy(made + sizeof header, fds, 4 * count);
  uint32_t bytes = count == 0 ? 0 : header.length;
  if (bytes > message->control_bytes) {
    bytes = message->control_bytes;
    message->flags |= D_MSG_CTRUNC;
  }
  memcpy(message->control, made, bytes);
  message->control_bytes = bytes;
}

EXPORT long d_recvmsg(int fd, struct d_msghdr *message, int flags) __asm__("recvmsg");
long d_recvmsg(int fd, struct d_msghdr *message, int flags) {
  unsigned char name[128], control[4096] __attribute__((aligned(8)));
  int asked = receiving(flags), fds[MAX_RIGHTS];
  long kept = from_kept(fd, message->iov);
  if (kept >= 0) {
    message->control_bytes = message->name_bytes = message->flags = 0;
    return kept;
  }
  struct msghdr own = {
      .msg_iov = message->iov,
      .msg_iovlen = message->iov_count,
      .msg_name = message->name_bytes > 0 ? name : NULL,
      .msg_namelen = message->name_bytes > 0 ? sizeof name : 0,
      // a look opens nothing
      .msg_control = asked & MSG_PEEK ? NULL : control,
      .msg_controllen = asked & MSG_PEEK ? 0 : sizeof control,
  };
  long got = done(syscall(SYS_recvmsg, fd, &own, asked));
  if (got < 0) return got;
  int count = own.msg_control == NULL ? 0 : fds_in(&own, fds);
  if (own.msg_control != NULL && own.msg_flags & MSG_CTRUNC) {
    // no room in the table of descriptors: all of them are gone, and the data stays
    for (int i = 0; i < count; i++) syscall(SYS_close, fds[i]);
    keep(fd, message->iov, got);
    return refuse(D_EMSGSIZE);
  }
  message->flags = (own.msg_flags & MSG_TRUNC ? D_MSG_TRUNC : 0) |
                   (own.msg_flags & MSG_CTRUNC ? D_MSG_CTRUNC : 0);
  if (message->name_bytes > 0) {
    unsigned char said[128];
    unsigned bytes = own.msg_namelen == 0 ? 0 : address_to_darwin(name, own.msg_namelen, said);
    memcpy(message->name, said, bytes);
    message->name_bytes = bytes;
  }
  deliver(message, fds, count);
  return got;
}
