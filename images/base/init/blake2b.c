/**
 * BLAKE2b-512 (RFC 7693) of a file: the hash that proves a file of the base archive is the one that was built. Chosen
 * over SHA-256 because on a processor without instructions for hashing it takes a third of the time. Plane: control.
 */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "init.h"

enum { BLOCK_BYTES = 128, ROUNDS = 12, READ_BYTES = 64 * 1024 };

static const uint64_t initial[8] = {
    0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1,
    0x510e527fade682d1, 0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179,
};

/* RFC 7693, 2.7; rounds ten and eleven repeat the first two. */
static const uint8_t sigma[10][16] = {
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
    {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4}, {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
    {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13}, {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
    {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11}, {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
    {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5}, {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0},
};

static inline uint64_t rotate(uint64_t word, int bits) { return word >> bits | word << (64 - bits); }

static inline void mix(uint64_t *v, int a, int b, int c, int d, uint64_t x, uint64_t y) {
  v[a] += v[b] + x;
  v[d] = rotate(v[d] ^ v[a], 32);
  v[c] += v[d];
  v[b] = rotate(v[b] ^ v[c], 24);
  v[a] += v[b] + y;
  v[d] = rotate(v[d] ^ v[a], 16);
  v[c] += v[d];
  v[b] = rotate(v[b] ^ v[c], 63);
}

/* `counted` is the bytes up to and with this block. Unrolled: the only place of /init that computes for long. */
__attribute__((optimize("O2"))) static void compress(uint64_t state[8], const uint8_t *block, uint64_t counted,
                                                     int is_last) {
  uint64_t m[16], v[16];
  memcpy(m, block, sizeof m);
  memcpy(v, state, 64);
  memcpy(v + 8, initial, 64);
  v[12] ^= counted;
  if (is_last) v[14] = ~v[14];
  for (int round = 0; round < ROUNDS; round += 1) {
    const uint8_t *s = sigma[round % 10];
    mix(v, 0, 4, 8, 12, m[s[0]], m[s[1]]);
    mix(v, 1, 5, 9, 13, m[s[2]], m[s[3]]);
    mix(v, 2, 6, 10, 14, m[s[4]], m[s[5]]);
    mix(v, 3, 7, 11, 15, m[s[6]], m[s[7]]);
    mix(v, 0, 5, 10, 15, m[s[8]], m[s[9]]);
    mix(v, 1, 6, 11, 12, m[s[10]], m[s[11]]);
    mix(v, 2, 7, 8, 13, m[s[12]], m[s[13]]);
    mix(v, 3, 4, 9, 14, m[s[14]], m[s[15]]);
  }
  for (int index = 0; index < 8; index += 1) state[index] ^= v[index] ^ v[index + 8];
}

/* The first half of the hash, in hexadecimal; -1 when the file cannot be read. */
int hash_file(const char *path, char hexadecimal[HASH_DIGITS + 1]) {
  static uint8_t bytes[READ_BYTES];
  uint64_t state[8];
  uint64_t counted = 0;
  memcpy(state, initial, sizeof state);
  state[0] ^= 0x01010040;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  /* The last block is known as such only at the file's end, so one block always stays behind. */
  size_t have = 0;
  for (;;) {
    ssize_t got = read(fd, bytes + have, READ_BYTES - have);
    if (got < 0) {
      close(fd);
      return -1;
    }
    if (got == 0) break;
    have += (size_t)got;
    size_t used = 0;
    while (have - used > BLOCK_BYTES) {
      counted += BLOCK_BYTES;
      compress(state, bytes + used, counted, 0);
      used += BLOCK_BYTES;
    }
    memmove(bytes, bytes + used, have - used);
    have -= used;
  }
  close(fd);
  memset(bytes + have, 0, BLOCK_BYTES - have);
  compress(state, bytes, counted + have, 1);
  for (int index = 0; index < HASH_DIGITS / 2; index += 1) {
    uint8_t byte = (uint8_t)(state[index / 8] >> (8 * (index % 8)));
    hexadecimal[2 * index] = "0123456789abcdef"[byte >> 4];
    hexadecimal[2 * index + 1] = "0123456789abcdef"[byte & 15];
  }
  hexadecimal[HASH_DIGITS] = 0;
  return 0;
}
