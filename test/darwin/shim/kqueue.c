// kqueue over epoll: a kqueue is an epoll set with two others in it, one for each direction, so that
// whoever polls it sees both.
#include "darwin.h"
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>

struct d_kevent {
  uint64_t ident;
  int16_t filter;
  uint16_t flags;
  uint32_t fflags;
  int64_t data;
  uint64_t udata;
};
_Static_assert(sizeof(struct d_kevent) == 32, "kevent");

#define DIRECTIONS 2
#define SETS 3
#define PROCESSES 2 // the set of those
#define MAX_PROCESSES 256
#define MAX_KQUEUES 64
#define MAX_FDS 65536
#define PIPEFS 0x50495045

struct note {
  uint64_t udata;
  uint8_t used, fifo;
};
struct queue {
  int fd, sets[SETS];
  struct note *notes[DIRECTIONS];
};
// A process that a kqueue watches for its end; queue is null where the place is free.
struct watched {
  struct queue *queue;
  int pid, pidfd;
  uint32_t asked;
  uint64_t udata;
};
static struct watched processes[MAX_PROCESSES];
static struct queue queues[MAX_KQUEUES];
static int queue_count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

EXPORT int d_kqueue(void) __asm__("kqueue");
int d_kqueue(void) {
  pthread_mutex_lock(&lock);
  struct queue *made = NULL;
  for (int i = 0; i < queue_count && made == NULL; i++)
    if (queues[i].fd < 0) made = &queues[i];
  if (made == NULL && queue_count < MAX_KQUEUES) made = &queues[queue_count++];
  if (made == NULL) broken("kqueue: too many");
  made->fd = done(epoll_create1(0));
  for (int i = 0; made->fd >= 0 && i < SETS; i++) {
    made->sets[i] = epoll_create1(EPOLL_CLOEXEC);
    if (i < DIRECTIONS && made->notes[i] == NULL) made->notes[i] = calloc(MAX_FDS, sizeof(struct note));
    struct epoll_event event = {EPOLLIN, {.u64 = i}};
    epoll_ctl(made->fd, EPOLL_CTL_ADD, made->sets[i], &event);
  }
  int fd = made->fd;
  pthread_mutex_unlock(&lock);
  return fd;
}

static struct queue *find(int fd) {
  for (int i = 0; i < queue_count; i++)
    if (queues[i].fd == fd) return &queues[i];
  return NULL;
}

static void watch_no_more(struct watched *one) {
  close(one->pidfd);
  one->queue = NULL;
}

// A closed number is in no kqueue any more, whatever else has its file open.
void kqueue_forgets(int fd) {
  if (fd < 0 || fd >= MAX_FDS) return;
  pthread_mutex_lock(&lock);
  for (int i = 0; i < queue_count; i++) {
    struct queue *queue = &queues[i];
    if (queue->fd < 0) continue;
    for (int k = 0; k < DIRECTIONS; k++) {
      if (queue->notes[k][fd].used) epoll_ctl(queue->sets[k], EPOLL_CTL_DEL, fd, NULL);
      queue->notes[k][fd].used = 0;
      if (queue->fd == fd) {
        close(queue->sets[k]);
        memset(queue->notes[k], 0, MAX_FDS * sizeof(struct note));
      }
    }
    if (queue->fd != fd) continue;
    for (int p = 0; p < MAX_PROCESSES; p++)
      if (processes[p].queue == queue) watch_no_more(&processes[p]);
    close(queue->sets[PROCESSES]);
    queue->fd = -1;
  }
  pthread_mutex_unlock(&lock);
}

int is_named_fifo(int fd) {
  struct stat about;
  struct statfs where;
  return fstat(fd, &about) == 0 && S_ISFIFO(about.st_mode) && fstatfs(fd, &where) == 0 &&
         where.f_type != PIPEFS;
}

static int is_datagram(int fd) {
  int type = 0;
  socklen_t bytes = sizeof type;
  return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &bytes) == 0 && type == SOCK_DGRAM;
}

// EVFILT_PROC, of which only the end is asked for. A zombie is nobody's process there.
static int watch_process(struct queue *queue, const struct d_kevent *change) {
  char state;
  if (!(change->flags & D_EV_ADD) || !(change->fflags & D_NOTE_EXIT)) return D_EINVAL;
  if (!process_stat(change->ident, &state, NULL, 0) || state == 'Z') return D_ESRCH;
  // how it ends is told to its parent, and to who may signal it
  if (change->fflags & D_NOTE_EXITSTATUS && syscall(SYS_kill, change->ident, 0) < 0)
    return errno == EPERM ? D_EACCES : D_ESRCH;
  struct watched *one = NULL;
  for (int i = 0; i < MAX_PROCESSES && one == NULL; i++)
    if (processes[i].queue == NULL) one = &processes[i];
  if (one == NULL) broken("kqueue: too many processes");
  int pidfd = syscall(SYS_pidfd_open, (int)change->ident, 0);
  if (pidfd < 0) return D_ESRCH;
  *one = (struct watched){queue, change->ident, pidfd, change->fflags, change->udata};
  struct epoll_event event = {EPOLLIN | EPOLLET, {.u64 = one - processes}};
  epoll_ctl(queue->sets[PROCESSES], EPOLL_CTL_ADD, pidfd, &event);
  return 0;
}

