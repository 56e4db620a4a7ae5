/**
 * The DHCP client (RFC 2131): DISCOVER and REQUEST on a packet socket while there is no address, renewals on a UDP
 * socket afterwards. It asks for an address only and is no PXE client, so proxies stay silent. Plane: control.
 */
#include <arpa/inet.h>
#include <net/ethernet.h>
#include <net/if_arp.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <netpacket/packet.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "init.h"

enum {
  PORT_SERVER = 67,
  PORT_CLIENT = 68,
  BOOTREQUEST = 1,
  BOOTREPLY = 2,
  OPTIONS_BYTES = 312,
  /* Through the magic cookie. */
  FIXED_BYTES = 240,
  OPTION_PAD = 0,
  OPTION_NETMASK = 1,
  OPTION_ROUTER = 3,
  OPTION_REQUESTED_ADDRESS = 50,
  OPTION_LEASE_SECONDS = 51,
  OPTION_OVERLOAD = 52,
  OPTION_TYPE = 53,
  OPTION_SERVER = 54,
  OPTION_PARAMETERS = 55,
  OPTION_RENEW_SECONDS = 58,
  OPTION_CLASS = 60,
  OPTION_END = 255,
  TYPE_DISCOVER = 1,
  TYPE_OFFER = 2,
  TYPE_REQUEST = 3,
  TYPE_ACK = 5,
  TYPE_NAK = 6,
  LEASE_SECONDS_DEFAULT = 3600,
  /* A lease below this would have us ask more often than once in half a minute. */
  RENEW_SECONDS_MIN = 30,
};

struct message {
  uint8_t op, htype, hlen, hops;
  uint32_t xid;
  uint16_t secs, flags;
  struct in_addr ciaddr, yiaddr, siaddr, giaddr;
  uint8_t chaddr[16], sname[64], file[128];
  uint8_t cookie[4];
  uint8_t options[OPTIONS_BYTES];
} __attribute__((packed));

struct frame {
  struct iphdr ip;
  struct udphdr udp;
  struct message message;
} __attribute__((packed));

static const uint8_t COOKIE[4] = {99, 130, 83, 99};

/* What we keep of an answer. */
struct answer {
  int type;
  int overload;
  struct lease lease;
};

static uint8_t *put(uint8_t *option, uint8_t code, const void *value, uint8_t bytes) {
  option[0] = code;
  option[1] = bytes;
  memcpy(option + 2, value, bytes);
  return option + 2 + bytes;
}

/* `offer` is the lease that a REQUEST takes up, NULL in a DISCOVER. `owned` is our address in a renewal, or 0. */
static void fill(struct message *message, const struct nic *nic, uint32_t xid, int64_t started, uint8_t type,
                 const struct lease *offer, struct in_addr owned) {
  static const uint8_t parameters[] = {OPTION_NETMASK, OPTION_ROUTER, OPTION_LEASE_SECONDS, OPTION_SERVER,
                                       OPTION_RENEW_SECONDS};
  static const char class[] = "mandala-init";
  memset(message, 0, sizeof *message);
  message->op = BOOTREQUEST;
  message->htype = ARPHRD_ETHER;
  message->hlen = 6;
  message->xid = xid;
  message->secs = htons((uint16_t)((now_ms() - started) / 1000));
  /* Not every server can send to an address that nobody owns yet. */
  message->flags = owned.s_addr == 0 ? htons(0x8000) : 0;
  message->ciaddr = owned;
  memcpy(message->chaddr, nic->hardware, 6);
  memcpy(message->cookie, COOKIE, sizeof COOKIE);
  uint8_t *option = put(message->options, OPTION_TYPE, &type, 1);
  option = put(option, OPTION_CLASS, class, sizeof class - 1);
  option = put(option, OPTION_PARAMETERS, parameters, sizeof parameters);
  if (offer != NULL) {
    option = put(option, OPTION_REQUESTED_ADDRESS, &offer->address, 4);
    option = put(option, OPTION_SERVER, &offer->server, 4);
  }
  option[0] = OPTION_END;
}

