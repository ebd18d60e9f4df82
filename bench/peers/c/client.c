/* The client of the benchmarks: one program drives every server.
 *
 *   client trip PATH COUNT WARM       64 bytes there and back: median and p99 in ns
 *   client crowd PATH CONNS COUNT     CONNS round trips at a time, COUNT in all, after as many to
 *                                     warm up: messages/s
 *   client echo PATH SIZE COUNT       SIZE bytes there and back: round trips/s
 *   client flow PATH SIZE TOTAL       TOTAL bytes one way in writes of SIZE, twice: bytes/s of the
 *                                     second time; the server answers one byte when it has all
 *   client knock PATH COUNT           connect, wait until the server closes, COUNT times after as
 *                                     many to warm up: connections/s
 *   client beside PATH COUNT N...     round trips beside N idle connections, then beside more of
 *                                     them. For each N: waits for a line of input, opens them,
 *                                     prints "open", waits for a line, prints median and p99
 *   client http PATH CONNS COUNT KEEP GETs, CONNS at a time, COUNT in all: requests/s; KEEP 0: each
 *                                     on a connection of its own
 *   client touch PATH COUNT           connect and close at once, then one GET, which comes behind
 *                                     them all: connections/s */
#include "common.h"

enum { AT_ONCE = 64 };

static void time_trips(int fd, long count) {
  long *took = malloc(count * sizeof *took);
  for (long i = 0; i < count; i++) {
    long begin = now();
    round_trip(fd);
    took[i] = now() - begin;
  }
  print_percentiles(took, count);
  fflush(stdout);
  free(took);
}

static void trip(const char *path, long count, long warm) {
  int fd = connect_to(path);
  for (long i = 0; i < warm; i++) round_trip(fd);
  time_trips(fd, count);
}

static void echo(const char *path, long size, long count) {
  int fd = connect_to(path);
  char *bytes = calloc(1, size);
  long begin = now();
  for (long i = -count / 2; i < count; i++) {
    if (i == 0) begin = now();
    send_all(fd, bytes, size);
    receive_all(fd, bytes, size);
  }
  printf("%.0f\n", count * 1e9 / (now() - begin));
}

static void run_crowd(int epoll, int conns, const int *fds, long count) {
  static char bytes[SIZE];
  long sent = 0, done = 0;
  for (; sent < conns && sent < count; sent++) send_all(fds[sent], bytes, SIZE);
  while (done < count) {
    struct epoll_event events[EVENTS];
    int ready = epoll_wait(epoll, events, EVENTS, -1);
    for (int i = 0; i < ready; i++) {
      receive_all(events[i].data.fd, bytes, SIZE);
      done++;
      if (sent++ < count) send_all(events[i].data.fd, bytes, SIZE);
    }
  }
}

static void crowd(const char *path, int conns, long count) {
  int epoll = epoll_create1(EPOLL_CLOEXEC), *fds = malloc(conns * sizeof *fds);
  for (int i = 0; i < conns; i++) {
    fds[i] = connect_to(path);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fds[i]};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fds[i], &event)) fail("epoll_ctl");
  }
  run_crowd(epoll, conns, fds, count);
  long begin = now();
  run_crowd(epoll, conns, fds, count);
  printf("%.0f\n", count * 1e9 / (now() - begin));
}

static void flow(const char *path, long size, long total) {
  int fd = connect_to(path);
  char *bytes = calloc(1, size), answer;
  for (int i = 0; i < 2; i++) {
    long begin = now();
    for (long sent = 0; sent < total; sent += size) send_all(fd, bytes, size);
    receive_all(fd, &answer, 1);
    if (i == 1) printf("%.0f\n", total * 1e9 / (now() - begin));
  }
}

static void knock_all(const char *path, long count) {
  int fds[AT_ONCE];
  char byte;
  for (long done = 0; done < count; done += AT_ONCE) {
    for (int i = 0; i < AT_ONCE; i++) fds[i] = connect_to(path);
    for (int i = 0; i < AT_ONCE; i++) {
      if (recv(fds[i], &byte, 1, 0) > 0) exit(3);
      close(fds[i]);
    }
  }
}

static void knock(const char *path, long count) {
  knock_all(path, count);
  long begin = now();
  knock_all(path, count);
  printf("%.0f\n", count * 1e9 / (now() - begin));
}

static void await_line(void) {
  char line[SIZE];
  if (fgets(line, sizeof line, stdin) == NULL) exit(0);
}

