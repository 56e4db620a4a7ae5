/** Finds the interface that the firmware booted from, waits for its link, gives it its address. Plane: control. */
#include <arpa/inet.h>
#include <dirent.h>
#include <net/route.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "init.h"

enum { TYPE_ETHERNET = 1 };

static int read_attribute(const char *name, const char *attribute, char *text, size_t size) {
  char path[PATH_BYTES_MAX];
  snprintf(path, sizeof path, "/sys/class/net/%.15s/%s", name, attribute);
  int bytes = read_text(path, text, size);
  if (bytes > 0) text[strcspn(text, "\n")] = 0;
  return bytes;
}

static int control_socket(void) { return socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0); }

static void set_up(const char *name) {
  int fd = control_socket();
  struct ifreq request = {0};
  strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  if (ioctl(fd, SIOCGIFFLAGS, &request) == 0 && (request.ifr_flags & IFF_UP) == 0) {
    request.ifr_flags |= IFF_UP;
    ioctl(fd, SIOCSIFFLAGS, &request);
  }
  close(fd);
}

/* Fills `nic` when `name` is an Ethernet interface with a MAC of six bytes. */
static int describe(const char *name, struct nic *nic) {
  char text[TEXT_BYTES_MAX];
  unsigned byte[6];
  int type = 0;
  memset(nic, 0, sizeof *nic);
  if (read_attribute(name, "type", text, sizeof text) <= 0 || sscanf(text, "%d", &type) != 1) return 0;
  if (type != TYPE_ETHERNET || read_attribute(name, "address", text, sizeof text) <= 0) return 0;
  if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x", &byte[0], &byte[1], &byte[2], &byte[3], &byte[4], &byte[5]) != 6) {
    return 0;
  }
  for (int index = 0; index < 6; index += 1) nic->hardware[index] = (uint8_t)byte[index];
  snprintf(nic->mac, sizeof nic->mac, "%02x-%02x-%02x-%02x-%02x-%02x", byte[0], byte[1], byte[2], byte[3], byte[4],
           byte[5]);
  strncpy(nic->name, name, IFNAMSIZ - 1);
  nic->index = (int)if_nametoindex(name);
  return nic->index > 0;
}

/**
 * e1000 looks for its link when it is set up and then every two seconds, and starts to negotiate when it is probed. Set
 * up only once that is done (half a second in QEMU), it has its link at the first look: 1.5 s less at every boot.
 */
static int must_settle(const char *name, int64_t since) {
  char path[PATH_BYTES_MAX];
  char driver[PATH_BYTES_MAX];
  if (now_ms() - since >= E1000_SETTLE_MS) return 0;
  snprintf(path, sizeof path, "/sys/class/net/%.15s/device/driver", name);
  ssize_t bytes = readlink(path, driver, sizeof driver - 1);
  if (bytes <= 0) return 0;
  driver[bytes] = 0;
  const char *base = strrchr(driver, '/');
  return base != NULL && strcmp(base, "/e1000") == 0;
}

/**
 * One look at all interfaces: those that could be ours are set up; 1 when one of them has its link, 0 when there are
 * candidates without one, -1 when there is no candidate.
 */
static int look(const char *wanted, struct nic *nic, int64_t since) {
  DIR *directory = opendir("/sys/class/net");
  int result = -1;
  if (directory == NULL) return -1;
  struct dirent *entry;
  for (int count = 0; count < NETDEVS_MAX && result != 1 && (entry = readdir(directory)) != NULL; count += 1) {
    struct nic candidate;
    char carrier[8];
    if (entry->d_name[0] == '.' || !describe(entry->d_name, &candidate)) continue;
    if (wanted[0] != 0 && strcmp(wanted, candidate.mac) != 0) continue;
    *nic = candidate;
    result = 0;
    if (must_settle(candidate.name, since)) continue;
    set_up(candidate.name);
    result = read_attribute(candidate.name, "carrier", carrier, sizeof carrier) > 0 && carrier[0] == '1' ? 1 : 0;
  }
  closedir(directory);
  return result;
}