static uint32_t read_u32(const uint8_t *bytes) {
  return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

/* Walks one area of options. An option that runs over the end makes the packet nobody's: returns 0. */
static int read_options(const uint8_t *area, size_t size, struct answer *answer) {
  for (size_t at = 0; at < size && area[at] != OPTION_END;) {
    if (area[at] == OPTION_PAD) {
      at += 1;
      continue;
    }
    if (at + 2 > size || at + 2 + area[at + 1] > size) return 0;
    const uint8_t *value = area + at + 2;
    uint8_t code = area[at], bytes = area[at + 1];
    at += 2 + (size_t)bytes;
    if (code == OPTION_TYPE && bytes == 1) answer->type = value[0];
    if (code == OPTION_OVERLOAD && bytes == 1) answer->overload = value[0];
    if (code == OPTION_NETMASK && bytes == 4) memcpy(&answer->lease.netmask, value, 4);
    if (code == OPTION_ROUTER && bytes >= 4) memcpy(&answer->lease.gateway, value, 4);
    if (code == OPTION_SERVER && bytes == 4) memcpy(&answer->lease.server, value, 4);
    if (code == OPTION_LEASE_SECONDS && bytes == 4) answer->lease.seconds = read_u32(value);
    if (code == OPTION_RENEW_SECONDS && bytes == 4) answer->lease.renew_seconds = read_u32(value);
  }
  return 1;
}

/* 1 when `message` answers our `xid` and every length in it holds. */
static int read_message(const struct message *message, size_t bytes, const struct nic *nic, uint32_t xid,
                        struct answer *answer) {
  memset(answer, 0, sizeof *answer);
  if (bytes < FIXED_BYTES || bytes > sizeof *message + 1500) return 0;
  if (message->op != BOOTREPLY || message->xid != xid || memcmp(message->chaddr, nic->hardware, 6) != 0) return 0;
  if (memcmp(message->cookie, COOKIE, sizeof COOKIE) != 0) return 0;
  if (!read_options((const uint8_t *)message + FIXED_BYTES, bytes - FIXED_BYTES, answer)) return 0;
  int overload = answer->overload;
  if ((overload & 1) != 0 && !read_options(message->file, sizeof message->file, answer)) return 0;
  if ((overload & 2) != 0 && !read_options(message->sname, sizeof message->sname, answer)) return 0;
  struct lease *lease = &answer->lease;
  lease->address = message->yiaddr;
  if (lease->netmask.s_addr == 0) lease->netmask.s_addr = htonl(0xffffff00);
  if (lease->seconds == 0) lease->seconds = LEASE_SECONDS_DEFAULT;
  if (lease->renew_seconds == 0 || lease->renew_seconds > lease->seconds) lease->renew_seconds = lease->seconds / 2;
  if (lease->renew_seconds < RENEW_SECONDS_MIN) lease->renew_seconds = RENEW_SECONDS_MIN;
  return 1;
}

static uint32_t sum(uint32_t total, const void *data, size_t bytes) {
  const uint8_t *byte = data;
  for (size_t at = 0; at < bytes; at += 2) total += (uint32_t)byte[at] << 8 | (at + 1 < bytes ? byte[at + 1] : 0);
  return total;
}

static uint16_t fold(uint32_t total) {
  total = (total >> 16) + (total & 0xffff);
  total += total >> 16;
  return htons((uint16_t)~total);
}

static void send_frame(int fd, const struct nic *nic, struct frame *frame) {
  struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP), .sll_ifindex = nic->index,
                           .sll_halen = 6, .sll_addr = {255, 255, 255, 255, 255, 255}};
  uint16_t udp_bytes = sizeof frame->udp + sizeof frame->message;
  memset(&frame->ip, 0, sizeof frame->ip + sizeof frame->udp);
  frame->ip.version = 4;
  frame->ip.ihl = 5;
  frame->ip.tot_len = htons(sizeof *frame);
  frame->ip.ttl = 64;
  frame->ip.protocol = IPPROTO_UDP;
  frame->ip.daddr = INADDR_BROADCAST;
  frame->ip.check = fold(sum(0, &frame->ip, sizeof frame->ip));
  frame->udp.uh_sport = htons(PORT_CLIENT);
  frame->udp.uh_dport = htons(PORT_SERVER);
  frame->udp.uh_ulen = htons(udp_bytes);
  /* The pseudo header is source (0), destination, protocol and length. */
  frame->udp.uh_sum = fold(sum(sum(IPPROTO_UDP + udp_bytes, &frame->ip.daddr, 4), &frame->udp, udp_bytes));
  if (frame->udp.uh_sum == 0) frame->udp.uh_sum = 0xffff;
  /*
   * For some milliseconds after the link is there the kernel has no queue for it yet and drops what is sent, saying
   * so. Without this the first DISCOVER is lost, and a second with it. A send that fails for good is a lost packet.
   */
  for (int attempt = 0; attempt < DHCP_SEND_ATTEMPTS; attempt += 1) {
    if (sendto(fd, frame, sizeof *frame, 0, (struct sockaddr *)&to, sizeof to) >= 0) return;
    sleep_ms(POLL_MS);
  }
}

