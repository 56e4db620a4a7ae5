/** Small files, the clock and chance: the few things of the C library that every duty needs. Plane: control. */
#include <fcntl.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "init.h"

#ifndef GRND_INSECURE
#define GRND_INSECURE 4
#endif

/* Reads at most size - 1 bytes and ends them with a NUL; the number of bytes, or -1. */
int read_text(const char *path, char *text, size_t size) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  size_t have = 0;
  while (have < size - 1) {
    ssize_t got = read(fd, text + have, size - 1 - have);
    if (got <= 0) break;
    have += (size_t)got;
  }
  close(fd);
  text[have] = 0;
  return (int)have;
}

int write_text(const char *path, const char *text) {
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) return -1;
  size_t bytes = 0;
  while (text[bytes] != 0) bytes += 1;
  ssize_t wrote = write(fd, text, bytes);
  close(fd);
  return wrote == (ssize_t)bytes ? 0 : -1;
}

int64_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_BOOTTIME, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void sleep_ms(int ms) {
  struct timespec pause = {ms / 1000, (long)(ms % 1000) * 1000000};
  nanosleep(&pause, NULL);
}

/* For jitter and transaction ids only, so it must not wait for the pool to be ready. */
uint32_t random_u32(void) {
  uint32_t value = (uint32_t)now_ms();
  if (getrandom(&value, sizeof value, GRND_INSECURE) != sizeof value) return (uint32_t)now_ms();
  return value;
}