/* NULL with `nic` filled, or the reason. Without BOOTIF the first interface with a link is taken. */
const char *nic_find(const struct boot *boot, struct nic *nic) {
  int64_t start = now_ms();
  for (;;) {
    int found = look(boot->mac, nic, start);
    int64_t waited = now_ms() - start;
    if (found == 1) return NULL;
    if (found == -1 && waited > NIC_WAIT_MS) return "no_nic";
    if (found == 0 && waited > CARRIER_WAIT_MS) return "no_carrier";
    sleep_ms(POLL_MS);
  }
}

static int set_address(int fd, unsigned long request, const char *name, struct in_addr address) {
  struct ifreq argument = {0};
  struct sockaddr_in socket_address = {.sin_family = AF_INET, .sin_addr = address};
  strncpy(argument.ifr_name, name, IFNAMSIZ - 1);
  memcpy(&argument.ifr_addr, &socket_address, sizeof socket_address);
  return ioctl(fd, request, &argument);
}

void loopback_up(void) {
  int fd = control_socket();
  struct in_addr address = {htonl(INADDR_LOOPBACK)};
  set_address(fd, SIOCSIFADDR, "lo", address);
  close(fd);
  set_up("lo");
}

/* NULL, or the reason. Setting an address again replaces it and its routes. */
const char *nic_configure(const struct nic *nic, const struct lease *lease) {
  int fd = control_socket();
  const char *reason = NULL;
  if (set_address(fd, SIOCSIFADDR, nic->name, lease->address) != 0 ||
      set_address(fd, SIOCSIFNETMASK, nic->name, lease->netmask) != 0) {
    reason = "address_refused";
  }
  if (reason == NULL && lease->gateway.s_addr != 0) {
    struct rtentry route = {0};
    struct sockaddr_in gateway = {.sin_family = AF_INET, .sin_addr = lease->gateway};
    struct sockaddr_in any = {.sin_family = AF_INET};
    memcpy(&route.rt_gateway, &gateway, sizeof gateway);
    memcpy(&route.rt_dst, &any, sizeof any);
    memcpy(&route.rt_genmask, &any, sizeof any);
    route.rt_flags = RTF_UP | RTF_GATEWAY;
    /* The cluster lives on one segment: a gateway that cannot be set is said, not fatal. */
    if (ioctl(fd, SIOCADDRT, &route) != 0) say("the default route was refused");
  }
  close(fd);
  return reason;
}

/* From NETWORK_PATH the app learns who it is on the network; it appears whole. All values are of known form. */
const char *network_write(const struct nic *nic, const struct lease *lease, const struct boot *boot) {
  char address[INET_ADDRSTRLEN], netmask[INET_ADDRSTRLEN], gateway[INET_ADDRSTRLEN];
  char text[TEXT_BYTES_MAX * 2];
  inet_ntop(AF_INET, &lease->address, address, sizeof address);
  inet_ntop(AF_INET, &lease->netmask, netmask, sizeof netmask);
  inet_ntop(AF_INET, &lease->gateway, gateway, sizeof gateway);
  snprintf(text, sizeof text,
           "{\"schema\":1,\"interface\":\"%s\",\"mac\":\"%s\",\"address\":\"%s\",\"netmask\":\"%s\","
           "\"gateway\":\"%s\",\"server\":\"%s%s\",\"boot\":\"%s\"}\n",
           nic->name, nic->mac, address, netmask, lease->gateway.s_addr == 0 ? "" : gateway,
           boot->server_text[0] == 0 ? "" : "http://", boot->server_text, boot->boot_id);
  if (write_text(NETWORK_PATH ".partial", text) != 0) return "run_not_writable";
  return rename(NETWORK_PATH ".partial", NETWORK_PATH) == 0 ? NULL : "run_not_writable";
}