/* Steps are numbers of idle connections, each at least as many as the one before. */
static void beside(const char *path, long count, int steps, char **step) {
  int fd = connect_to(path);
  for (long warm = 0; warm < 10 * count; warm++) round_trip(fd);
  for (int i = 0, open = 0; i < steps; i++) {
    await_line();
    for (; open < atoi(step[i]); open++) round_trip(connect_to(path));
    for (long warm = 0; warm < count / 4; warm++) round_trip(fd);
    puts("open");
    fflush(stdout);
    await_line();
    time_trips(fd, count);
  }
  await_line();
}

enum { ROOM = 4096 };
struct answer { int fd; long got; char bytes[ROOM]; };

static const char *const gets[] = {
  "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
  "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
};

/* Whether the answer is whole: a length is all that these servers send. */
static int is_whole(struct answer *a) {
  a->bytes[a->got] = 0;
  char *end = strstr(a->bytes, "\r\n\r\n"), *length = strcasestr(a->bytes, "\r\nContent-Length:");
  if (end == NULL) return 0;
  if (strncmp(a->bytes, "HTTP/1.1 200", 12) || length == NULL || length > end) exit(4);
  return a->got - (end + 4 - a->bytes) >= atol(length + 17);
}

static void ask(int epoll, const char *path, struct answer *a, int keep) {
  if (a->fd < 0) {
    a->fd = connect_to(path);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = a};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, a->fd, &event)) fail("epoll_ctl");
  }
  a->got = 0;
  send_all(a->fd, gets[keep], strlen(gets[keep]));
}

static void run_http(int epoll, const char *path, struct answer *all, const long how[3]) {
  long conns = how[0], count = how[1], keep = how[2], sent = 0, done = 0;
  for (; sent < conns && sent < count; sent++) ask(epoll, path, &all[sent], keep);
  while (done < count) {
    struct epoll_event events[EVENTS];
    int ready = epoll_wait(epoll, events, EVENTS, -1);
    for (int i = 0; i < ready; i++) {
      struct answer *a = events[i].data.ptr;
      ssize_t n = recv(a->fd, a->bytes + a->got, ROOM - 1 - a->got, 0);
      if (n < 0 || (n == 0 && keep)) fail("recv");
      a->got += n;
      if (keep ? !is_whole(a) : n != 0) continue;
      if (!is_whole(a)) exit(5);
      if (!keep) close(a->fd), a->fd = -1;
      done++;
      if (sent++ < count) ask(epoll, path, a, keep);
    }
  }
}

static void http(const char *path, long conns, long count, long keep) {
  int epoll = epoll_create1(EPOLL_CLOEXEC);
  struct answer *all = calloc(conns, sizeof *all);
  for (long i = 0; i < conns; i++) all[i].fd = -1;
  run_http(epoll, path, all, (long[]){conns, count / 2, keep});
  long begin = now();
  run_http(epoll, path, all, (long[]){conns, count, keep});
  printf("%.0f\n", count * 1e9 / (now() - begin));
}

static void touch(const char *path, long count) {
  long begin = 0;
  for (int i = 0; i < 2; i++) {
    if (i == 1) begin = now();
    for (long done = 0; done < (i == 0 ? count / 2 : count); done++) close(connect_to(path));
    struct answer one = {.fd = -1};
    run_http(epoll_create1(EPOLL_CLOEXEC), path, &one, (long[]){1, 1, 0});
  }
  printf("%.0f\n", count * 1e9 / (now() - begin));
}

int main(int argc, char **argv) {
  if (argc < 4) return 64;
  const char *mode = argv[1], *path = argv[2];
  long a = atol(argv[3]), b = argc > 4 ? atol(argv[4]) : 0;
  if (strcmp(mode, "trip") == 0) trip(path, a, b);
  else if (strcmp(mode, "crowd") == 0) crowd(path, a, b);
  else if (strcmp(mode, "echo") == 0) echo(path, a, b);
  else if (strcmp(mode, "flow") == 0) flow(path, a, b);
  else if (strcmp(mode, "knock") == 0) knock(path, a);
  else if (strcmp(mode, "beside") == 0) beside(path, a, argc - 4, argv + 4);
  else if (strcmp(mode, "http") == 0) http(path, a, b, argc > 5 ? atol(argv[5]) : 1);
  else if (strcmp(mode, "touch") == 0) touch(path, a);
  else return 64;
  return 0;
}
