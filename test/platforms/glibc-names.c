// For test/platforms/setup.sh: the names of glibc that its C++ libraries use and musl lacks.
#include <locale.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/random.h>
#include <time.h>

char __libc_single_threaded = 0;

struct {
  unsigned vendor, type, subtype, features[1];
} __cpu_model;

int __cpu_indicator_init(void) { return 0; }

int _dl_find_object(void *address, void *result) {
  (void)address, (void)result;
  return -1;
}

int __cxa_thread_atexit_impl(void (*destroy)(void *), void *object, void *library) {
  (void)destroy, (void)object, (void)library;
  return 0;
}

size_t __strftime_l(char *to, size_t room, const char *format, const struct tm *when,
                    locale_t locale) {
  return strftime_l(to, room, format, when, locale);
}

uint32_t arc4random(void) {
  uint32_t word;
  getrandom(&word, sizeof word, 0);
  return word;
}