/* Waits for an answer of `type` or a NAK. Frames that are not for us are read past; the deadline bounds the loop. */
static int await_frame(int fd, const struct nic *nic, uint32_t xid, int type, int64_t deadline,
                       struct answer *answer) {
  static union {
    struct iphdr ip;
    uint8_t bytes[2048];
  } packet;
  for (;;) {
    int64_t left = deadline - now_ms();
    struct pollfd waiting = {.fd = fd, .events = POLLIN};
    if (left <= 0 || poll(&waiting, 1, (int)left) <= 0) return DHCP_SILENT;
    ssize_t got = recv(fd, packet.bytes, sizeof packet.bytes, 0);
    if (got < (ssize_t)sizeof(struct iphdr)) continue;
    size_t header = (size_t)packet.ip.ihl * 4;
    /* Checksums are not looked at: virtual links leave them to hardware that does not exist. */
    if (packet.ip.protocol != IPPROTO_UDP || header < sizeof(struct iphdr)) continue;
    if ((size_t)got < header + sizeof(struct udphdr)) continue;
    struct udphdr udp;
    memcpy(&udp, packet.bytes + header, sizeof udp);
    size_t udp_bytes = ntohs(udp.uh_ulen);
    if (udp.uh_dport != htons(PORT_CLIENT) || udp_bytes < sizeof udp || header + udp_bytes > (size_t)got) continue;
    const struct message *message = (const void *)(packet.bytes + header + sizeof udp);
    if (!read_message(message, udp_bytes - sizeof udp, nic, xid, answer)) continue;
    if (answer->type == TYPE_NAK && type == TYPE_ACK) return DHCP_REFUSED;
    if (answer->type == type && answer->lease.address.s_addr != 0) return DHCP_ACKED;
  }
}

/* A quarter more or less, so that a rack that lost its power does not ask in step. */
static int jittered(int ms) { return ms - ms / 4 + (int)(random_u32() % (uint32_t)(ms / 2)); }

/* 0 with `lease` filled, or -1 when nobody answered within `total_ms`. */
int dhcp_acquire(const struct nic *nic, int total_ms, struct lease *lease) {
  static struct frame frame;
  struct in_addr none = {0};
  int fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, htons(ETH_P_IP));
  struct sockaddr_ll here = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP), .sll_ifindex = nic->index};
  if (fd < 0 || bind(fd, (struct sockaddr *)&here, sizeof here) != 0) {
    if (fd >= 0) close(fd);
    return -1;
  }
  int64_t started = now_ms();
  int wait_ms = DHCP_WAIT_FIRST_MS;
  int result = -1;
  uint32_t xid = random_u32();
  while (result != 0 && now_ms() - started < total_ms) {
    struct answer answer;
    /* The same xid until there is an offer: some servers ping an address for three seconds before they offer it. */
    fill(&frame.message, nic, xid, started, TYPE_DISCOVER, NULL, none);
    send_frame(fd, nic, &frame);
    if (await_frame(fd, nic, xid, TYPE_OFFER, now_ms() + jittered(wait_ms), &answer) == DHCP_ACKED) {
      struct lease offer = answer.lease;
      fill(&frame.message, nic, xid, started, TYPE_REQUEST, &offer, none);
      send_frame(fd, nic, &frame);
      if (await_frame(fd, nic, xid, TYPE_ACK, now_ms() + jittered(wait_ms), &answer) == DHCP_ACKED) {
        *lease = answer.lease;
        if (lease->server.s_addr == 0) lease->server = offer.server;
        result = 0;
      }
      xid = random_u32();
    }
    wait_ms = wait_ms * 2 > DHCP_WAIT_MS_MAX ? DHCP_WAIT_MS_MAX : wait_ms * 2;
  }
  close(fd);
  return result;
}

/* One request to keep the address: to the server that gave it, and to everybody when that one is silent. */
enum dhcp_answer dhcp_renew(const struct nic *nic, struct lease *lease) {
  static union {
    struct message message;
    uint8_t bytes[2048];
  } packet;
  struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(PORT_CLIENT)};
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(PORT_SERVER)};
  int yes = 1;
  int64_t started = now_ms();
  enum dhcp_answer result = DHCP_SILENT;
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return DHCP_SILENT;
  setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &yes, sizeof yes);
  setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, nic->name, (socklen_t)strlen(nic->name));
  if (bind(fd, (struct sockaddr *)&here, sizeof here) == 0) {
    for (int attempt = 0; attempt < 2 && result == DHCP_SILENT; attempt += 1) {
      uint32_t xid = random_u32();
      to.sin_addr.s_addr = attempt == 0 ? lease->server.s_addr : INADDR_BROADCAST;
      fill(&packet.message, nic, xid, started, TYPE_REQUEST, NULL, lease->address);
      sendto(fd, &packet.message, sizeof packet.message, 0, (struct sockaddr *)&to, sizeof to);
      for (int64_t deadline = now_ms() + DHCP_RENEW_WAIT_MS; result == DHCP_SILENT;) {
        struct pollfd waiting = {.fd = fd, .events = POLLIN};
        struct answer answer;
        int64_t left = deadline - now_ms();
        if (left <= 0 || poll(&waiting, 1, (int)left) <= 0) break;
        ssize_t got = recv(fd, packet.bytes, sizeof packet.bytes, 0);
        if (got <= 0 || !read_message(&packet.message, (size_t)got, nic, xid, &answer)) continue;
        if (answer.type == TYPE_NAK) result = DHCP_REFUSED;
        if (answer.type == TYPE_ACK && answer.lease.address.s_addr == lease->address.s_addr) {
          struct in_addr server = answer.lease.server.s_addr == 0 ? lease->server : answer.lease.server;
          *lease = answer.lease;
          lease->server = server;
          result = DHCP_ACKED;
        }
      }
    }
  }
  close(fd);
  return result;
}
