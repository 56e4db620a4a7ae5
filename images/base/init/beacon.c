/** Tells the boot server one fact by one HTTP GET; a server that does not answer changes nothing. Plane: control. */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "init.h"

static int wait_for(int fd, short events, int64_t deadline) {
  struct pollfd waiting = {.fd = fd, .events = events};
  int64_t left = deadline - now_ms();
  return left > 0 && poll(&waiting, 1, (int)left) > 0;
}

/* `query` is "init" or "halted" with further parameters; 0 when the server said 2xx. */
int beacon(const struct boot *boot, const char *mac, const char *query) {
  char text[TEXT_BYTES_MAX];
  if (boot->server_text[0] == 0) return -1;
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr = boot->server, .sin_port = htons(boot->server_port)};
  int64_t deadline = now_ms() + BEACON_WAIT_MS;
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -1;
  const char *more = strchr(query, '&');
  int name_bytes = more == NULL ? (int)strlen(query) : (int)(more - query);
  int bytes = snprintf(text, sizeof text,
                       "GET /beacon/%.*s?mac=%s&boot=%s%s HTTP/1.1\r\nHost: %s\r\nUser-Agent: mandala-init\r\n"
                       "Connection: close\r\n\r\n",
                       name_bytes, query, mac, boot->boot_id, more == NULL ? "" : more, boot->server_text);
  int result = -1;
  connect(fd, (struct sockaddr *)&to, sizeof to);
  if (wait_for(fd, POLLOUT, deadline) && send(fd, text, (size_t)bytes, MSG_NOSIGNAL) == bytes &&
      wait_for(fd, POLLIN, deadline)) {
    ssize_t got = recv(fd, text, sizeof text - 1, 0);
    text[got > 0 ? got : 0] = 0;
    if (strncmp(text, "HTTP/1.", 7) == 0 && strncmp(text + 8, " 2", 2) == 0) result = 0;
  }
  close(fd);
  return result;
}
