/** Prints for whoever stands before the machine: through /dev/kmsg, so that every console gets it. Plane: control. */
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "init.h"

static int kmsg = -1;

/* Called once /dev is mounted. */
void say_open(void) {
  kmsg = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
  /* The kernel drops lines of a user process after ten in five seconds unless told otherwise. */
  write_text("/proc/sys/kernel/printk_devkmsg", "on\n");
}

static void write_all(int fd, const char *text, size_t bytes) {
  /* A console that refuses a line is no reason to stop; there is nobody left to tell. */
  if (write(fd, text, bytes) < 0) return;
}

void say(const char *format, ...) {
  char text[TEXT_BYTES_MAX];
  /* Level 3 is the highest that `quiet` still shows. */
  int start = snprintf(text, sizeof text, "<3>mandala: ");
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text + start, sizeof text - (size_t)start - 1, format, arguments);
  va_end(arguments);
  strcat(text, "\n");
  if (kmsg >= 0) {
    write_all(kmsg, text, strlen(text));
  } else {
    write_all(STDERR_FILENO, text + 3, strlen(text) - 3);
  }
}

/* Kernel consoles and /dev/console both: the last words must not depend on a console= argument. */
void say_everywhere(const char *text) {
  say("%s", text);
  if (kmsg >= 0) {
    char line[TEXT_BYTES_MAX];
    snprintf(line, sizeof line, "mandala: %s\r\n", text);
    write_all(STDERR_FILENO, line, strlen(line));
  }
}
