/** Reads BOOTIF, mandala.boot and mandala.server from the kernel's command line. Plane: control. */
#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "init.h"

/* Six pairs of hexadecimal digits with '-' or ':' between, after an optional hardware type "01-". */
static void read_bootif(const char *value, char mac[18]) {
  size_t length = strlen(value);
  if (length == 20 && value[0] == '0' && value[1] == '1') {
    value += 3;
    length -= 3;
  }
  if (length != 17) return;
  for (size_t index = 0; index < 17; index += 1) {
    char byte = (char)tolower((unsigned char)value[index]);
    int separator = index % 3 == 2;
    if (separator ? byte != '-' && byte != ':' : !isxdigit((unsigned char)byte)) {
      mac[0] = 0;
      return;
    }
    mac[index] = separator ? '-' : byte;
  }
  mac[17] = 0;
}

static void read_boot_id(const char *value, char *boot_id) {
  size_t length = strlen(value);
  if (length > BOOT_ID_DIGITS_MAX || strspn(value, "0123456789abcdefABCDEF") != length) return;
  strcpy(boot_id, value);
}

/* Exactly http://A.B.C.D[:PORT][/]: a name would need a resolver, and there is none. */
static void read_server(const char *value, struct boot *boot) {
  char host[16];
  unsigned port = 80;
  char end = 0;
  if (strncmp(value, "http://", 7) != 0) return;
  value += 7;
  size_t length = strspn(value, "0123456789.");
  if (length == 0 || length >= sizeof host) return;
  memcpy(host, value, length);
  host[length] = 0;
  value += length;
  if (value[0] == ':' && (sscanf(value, ":%5u%c", &port, &end) < 1 || (end != 0 && end != '/'))) return;
  if (value[0] != ':' && value[0] != 0 && value[0] != '/') return;
  if (port == 0 || port > 65535 || inet_pton(AF_INET, host, &boot->server) != 1) return;
  boot->server_port = (uint16_t)port;
  snprintf(boot->server_text, sizeof boot->server_text, "%s:%u", host, port);
}

void cmdline_read(struct boot *boot) {
  static char text[CMDLINE_BYTES_MAX];
  memset(boot, 0, sizeof *boot);
  if (read_text("/proc/cmdline", text, sizeof text) < 0) return;
  text[strcspn(text, "\n")] = 0;
  /* What the machine was really given, for whoever reads its console: nothing on it is a secret. */
  say("/proc/cmdline: %s", text);
  for (char *rest = text, *word; (word = strsep(&rest, " \n")) != NULL;) {
    if (strncmp(word, "BOOTIF=", 7) == 0) read_bootif(word + 7, boot->mac);
    if (strncmp(word, "mandala.boot=", 13) == 0) read_boot_id(word + 13, boot->boot_id);
    if (strncmp(word, "mandala.server=", 15) == 0) read_server(word + 15, boot);
  }
}
