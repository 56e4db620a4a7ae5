/** Mounts what the kernel offers and a bounded /run; nothing here names a disk. Plane: control. */
#include <errno.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "init.h"

static void mount_one(const char *type, const char *path, unsigned long flags, const char *options) {
  mkdir(path, 0755);
  /* EBUSY: the kernel mounted devtmpfs itself (CONFIG_DEVTMPFS_MOUNT). */
  if (mount(type, path, type, flags, options) != 0 && errno != EBUSY) {
    say("cannot mount %s: %s", path, strerror(errno));
  }
}

void mounts_make(void) {
  mount_one("devtmpfs", "/dev", MS_NOSUID | MS_NOEXEC, "mode=0755");
  mount_one("proc", "/proc", MS_NOSUID | MS_NOEXEC | MS_NODEV, "");
  mount_one("sysfs", "/sys", MS_NOSUID | MS_NOEXEC | MS_NODEV, "");
  mount_one("tmpfs", "/run", MS_NOSUID | MS_NOEXEC | MS_NODEV, "size=16m,mode=0755");
  mkdir("/run/mandala", 0755);
}
