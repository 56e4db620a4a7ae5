/**
 * A stand-in for /init that says what the kernel it runs on could do with a disk, line by line on the console, and
 * switches the machine off: block devices, file systems that need one, the partitions, modules, the kernel's own
 * configuration. The lab boots it; no image carries it. Plane: control.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <termios.h>
#include <unistd.h>

enum { BYTES_MAX = 64 * 1024, NAMES_MAX = 4096, COLUMNS = 60 };

static void say_lines(const char *title, const char *path) {
  FILE *file = fopen(path, "r");
  char line[256];
  if (file == NULL) {
    printf("probe %s: %s\n", title, strerror(errno));
    return;
  }
  for (int count = 0; count < NAMES_MAX && fgets(line, sizeof line, file) != NULL; count += 1) {
    line[strcspn(line, "\n")] = 0;
    printf("probe %s= %s\n", title, line);
  }
  fclose(file);
}

/* Nodes of /dev that are block devices; devtmpfs makes one for each that the kernel found. */
static int block_devices(void) {
  DIR *directory = opendir("/dev");
  int found = 0;
  struct dirent *entry;
  for (int count = 0; directory != NULL && count < NAMES_MAX && (entry = readdir(directory)) != NULL; count += 1) {
    char path[300];
    struct stat status;
    snprintf(path, sizeof path, "/dev/%s", entry->d_name);
    if (stat(path, &status) == 0 && S_ISBLK(status.st_mode)) {
      printf("probe device= %s\n", entry->d_name);
      found += 1;
    }
  }
  if (directory != NULL) closedir(directory);
  return found;
}

/* The configuration as it is compressed in the kernel; whoever reads the console unpacks it. */
static void say_config(void) {
  static unsigned char bytes[BYTES_MAX];
  int fd = open("/proc/config.gz", O_RDONLY);
  ssize_t have = fd < 0 ? 0 : read(fd, bytes, sizeof bytes);
  for (ssize_t at = 0; at < have; at += COLUMNS) {
    printf("probe config= ");
    for (ssize_t index = at; index < have && index < at + COLUMNS; index += 1) printf("%02x", bytes[index]);
    printf("\n");
  }
}

int main(void) {
  mkdir("/proc", 0755);
  mkdir("/sys", 0755);
  mkdir("/dev", 0755);
  mount("proc", "/proc", "proc", 0, "");
  mount("sysfs", "/sys", "sysfs", 0, "");
  mount("devtmpfs", "/dev", "devtmpfs", 0, "");
  int console = open("/dev/console", O_RDWR);
  if (console >= 0) {
    dup2(console, STDOUT_FILENO);
    setvbuf(stdout, NULL, _IOLBF, 0);
  }
  printf("probe devices= %d\n", block_devices());
  say_lines("filesystem", "/proc/filesystems");
  say_lines("partition", "/proc/partitions");
  say_lines("module", "/proc/modules");
  printf("probe sys_block= %d\n", access("/sys/block", F_OK) == 0);
  /* A node made by hand must be as useless: number 8:0 is a SCSI disk's, 254:0 a virtio one's. */
  mknod("/dev/by_hand", S_IFBLK | 0600, makedev(254, 0));
  printf("probe open= %s\n", open("/dev/by_hand", O_RDONLY) < 0 ? strerror(errno) : "opened");
  printf("probe mount= %s\n", mount("/dev/by_hand", "/sys", "ext4", 0, "") < 0 ? strerror(errno) : "mounted");
  say_config();
  printf("probe done\n");
  fflush(stdout);
  /* A serial line is slower than we are, and without power it says no more. */
  tcdrain(STDOUT_FILENO);
  reboot(RB_POWER_OFF);
  return 0;
}
