// errno, which is Darwin's here, and signals' numbers.
#include "darwin.h"
#include <stdio.h>
#include <stdlib.h>

static __thread int darwin_errno;

EXPORT int *d_error(void) __asm__("__error");
int *d_error(void) { return &darwin_errno; }

// Linux's errno, and Darwin's; what is not here is the same number on both.
static const unsigned char errnos[][2] = {
    {EAGAIN, 35},       {EDEADLK, 11},       {ENAMETOOLONG, 63},  {ENOLCK, 77},
    {ENOSYS, 78},       {ENOTEMPTY, 66},     {ELOOP, 62},         {ENODATA, 96},
    {EPROTO, 100},      {EBADMSG, 94},       {EOVERFLOW, 84},     {EUSERS, 68},
    {ENOTSOCK, 38},     {EDESTADDRREQ, 39},  {EMSGSIZE, 40},      {EPROTOTYPE, 41},
    {ENOPROTOOPT, 42},  {EPROTONOSUPPORT, 43}, {ESOCKTNOSUPPORT, 44}, {EOPNOTSUPP, 102},
    {EAFNOSUPPORT, 47}, {EADDRINUSE, 48},    {EADDRNOTAVAIL, 49}, {ENETDOWN, 50},
    {ECONNABORTED, 53}, {ECONNRESET, 54},    {ENOBUFS, 55},       {EISCONN, 56},
    {ENOTCONN, 57},     {ESHUTDOWN, 58},     {ETOOMANYREFS, 59},  {ETIMEDOUT, 60},
    {ECONNREFUSED, 61}, {EALREADY, 37},      {EINPROGRESS, 36},   {ESTALE, 70},
    {ECANCELED, 89},
};

static int to_darwin(int number) {
  for (size_t i = 0; i < sizeof errnos / sizeof *errnos; i++)
    if (errnos[i][0] == number) return errnos[i][1];
  return number;
}

long done(long result) {
  if (result < 0) darwin_errno = to_darwin(errno);
  return result;
}

int refuse(int number) {
  darwin_errno = number;
  return -1;
}

void broken(const char *what) {
  fprintf(stderr, "test/darwin/shim: %s\n", what);
  abort();
}

// Darwin's number, and Linux's.
static const unsigned char signals[][2] = {
    {7, 0},   {10, 7},  {12, 31}, {16, 23}, {17, 19}, {18, 20}, {19, 18},
    {20, 17}, {23, 29}, {29, 0},  {30, 10}, {31, 12},
};

int signal_to_linux(int darwin) {
  for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
    if (signals[i][0] == darwin) return signals[i][1];
  return darwin;
}

int signal_to_darwin(int number) {
  for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
    if (signals[i][1] == number) return signals[i][0];
  return number;
}
