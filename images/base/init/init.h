/** What the duties of /init share: their bounds, their data and one declaration for each. Plane: control. */
#ifndef MANDALA_INIT_H
#define MANDALA_INIT_H

#include <net/if.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>

/* Bounds. Every loop and buffer of /init ends at one of them. */
enum {
  TEXT_BYTES_MAX = 512,
  CMDLINE_BYTES_MAX = 4096,
  NEED_BYTES_MAX = 16 * 1024,
  NEED_FILES_MAX = 128,
  PATH_BYTES_MAX = 128,
  MODULE_TABLE_BYTES_MAX = 256 * 1024,
  MODULES_MAX = 96,
  ALIASES_MAX = 4096,
  MODULE_DEPTH_MAX = 8,
  BUS_DEVICES_MAX = 1024,
  /* Some 700 features at six characters. */
  PROCESSOR_BYTES_MAX = 8 * 1024,
  NETDEVS_MAX = 32,
  KERNEL_LOG_BYTES_MAX = 512 * 1024,
  NODE_JSON_BYTES_MAX = 64 * 1024,
  SEED_BYTES_MAX = 64,
  IMAGE_ID_DIGITS = 64,
  HASH_DIGITS = 64,
  BOOT_ID_DIGITS_MAX = 64,

  NIC_WAIT_MS = 5 * 1000,
  CARRIER_WAIT_MS = 60 * 1000,
  E1000_SETTLE_MS = 550,
  POLL_MS = 10,
  /* Requirement: a DHCP server that comes up a minute after us is still heard. */
  DHCP_TOTAL_MS = 90 * 1000,
  /* A machine that halts anyway only tries to say so. */
  DHCP_REPORT_MS = 15 * 1000,
  DHCP_WAIT_FIRST_MS = 1000,
  DHCP_WAIT_MS_MAX = 8 * 1000,
  DHCP_SEND_ATTEMPTS = 100,
  DHCP_RENEW_WAIT_MS = 2 * 1000,
  DHCP_RENEW_RETRY_MS = 60 * 1000,
  BEACON_WAIT_MS = 2 * 1000,
  BEACON_ATTEMPTS_HALTED = 3,

  /* Fed every third of it; a hung machine starts anew after it. */
  WATCHDOG_SECONDS = 60,
  WATCHDOG_FEED_MS = 20 * 1000,

  APP_ENDS_MAX = 5,
  APP_ENDS_WINDOW_MS = 5 * 60 * 1000,
  APP_PAUSE_MS = 1000,
  /* appliance/orchestration/exit_codes.ts: this machine's memory was wrong too often. */
  APP_QUARANTINED = 76,
};

#define NETWORK_PATH "/run/mandala/network.json"

/* The kernel's command line, validated: what is not exactly as expected is left empty. */
struct boot {
  char mac[18];        /* aa-bb-cc-dd-ee-ff from BOOTIF, or empty */
  char boot_id[BOOT_ID_DIGITS_MAX + 1];
  char server_text[32]; /* 10.0.0.1:7480, or empty */
  struct in_addr server;
  uint16_t server_port;
};

/* The need-manifest: what the base archive must hold, and the memory that the image needs. */
struct need {
  uint64_t ram_bytes;
  char image_id[IMAGE_ID_DIGITS + 1];
  char sentinel[PATH_BYTES_MAX];
  int files_count;
  struct need_file {
    uint64_t bytes;
    char hash[HASH_DIGITS + 1];
    char path[PATH_BYTES_MAX];
  } files[NEED_FILES_MAX];
};

struct nic {
  char name[IFNAMSIZ];
  char mac[18];
  uint8_t hardware[6];
  int index;
};

struct lease {
  struct in_addr address, netmask, gateway, server;
  uint32_t seconds; /* UINT32_MAX: for ever */
  uint32_t renew_seconds;
};

enum dhcp_answer { DHCP_SILENT, DHCP_ACKED, DHCP_REFUSED };

/* say.c */
void say_open(void);
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
void say_everywhere(const char *text);

/* files.c */
int read_text(const char *path, char *text, size_t size);
int write_text(const char *path, const char *text);
int64_t now_ms(void);
void sleep_ms(int ms);
uint32_t random_u32(void);

/* mounts.c */
void mounts_make(void);

/* cmdline.c */
void cmdline_read(struct boot *boot);

/* need.c */
const char *need_read(struct need *need);
uint64_t memory_total(void);
const char *need_check_files(const struct need *need, char *detail, size_t size);
const char *need_check_hashes(const struct need *need, char *detail, size_t size);
int unpacking_failed(char *detail, size_t size);

/* blake2b.c */
int hash_file(const char *path, char hexadecimal[HASH_DIGITS + 1]);

/* watchdog.c */
void watchdog_arm(void);
void watchdog_feed(void);
void watchdog_disarm(void);

/* modules.c */
int modules_load(void);

/* netdev.c */
const char *nic_find(const struct boot *boot, struct nic *nic);
void loopback_up(void);
const char *nic_configure(const struct nic *nic, const struct lease *lease);
const char *network_write(const struct nic *nic, const struct lease *lease, const struct boot *boot);

/* dhcp.c */
int dhcp_acquire(const struct nic *nic, int total_ms, struct lease *lease);
enum dhcp_answer dhcp_renew(const struct nic *nic, struct lease *lease);

/* beacon.c */
int beacon(const struct boot *boot, const char *mac, const char *query);

/* entropy.c */
void entropy_credit(void);

/* supervise.c: supervise() ends only when the app keeps ending or the network is lost; the reason is returned. */
void app_start(void);
void app_stop(void);
const char *supervise(const struct boot *boot, const struct nic *nic, struct lease *lease);

/* main.c */
const char *network_up(const struct boot *boot, struct nic *nic, struct lease *lease, int dhcp_ms);

#endif