// Its wait status: of a zombie in /proc, of one that was waited for in what its pidfd keeps.
static int ending_of(const struct watched *one) {
  enum { EXIT_CODE = 48, PIDFD_INFO_EXIT = 8 };
  long long fields[EXIT_CODE + 1];
  char state;
  if (process_stat(one->pid, &state, fields, EXIT_CODE + 1) == EXIT_CODE + 1 && state == 'Z')
    return fields[EXIT_CODE];
  struct {
    uint64_t mask;
    uint32_t rest[13];
    int32_t exit_code;
  } info = {.mask = PIDFD_INFO_EXIT};
  return ioctl(one->pidfd, 0xc040ff0bUL, &info) == 0 ? info.exit_code : 0;
}

static int take_processes(struct queue *queue, struct d_kevent *to, int room) {
  struct epoll_event found[16];
  int count = room > 0 ? epoll_wait(queue->sets[PROCESSES], found, room < 16 ? room : 16, 0) : 0;
  for (int i = 0; i < count; i++) {
    struct watched *one = &processes[found[i].data.u64];
    int told = one->asked & D_NOTE_EXITSTATUS;
    to[i] = (struct d_kevent){
        .ident = one->pid,
        .filter = D_EVFILT_PROC,
        .flags = D_EV_CLEAR | D_EV_EOF | D_EV_ONESHOT,
        .fflags = D_NOTE_EXIT | told,
        .data = told ? ending_of(one) : 0,
        .udata = one->udata,
    };
    watch_no_more(one);
  }
  return count < 0 ? 0 : count;
}

// Darwin's errno, 0 if it is done.
static int apply(struct queue *queue, const struct d_kevent *change) {
  if (change->filter == D_EVFILT_PROC) return watch_process(queue, change);
  int direction = change->filter == D_EVFILT_READ ? 0 : change->filter == D_EVFILT_WRITE ? 1 : -1;
  if (direction < 0) return D_EINVAL;
  int fd = change->ident;
  if (fd < 0 || fd >= MAX_FDS || fcntl(fd, F_GETFD) < 0) return D_EBADF;
  struct note *note = &queue->notes[direction][fd];
  int set = queue->sets[direction];
  if (change->flags & D_EV_DELETE) {
    if (!note->used) return D_ENOENT;
    note->used = 0;
    epoll_ctl(set, EPOLL_CTL_DEL, fd, NULL);
    return 0;
  }
  if (!(change->flags & D_EV_ADD)) return note->used ? 0 : D_ENOENT;
  struct epoll_event event = {direction == 0 ? EPOLLIN | EPOLLRDHUP | EPOLLPRI : EPOLLOUT,
                              {.u64 = fd}};
  if (change->flags & D_EV_CLEAR) event.events |= EPOLLET;
  // a datagram socket is writable, whatever becomes of what it sends: that is said once
  if (direction == 1 && is_datagram(fd)) event.events |= EPOLLONESHOT;
  if (epoll_ctl(set, note->used ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event) < 0) {
    // it was closed behind our back: what is known is of an earlier file
    if (errno != ENOENT || epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) < 0) return D_EINVAL;
  }
  *note = (struct note){change->udata, 1, is_named_fifo(fd)};
  return 0;
}

// One direction's events, at most `room` of them.
static int take(struct queue *queue, int direction, struct d_kevent *to, int room) {
  struct epoll_event found[256];
  int count = room > 0 ? epoll_wait(queue->sets[direction], found, room < 256 ? room : 256, 0) : 0;
  int made = 0;
  for (int i = 0; i < count; i++) {
    int fd = found[i].data.u64;
    struct note *note = &queue->notes[direction][fd];
    unsigned events = found[i].events;
    // nothing is said of the last writer of a FIFO
    if (!note->used || (note->fifo && direction == 0 && !(events & EPOLLIN))) continue;
    int end = direction == 0 ? events & (EPOLLRDHUP | EPOLLHUP) : events & (EPOLLERR | EPOLLHUP);
    int bytes = 1;
    if (direction == 0 && ioctl(fd, FIONREAD, &bytes) < 0) bytes = 1;
    to[made++] = (struct d_kevent){
        .ident = fd,
        .filter = direction == 0 ? D_EVFILT_READ : D_EVFILT_WRITE,
        .flags = D_EV_CLEAR | (end && !note->fifo ? D_EV_EOF : 0),
        .data = bytes,
        .udata = note->udata,
    };
  }
  return made;
}

EXPORT int d_kevent(int fd, const struct d_kevent *changes, int change_count, struct d_kevent *to,
                    int room, const struct timespec *timeout) __asm__("kevent");
int d_kevent(int fd, const struct d_kevent *changes, int change_count, struct d_kevent *to,
             int room, const struct timespec *timeout) {
  pthread_mutex_lock(&lock);
  struct queue *queue = find(fd);
  int made = 0, failed = queue == NULL ? D_EBADF : 0;
  for (int i = 0; i < change_count && failed == 0; i++) {
    int error = apply(queue, &changes[i]);
    if (error == 0 && !(changes[i].flags & D_EV_RECEIPT)) continue;
    if (made < room) {
      to[made] = changes[i];
      to[made].flags |= D_EV_ERROR;
      to[made++].data = error;
    } else failed = error;
  }
  pthread_mutex_unlock(&lock);
  if (failed) return refuse(failed);
  if (room == 0 || made > 0) return made;
  for (int again = 0; again < 2; again++) {
    pthread_mutex_lock(&lock);
    made = take(queue, 0, to, room);
    made += take(queue, 1, to + made, room - made);
    made += take_processes(queue, to + made, room - made);
    pthread_mutex_unlock(&lock);
    int waits = timeout == NULL || timeout->tv_sec > 0 || timeout->tv_nsec > 0;
    if (made > 0 || !waits || again) break;
    struct pollfd polled = {fd, POLLIN, 0};
    if (ppoll(&polled, 1, timeout, NULL) < 0) return done(-1);
  }
  return made;
}
