/**
 * Judges whether this machine got the whole image and has the memory for it. The need-manifest travels in the first
 * archive, which a machine always unpacks; the base archive is what can arrive short. Plane: control.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/klog.h>
#include <sys/stat.h>

#include "init.h"

enum { SYSLOG_READ_ALL = 3 };

/* NULL, or why the file is not a need-manifest of this version. */
const char *need_read(struct need *need) {
  static char text[NEED_BYTES_MAX];
  memset(need, 0, sizeof *need);
  int bytes = read_text("/need-manifest", text, sizeof text);
  if (bytes <= 0 || bytes == (int)sizeof text - 1) return "need_manifest_unreadable";
  char *rest = text;
  char *first = strsep(&rest, "\n");
  if (strcmp(first, "mandala-need 2") != 0) return "need_manifest_version";
  for (char *line; (line = strsep(&rest, "\n")) != NULL;) {
    unsigned long long number = 0;
    char word[PATH_BYTES_MAX];
    char hash[HASH_DIGITS + 1];
    if (line[0] == 0) continue;
    if (sscanf(line, "ram_need_bytes %llu", &number) == 1) {
      need->ram_bytes = number;
    } else if (sscanf(line, "image_id %64[0-9a-f]", need->image_id) == 1) {
      continue;
    } else if (sscanf(line, "sentinel %127s", need->sentinel) == 1) {
      continue;
    } else if (sscanf(line, "file %llu %64[0-9a-f] %127s", &number, hash, word) == 3) {
      if (need->files_count == NEED_FILES_MAX) return "need_manifest_files";
      struct need_file *file = &need->files[need->files_count];
      file->bytes = number;
      strcpy(file->hash, hash);
      strcpy(file->path, word);
      need->files_count += 1;
    } else {
      return "need_manifest_line";
    }
  }
  if (need->ram_bytes == 0 || need->files_count == 0 || need->sentinel[0] == 0) return "need_manifest_short";
  if (strlen(need->image_id) != IMAGE_ID_DIGITS) return "need_manifest_image_id";
  return NULL;
}

/* MemTotal in bytes; 0 when /proc/meminfo does not say. */
uint64_t memory_total(void) {
  char text[TEXT_BYTES_MAX];
  unsigned long long kib = 0;
  if (read_text("/proc/meminfo", text, sizeof text) < 0) return 0;
  if (sscanf(text, "MemTotal: %llu kB", &kib) != 1) return 0;
  return kib * 1024;
}

/* NULL, or the reason with its detail: a file that is missing or short, or a base archive of another build. */
const char *need_check_files(const struct need *need, char *detail, size_t size) {
  char path[PATH_BYTES_MAX + 2];
  for (int index = 0; index < need->files_count; index += 1) {
    const struct need_file *file = &need->files[index];
    struct stat status;
    snprintf(path, sizeof path, "/%s", file->path);
    if (stat(path, &status) != 0) {
      snprintf(detail, size, "%s is missing", path);
      return "base_truncated";
    }
    if ((uint64_t)status.st_size != file->bytes) {
      snprintf(detail, size, "%s has %lld bytes, not %llu", path, (long long)status.st_size,
               (unsigned long long)file->bytes);
      return "base_truncated";
    }
  }
  char id[IMAGE_ID_DIGITS + 2];
  snprintf(path, sizeof path, "/%s", need->sentinel);
  if (read_text(path, id, sizeof id) < 0) {
    snprintf(detail, size, "%s, the archive's last file, is missing", path);
    return "base_truncated";
  }
  id[strcspn(id, "\n")] = 0;
  if (strcmp(id, need->image_id) != 0) {
    snprintf(detail, size, "init.img and base.img are of two builds");
    return "base_of_another_build";
  }
  return NULL;
}

/* NULL, or the reason: a file whose bytes are not those that were built, whatever changed them on the way. */
const char *need_check_hashes(const struct need *need, char *detail, size_t size) {
  for (int index = 0; index < need->files_count; index += 1) {
    const struct need_file *file = &need->files[index];
    char path[PATH_BYTES_MAX + 2];
    char hash[HASH_DIGITS + 1];
    snprintf(path, sizeof path, "/%s", file->path);
    if (hash_file(path, hash) != 0 || strcmp(hash, file->hash) != 0) {
      snprintf(detail, size, "%s is not the file that was built", path);
      return "base_corrupt";
    }
  }
  return NULL;
}

/**
 * True when the kernel gave up on an archive. Its decompressor verifies the checksum of the whole zstd frame, which is
 * how a flipped bit is found without hashing 100 MB again; the files have their sizes by then, so only the log tells.
 */
int unpacking_failed(char *detail, size_t size) {
  char *log = malloc(KERNEL_LOG_BYTES_MAX);
  if (log == NULL) return 0;
  int bytes = klogctl(SYSLOG_READ_ALL, log, KERNEL_LOG_BYTES_MAX - 1);
  log[bytes > 0 ? bytes : 0] = 0;
  const char *found = strstr(log, "Initramfs unpacking failed");
  if (found != NULL) snprintf(detail, size, "%.*s", (int)strcspn(found, "\n"), found);
  free(log);
  return found != NULL;
}
