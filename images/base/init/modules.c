/**
 * Loads the kernel modules that this machine's hardware asks for, dependencies first. The builder wrote
 * /modules/table: "module NAME DEPENDENCIES|-" and "alias PATTERN NAME". Plane: control.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "init.h"

static struct module {
  const char *name;
  const char *dependencies;
  int tried;
} modules[MODULES_MAX];
static int modules_count;

static char table[MODULE_TABLE_BYTES_MAX];
static const char *alias_lines[ALIASES_MAX];
static int alias_lines_count;

static int read_table(void) {
  int bytes = read_text("/modules/table", table, sizeof table);
  if (bytes < 0 || bytes == (int)sizeof table - 1) return -1;
  char *rest = table;
  for (char *line; (line = strsep(&rest, "\n")) != NULL;) {
    if (strncmp(line, "module ", 7) == 0 && modules_count < MODULES_MAX) {
      char *words = line + 7;
      modules[modules_count].name = strsep(&words, " ");
      modules[modules_count].dependencies = words == NULL ? "-" : words;
      modules_count += 1;
    }
    if (strncmp(line, "alias ", 6) == 0 && alias_lines_count < ALIASES_MAX) {
      alias_lines[alias_lines_count] = line + 6;
      alias_lines_count += 1;
    }
  }
  return 0;
}

static void load(const char *name, size_t length, int depth) {
  if (depth == MODULE_DEPTH_MAX) return;
  for (int index = 0; index < modules_count; index += 1) {
    struct module *module = &modules[index];
    if (strlen(module->name) != length || strncmp(module->name, name, length) != 0) continue;
    if (module->tried) return;
    module->tried = 1;
    for (const char *rest = module->dependencies; *rest != 0 && *rest != '-';) {
      size_t end = strcspn(rest, ",");
      load(rest, end, depth + 1);
      rest += end + (rest[end] == ',');
    }
    char path[PATH_BYTES_MAX];
    snprintf(path, sizeof path, "/modules/%s.ko", module->name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) != 0 && errno != EEXIST)) {
      say("module %s: %s", module->name, strerror(errno));
    }
    if (fd >= 0) close(fd);
    return;
  }
}

/* Loads what answers to the device that says this of itself. */
static void load_for_modalias(const char *modalias) {
  for (int index = 0; index < alias_lines_count; index += 1) {
    char pattern[TEXT_BYTES_MAX];
    size_t length = strcspn(alias_lines[index], " ");
    if (length >= sizeof pattern || alias_lines[index][length] == 0) continue;
    memcpy(pattern, alias_lines[index], length);
    pattern[length] = 0;
    const char *name = alias_lines[index] + length + 1;
    if (fnmatch(pattern, modalias, 0) == 0) load(name, strlen(name), 0);
  }
}

/* Asks each device of a bus what it is. */
static void load_for_bus(const char *bus) {
  char path[TEXT_BYTES_MAX];
  char modalias[TEXT_BYTES_MAX];
  snprintf(path, sizeof path, "/sys/bus/%s/devices", bus);
  DIR *directory = opendir(path);
  if (directory == NULL) return;
  struct dirent *entry;
  for (int devices = 0; devices < BUS_DEVICES_MAX && (entry = readdir(directory)) != NULL; devices += 1) {
    if (entry->d_name[0] == '.') continue;
    snprintf(path, sizeof path, "/sys/bus/%s/devices/%.64s/modalias", bus, entry->d_name);
    if (read_text(path, modalias, sizeof modalias) <= 0) continue;
    modalias[strcspn(modalias, "\n")] = 0;
    load_for_modalias(modalias);
  }
  closedir(directory);
}

/* 0, or -1 when there is no table to load from. */
int modules_load(void) {
  if (modules_count == 0 && read_table() != 0) return -1;
  load_for_bus("pci");
  /* virtio_pci, loaded for a PCI device, is what makes the virtio devices appear. */
  load_for_bus("virtio");
  /* What the processor is and can do: its temperature and its memory controller answer to that. */
  static char processor[PROCESSOR_BYTES_MAX];
  if (read_text("/sys/devices/system/cpu/modalias", processor, sizeof processor) > 0) {
    processor[strcspn(processor, "\n")] = 0;
    load_for_modalias(processor);
  }
  return 0;
}
