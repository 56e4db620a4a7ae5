/**
 * Every watchdog of the machine, armed once the process runs: a machine whose kernel or /init hangs starts anew instead
 * of standing dark in its rack. Plane: control.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "init.h"

/* From linux/watchdog.h, which musl does not bring. */
enum { WDIOC_SETTIMEOUT_REQUEST = _IOWR('W', 6, int), WATCHDOGS_MAX = 4 };

static int watchdogs[WATCHDOGS_MAX];
static int watchdogs_count;

/* A board may have one of its own and the kernel a software one besides: the first that bites is enough. */
void watchdog_arm(void) {
  for (int index = 0; index < WATCHDOGS_MAX; index += 1) {
    char path[PATH_BYTES_MAX];
    int seconds = WATCHDOG_SECONDS;
    snprintf(path, sizeof path, "/dev/watchdog%d", index);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) continue;
    /* One that refuses this time keeps its own, which may be shorter than what we feed it: it is let go. */
    if (ioctl(fd, WDIOC_SETTIMEOUT_REQUEST, &seconds) != 0) {
      (void)!write(fd, "V", 1);
      close(fd);
      continue;
    }
    watchdogs[watchdogs_count] = fd;
    watchdogs_count += 1;
  }
  say("%d watchdogs armed, %d s", watchdogs_count, WATCHDOG_SECONDS);
}

void watchdog_feed(void) {
  for (int index = 0; index < watchdogs_count; index += 1) (void)!write(watchdogs[index], "\0", 1);
}

/* A machine that halts shows its reason for as long as somebody needs to come: 'V' is what disarms a watchdog. */
void watchdog_disarm(void) {
  for (int index = 0; index < watchdogs_count; index += 1) {
    (void)!write(watchdogs[index], "V", 1);
    close(watchdogs[index]);
  }
  watchdogs_count = 0;
}
