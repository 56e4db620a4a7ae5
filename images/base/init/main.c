/**
 * /init: the order of the duties from the kernel's hand-over to the running process. Whatever fails ends in `halt` with
 * its reason on every console and at the boot server; nothing continues half. Plane: control.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/reboot.h>
#include <unistd.h>

#include "init.h"

static struct boot boot;
static struct need need;
static struct nic nic;
static struct lease lease;
static int network_is_up;

/* Interface, link, address, network.json: NULL, or the reason. */
const char *network_up(const struct boot *where, struct nic *found, struct lease *given, int dhcp_ms) {
  const char *reason = nic_find(where, found);
  if (reason != NULL) return reason;
  if (dhcp_acquire(found, dhcp_ms, given) != 0) return "no_dhcp";
  reason = nic_configure(found, given);
  if (reason != NULL) return reason;
  char address[INET_ADDRSTRLEN];
  inet_ntop(AF_INET, &given->address, address, sizeof address);
  say("%s on %s (%s), lease %u s", address, found->name, found->mac, given->seconds);
  return network_write(found, given, where);
}

static void halt(const char *reason, const char *detail) {
  char text[TEXT_BYTES_MAX];
  unsigned long long have = memory_total();
  snprintf(text, sizeof text, "HALTED: %s: %s", reason, detail);
  say_everywhere(text);
  app_stop();
  watchdog_disarm();
  snprintf(text, sizeof text, "halted&reason=%s&need_bytes=%llu&have_bytes=%llu", reason,
           (unsigned long long)need.ram_bytes, have);
  /* A short base archive may still hold the modules, which are its first files: try to be heard. */
  int can_report = network_is_up || (strncmp(reason, "no_", 3) != 0 && boot.server_text[0] != 0 &&
                                     modules_load() == 0 && network_up(&boot, &nic, &lease, DHCP_REPORT_MS) == NULL);
  int told = -1;
  for (int attempt = 0; can_report && told != 0 && attempt < BEACON_ATTEMPTS_HALTED; attempt += 1) {
    told = beacon(&boot, nic.mac, text);
  }
  snprintf(text, sizeof text, "HALTED: %s: the boot server %s; switch the machine off and on to try again", reason,
           told == 0 ? "was told" : "could not be told");
  say_everywhere(text);
  sync();
  reboot(RB_HALT_SYSTEM);
  for (;;) pause();
}

int main(void) {
  char detail[TEXT_BYTES_MAX] = "";
  mounts_make();
  say_open();
  say("init");
  cmdline_read(&boot);
  const char *reason = need_read(&need);
  if (reason != NULL) halt(reason, "init.img is damaged; build the image again");
  unsigned long long have = memory_total();
  if (have < need.ram_bytes) {
    snprintf(detail, sizeof detail, "the image needs %llu bytes (%llu MiB) of memory, this machine has %llu (%llu MiB)",
             (unsigned long long)need.ram_bytes, (unsigned long long)need.ram_bytes >> 20, have, have >> 20);
    halt("ram_too_small", detail);
  }
  reason = need_check_files(&need, detail, sizeof detail);
  /* The kernel knows better than the files do whether it met a wrong byte or the end. */
  if (unpacking_failed(detail, sizeof detail)) {
    reason = strstr(detail, "corrupt") == NULL ? "base_truncated" : "base_corrupt";
  }
  if (reason != NULL) halt(reason, detail);
  int64_t hashing = now_ms();
  reason = need_check_hashes(&need, detail, sizeof detail);
  if (reason != NULL) halt(reason, detail);
  say("%d files are as built, %lld ms", need.files_count, (long long)(now_ms() - hashing));
  entropy_credit();
  loopback_up();
  if (modules_load() != 0) halt("modules_unreadable", "/modules/table");
  /*
   * Node starts while the link and the lease are awaited, but not before the modules are loaded: loading patches the
   * kernel's code, and beside a busy Node that took 1.7 s instead of 0.4 (QEMU, emulated).
   */
  app_start();
  reason = network_up(&boot, &nic, &lease, DHCP_TOTAL_MS);
  if (reason != NULL) {
    snprintf(detail, sizeof detail, "interface %s, BOOTIF %s", nic.name[0] == 0 ? "none" : nic.name,
             boot.mac[0] == 0 ? "none" : boot.mac);
    halt(reason, detail);
  }
  network_is_up = 1;
  watchdog_arm();
  if (beacon(&boot, nic.mac, "init") != 0) say("the boot server did not hear the beacon; going on");
  reason = supervise(&boot, &nic, &lease);
  snprintf(detail, sizeof detail, "after %lld s of running", (long long)now_ms() / 1000);
  halt(reason, detail);
}
