/**
 * Credits the boot server's seed to the kernel's pool. Without it a processor that has no RDRAND lets Node wait some
 * seconds for its first random byte. The seed comes in this machine's own archive, never on the command line.
 * Plane: control.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "init.h"

/* From linux/random.h, which musl does not bring. */
enum { RNDADDENTROPY_REQUEST = _IOW('R', 0x03, int[2]) };

static int digit(char byte) {
  if (byte >= '0' && byte <= '9') return byte - '0';
  if (byte >= 'a' && byte <= 'f') return byte - 'a' + 10;
  if (byte >= 'A' && byte <= 'F') return byte - 'A' + 10;
  return -1;
}

void entropy_credit(void) {
  static char text[NODE_JSON_BYTES_MAX];
  struct {
    int entropy_bits;
    int bytes_count;
    uint8_t bytes[SEED_BYTES_MAX];
  } pool;
  if (read_text("/etc/mandala/node.json", text, sizeof text) <= 0) return;
  /* A quote inside a JSON string is escaped, so these six characters are a key. */
  const char *at = strstr(text, "\"seed\"");
  if (at == NULL) return;
  at += strlen("\"seed\"");
  at += strspn(at, " \t\r\n:");
  if (*at != '"') return;
  at += 1;
  int count = 0;
  while (count < SEED_BYTES_MAX && digit(at[0]) >= 0 && digit(at[1]) >= 0) {
    pool.bytes[count] = (uint8_t)(digit(at[0]) << 4 | digit(at[1]));
    count += 1;
    at += 2;
  }
  if (count == 0) return;
  pool.entropy_bits = count * 8;
  pool.bytes_count = count;
  int fd = open("/dev/random", O_WRONLY | O_CLOEXEC);
  if (fd < 0 || ioctl(fd, RNDADDENTROPY_REQUEST, &pool) != 0) say("the seed was refused");
  if (fd >= 0) close(fd);
  memset(text, 0, sizeof text);
  memset(&pool, 0, sizeof pool);
}
