// The signal handler: the one thing that JavaScript cannot do, because a handler runs on whichever
// thread the kernel picks, at any moment. Compiled in memory (src/syscalls/signal-handler.ts)
// without headers or libc; it calls only functions that POSIX lets a handler call, and those come
// in as pointers.

typedef unsigned long size_t;
typedef long ssize_t;
struct time { long seconds, nanoseconds; };

/* What is written for each signal: when, and of siginfo_t the part that all signals have. */
enum { INFO_WORDS = 4, SIGNALS = 65, MONOTONIC = 1 };
struct record { long nanoseconds; long info[INFO_WORDS]; };

/* Room for a sem_t of any libc. A semaphore is a counter that may be raised from a handler. */
struct counter { long words[8]; };

static ssize_t (*put)(int, const void *, size_t);
static int *(*error_location)(void);
static int (*get_time)(int, struct time *);
static int (*raise_counter)(struct counter *);
static int (*get_counter)(struct counter *, int *);

static volatile int target = -1;
static struct counter begun, ended, lost_counters[SIGNALS];

static long now(void) {
  struct time time;
  get_time(MONOTONIC, &time);
  return time.seconds * 1000000000 + time.nanoseconds;
}

static void handle(int number, long *info, void *context) {
  int *error = error_location();
  int saved = *error;
  raise_counter(&begun);
  int fd = target;
  struct record record;
  record.nanoseconds = now();
  for (int i = 0; i < INFO_WORDS; i++) record.info[i] = info[i];
  if (fd < 0 || put(fd, &record, sizeof record) != (ssize_t)sizeof record)
    raise_counter(&lost_counters[number]);
  raise_counter(&ended);
  *error = saved;
}

static int value(struct counter *counter) {
  int value = 0;
  get_counter(counter, &value);
  return value;
}

void configure(void *write, void *errno_location, void *clock_gettime) {
  put = write;
  error_location = errno_location;
  get_time = clock_gettime;
}

void configure_counters(void *sem_init, void *sem_post, void *sem_getvalue) {
  int (*init)(struct counter *, int, unsigned) = sem_init;
  raise_counter = sem_post;
  get_counter = sem_getvalue;
  init(&begun, 0, 0);
  init(&ended, 0, 0);
  for (int i = 0; i < SIGNALS; i++) init(&lost_counters[i], 0, 0);
}

/* Where records go from now on; -1: nowhere, they are lost. */
void aim(int fd) { target = fd; }

void *handler(void) { return (void *)handle; }

/* How many signals of this number found no room. */
int lost(int number) { return value(&lost_counters[number]); }

/* How many handlers may be at work. The ended ones are counted first: never too few. */
int at_work(void) {
  int done = value(&ended);
  return value(&begun) - done;
}

double milliseconds(void) { return now() / 1e6; }
