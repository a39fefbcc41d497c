/* m2p_reader.c - reference reader for .m2p archives, format version 1 (docs/spec/m2pack.md).
 *
 * One file, libsodium and libzstd, so that a native client can take it as it is:
 *     cc -O2 -Wall -Wextra -o m2p_reader m2p_reader.c -lsodium -lzstd
 *     ./m2p_reader list    ARCHIVE PUBLIC_KEY_FILE
 *     ./m2p_reader verify  ARCHIVE PUBLIC_KEY_FILE CONTENT_KEY_FILE [KEY_ID]
 *     ./m2p_reader extract ARCHIVE PUBLIC_KEY_FILE CONTENT_KEY_FILE FOLDER [KEY_ID]
 * Key files hold 64 hex digits. KEY_ID defaults to the archive's own; a client passes the one its key came with.
 * A refusal prints the code of the table in the package's README and exits with 4.
 *
 * It checks everything a reader must but for three rules on names that need Unicode tables (NFC, unassigned code
 * points, folding beyond ASCII): the signature says that the publisher's writer has checked those.
 */
#define _GNU_SOURCE
#define _FILE_OFFSET_BITS 64
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

enum { HEADER = 128, PREAMBLE = 64, SLOT = 76, FIXED = 58, SEGMENT = 28, TAG = 16 };
static const uint64_t MAX_MANIFEST = 64ull << 20, MAX_FILE = 64ull << 30, MAX_WINDOW = 8ull << 20, SAFE = (1ull << 53) - 1;
static const uint32_t MAX_ENTRIES = 1000000, MAX_SLOTS = 1024;

typedef struct {
  const uint8_t *path; /* in the manifest, not terminated */
  uint16_t path_len;
  uint64_t offset, size, stored;
  uint32_t slot, count;
  uint8_t compressed;
  const uint8_t *sha256, *segments;
} Entry;

typedef struct { uint32_t number; uint8_t secret[32]; const uint8_t *wrapped; } Slot;
typedef struct { uint64_t offset, length; } Gap;

typedef struct {
  FILE *file;
  uint64_t size;
  uint32_t key_id, segment_size, entry_count, slot_count;
  uint64_t manifest_offset, manifest_size;
  uint8_t *manifest;
  const uint8_t *commitment;
  Entry *entries;
  Slot *slots;
  Gap *gaps;
  size_t gap_count;
} Archive;

static void refuse(const char *code, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fprintf(stderr, "%s: ", code);
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  va_end(arguments);
  exit(4);
}

static void *allocate(size_t size) {
  void *memory = malloc(size ? size : 1);
  if (!memory) { fputs("out of memory\n", stderr); exit(3); }
  return memory;
}

static uint16_t u16(const uint8_t *p) { return (uint16_t)(p[0] | p[1] << 8); }
static uint32_t u32(const uint8_t *p) { return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24; }
static uint64_t u64(const uint8_t *p) { return (uint64_t)u32(p) | (uint64_t)u32(p + 4) << 32; }
static void put16(uint8_t *p, uint16_t v) { p[0] = v & 255; p[1] = v >> 8; }
static void put32(uint8_t *p, uint32_t v) { for (int i = 0; i < 4; i++) p[i] = (v >> (8 * i)) & 255; }

static void read_at(Archive *a, uint64_t offset, uint8_t *out, size_t length) {
  if (offset > a->size || length > a->size - offset) refuse("M2P_TRUNCATED", "bytes from %llu are missing", (unsigned long long)offset);
  if (fseeko(a->file, (off_t)offset, SEEK_SET) || fread(out, 1, length, a->file) != length) { perror("read"); exit(3); }
}

/* HMAC-SHA-256 over a label and up to five parts. */
typedef struct { const void *bytes; size_t length; } Part;
static void hmac(uint8_t out[32], const uint8_t key[32], const char *label, const Part *parts, int count) {
  crypto_auth_hmacsha256_state state;
  crypto_auth_hmacsha256_init(&state, key, 32);
  crypto_auth_hmacsha256_update(&state, (const uint8_t *)label, strlen(label));
  for (int i = 0; i < count; i++) crypto_auth_hmacsha256_update(&state, parts[i].bytes, parts[i].length);
  crypto_auth_hmacsha256_final(&state, out);
}

/* ---- header ---- */

static void read_header(Archive *a, uint8_t hash[32], uint8_t signature[64]) {
  static const uint8_t magic[8] = "M2PACK2";
  uint8_t h[HEADER];
  size_t have = a->size < HEADER ? (size_t)a->size : HEADER;
  read_at(a, 0, h, have);
  if (have < 8) refuse("M2P_TRUNCATED", "no magic");
  if (memcmp(h, magic, 8)) refuse("M2P_MAGIC", "not an .m2p archive");
  if (have < 12) refuse("M2P_TRUNCATED", "no version");
  if (u32(h + 8) != 1) refuse("M2P_VERSION", "version %u", u32(h + 8));
  if (have < 16) refuse("M2P_TRUNCATED", "no key_id");
  a->key_id = u32(h + 12);
  if (!a->key_id) refuse("M2P_HEADER", "key_id 0");
  if (have < 24) refuse("M2P_TRUNCATED", "no manifest offset");
  a->manifest_offset = u64(h + 16);
  if (a->manifest_offset > SAFE) refuse("M2P_LIMIT", "manifest offset");
  if (a->manifest_offset < HEADER) refuse("M2P_HEADER", "manifest in the header");
  if (have < 32) refuse("M2P_TRUNCATED", "no manifest size");
  a->manifest_size = u64(h + 24);
  if (a->manifest_size > MAX_MANIFEST) refuse("M2P_LIMIT", "manifest size");
  if (a->manifest_size < PREAMBLE) refuse("M2P_HEADER", "manifest too small");
  if (have < HEADER) refuse("M2P_TRUNCATED", "header");
  if (a->manifest_offset > a->size || a->manifest_size > a->size - a->manifest_offset) refuse("M2P_TRUNCATED", "manifest");
  memcpy(hash, h + 32, 32);
  memcpy(signature, h + 64, 64);
}

static void check_manifest(Archive *a, const uint8_t hash[32], const uint8_t signature[64], const uint8_t public_key[32]) {
  uint8_t actual[32];
  a->manifest = allocate(a->manifest_size);
  read_at(a, a->manifest_offset, a->manifest, a->manifest_size);
  crypto_generichash(actual, 32, a->manifest, a->manifest_size, NULL, 0);
  if (sodium_memcmp(actual, hash, 32)) refuse("M2P_MANIFEST_HASH", "manifest hash");
  if (crypto_sign_verify_detached(signature, a->manifest, a->manifest_size, public_key)) refuse("M2P_SIGNATURE", "signature");
}

/* ---- paths ---- */

static const char YMIR[] = "d:/ymir work/";

/* Decodes one character; 0 for the end is impossible here, -1 for invalid UTF-8. */
static int32_t next_character(const uint8_t *p, size_t left, int *length) {
  if (p[0] < 0x80) { *length = 1; return p[0]; }
  int n = p[0] >= 0xf0 && p[0] < 0xf5 ? 4 : p[0] >= 0xe0 ? 3 : p[0] >= 0xc2 ? 2 : 0;
  if (p[0] >= 0xf5 || !n || (size_t)n > left) return -1;
  int32_t c = p[0] & (0x7f >> n);
  for (int i = 1; i < n; i++) {
    if ((p[i] & 0xc0) != 0x80) return -1;
    c = c << 6 | (p[i] & 0x3f);
  }
  if ((n == 3 && c < 0x800) || (n == 4 && c < 0x10000) || c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) return -1;
  *length = n;
  return c;
}

static int forbidden(int32_t c) {
  if (c < 0x20 || (c >= 0x7f && c < 0xa0)) return 1;
  if (c < 0x80) return strchr("\\:*?\"<>|", c) != NULL;
  return c == 0x61c || c == 0x180e || (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) ||
         c == 0xfeff || (c & 0xfffe) == 0xfffe || (c >= 0xfdd0 && c <= 0xfdef);
}

static int is_device(const uint8_t *part, size_t length) {
  static const char *const names[] = {"con", "prn", "aux", "nul", "conin$", "conout$"};
  const uint8_t *dot = memchr(part, '.', length);
  size_t n = dot ? (size_t)(dot - part) : length;
  while (n && part[n - 1] == ' ') n--;
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (n == strlen(names[i]) && !strncasecmp((const char *)part, names[i], n)) return 1;
  if (n < 4 || (strncasecmp((const char *)part, "com", 3) && strncasecmp((const char *)part, "lpt", 3))) return 0;
  if (n == 4) return part[3] >= '0' && part[3] <= '9';
  return n == 5 && part[3] == 0xc2 && (part[4] == 0xb9 || part[4] == 0xb2 || part[4] == 0xb3);
}

static void check_part(const uint8_t *part, size_t length) {
  if (!length || (length == 1 && part[0] == '.') || (length == 2 && part[0] == '.' && part[1] == '.')) refuse("M2P_PATH", "part of a path");
  if (part[length - 1] == '.' || part[length - 1] == ' ') refuse("M2P_PATH", "part ends in dot or space");
  if (is_device(part, length)) refuse("M2P_PATH", "device name");
}

/* The path as it is checked and extracted: "d:/ymir work/" counts as "ymir work/". */
static const uint8_t *logical(const Entry *e, size_t *length) {
  int skip = e->path_len >= sizeof YMIR - 1 && !memcmp(e->path, YMIR, sizeof YMIR - 1) ? 3 : 0;
  *length = e->path_len - (size_t)skip;
  return e->path + skip;
}

static void check_path(const Entry *e) {
  size_t length, parts = 1, start = 0;
  const uint8_t *path = logical(e, &length);
  for (size_t i = 0; i < length;) {
    int n;
    int32_t c = next_character(path + i, length - i, &n);
    if (c < 0) refuse("M2P_PATH", "not UTF-8");
    i += (size_t)n;
  }
  if (e->path_len > 1024) refuse("M2P_LIMIT", "path too long");
  for (size_t i = 0; i < length; i++) parts += path[i] == '/';
  if (parts > 32) refuse("M2P_LIMIT", "path too deep");
  if (!length) refuse("M2P_PATH", "empty");
  for (size_t i = 0; i < length;) {
    int n;
    if (forbidden(next_character(path + i, length - i, &n))) refuse("M2P_PATH", "forbidden character");
    i += (size_t)n;
  }
  for (size_t i = 0; i <= length; i++)
    if (i == length || path[i] == '/') { check_part(path + start, i - start); start = i + 1; }
}

/* Compares logical paths, ASCII case aside; '/' sorts first so that a folder is followed by what is in it. */
static int folded(uint8_t c) { return c == '/' ? 0 : c >= 'A' && c <= 'Z' ? c + 32 : c; }
static int by_fold(const void *left, const void *right) {
  size_t l, r;
  const uint8_t *a = logical(*(const Entry *const *)left, &l), *b = logical(*(const Entry *const *)right, &r);
  for (size_t i = 0; i < l && i < r; i++) if (folded(a[i]) != folded(b[i])) return folded(a[i]) - folded(b[i]);
  return l < r ? -1 : l > r;
}

static void check_collisions(Archive *a) {
  Entry **sorted = allocate(a->entry_count * sizeof *sorted);
  for (uint32_t i = 0; i < a->entry_count; i++) sorted[i] = &a->entries[i];
  qsort(sorted, a->entry_count, sizeof *sorted, by_fold);
  for (uint32_t i = 1; i < a->entry_count; i++) {
    size_t l, r, same = 0;
    const uint8_t *p = logical(sorted[i - 1], &l), *q = logical(sorted[i], &r);
    while (same < l && same < r && folded(p[same]) == folded(q[same])) same++;
    if (same == l && (l == r || q[l] == '/')) refuse("M2P_PATH_COLLISION", "two paths collide");
  }
  free(sorted);
}

/* ---- manifest ---- */

static void parse_slots(Archive *a, uint64_t *at) {
  if (a->manifest_size - *at < (uint64_t)a->slot_count * SLOT) refuse("M2P_TOC", "slots");
  a->slots = allocate(a->slot_count * sizeof *a->slots);
  for (uint32_t i = 0; i < a->slot_count; i++, *at += SLOT) {
    a->slots[i].number = u32(a->manifest + *at);
    a->slots[i].wrapped = a->manifest + *at + 4;
    if (a->slots[i].number <= (i ? a->slots[i - 1].number : 0)) refuse("M2P_TOC", "slot numbers");
  }
}

static Slot *find_slot(const Archive *a, uint32_t number) {
  for (uint32_t i = 0; i < a->slot_count; i++) if (a->slots[i].number == number) return &a->slots[i];
  return NULL;
}

static uint64_t segment_bytes(const Archive *a, const Entry *e, uint32_t index) {
  uint64_t left = e->size - (uint64_t)index * a->segment_size;
  return left < a->segment_size ? left : a->segment_size;
}

static uint64_t parse_entry(Archive *a, Entry *e, const Entry *previous, uint64_t at) {
  const uint8_t *m = a->manifest;
  uint64_t left = a->manifest_size - at;
  if (left < 2) refuse("M2P_TOC", "entry");
  e->path_len = u16(m + at);
  e->path = m + at + 2;
  if (!e->path_len) refuse("M2P_PATH", "empty path");
  if (left < FIXED + (uint64_t)e->path_len) refuse("M2P_TOC", "entry");
  if (previous) {
    size_t shared = e->path_len < previous->path_len ? e->path_len : previous->path_len;
    int order = memcmp(previous->path, e->path, shared);
    if (!order) order = previous->path_len - e->path_len;
    if (!order) refuse("M2P_PATH_COLLISION", "path twice");
    if (order > 0) refuse("M2P_TOC", "order of paths");
  }
  check_path(e);
  const uint8_t *p = e->path + e->path_len;
  e->offset = u64(p);
  e->size = u64(p + 8);
  e->slot = u32(p + 16);
  e->compressed = p[20];
  if (e->offset > SAFE) refuse("M2P_TOC", "offset");
  if (e->size > MAX_FILE) refuse("M2P_LIMIT", "file size");
  if (!find_slot(a, e->slot)) refuse("M2P_TOC", "slot");
  if (u32(p + 20) > 1) refuse("M2P_HEADER", "compression or reserved bytes");
  e->sha256 = p + 24;
  e->segments = p + 56;
  uint64_t count = e->size ? (e->size + a->segment_size - 1) / a->segment_size : 1;
  if ((left - FIXED - e->path_len) / SEGMENT < count) refuse("M2P_TOC", "segments");
  e->count = (uint32_t)count;
  e->stored = 0;
  for (uint32_t i = 0; i < e->count; i++) {
    uint64_t plain = segment_bytes(a, e, i), stored = u32(e->segments + (size_t)i * SEGMENT);
    int fits = e->compressed ? plain && stored > TAG && stored <= plain + plain / 256 + 80 : stored == plain + TAG;
    if (!fits) refuse("M2P_SIZE", "stored size");
    e->stored += stored;
  }
  return at + FIXED + e->path_len + count * SEGMENT;
}

typedef struct { uint64_t offset, end; int manifest; } Extent;
static int by_offset(const void *l, const void *r) {
  const Extent *a = l, *b = r;
  return a->offset < b->offset ? -1 : a->offset > b->offset;
}

static void check_layout(Archive *a) {
  size_t n = (size_t)a->entry_count + 1;
  Extent *x = allocate(n * sizeof *x);
  for (uint32_t i = 0; i < a->entry_count; i++) x[i] = (Extent){a->entries[i].offset, a->entries[i].offset + a->entries[i].stored, 0};
  x[n - 1] = (Extent){a->manifest_offset, a->manifest_offset + a->manifest_size, 1};
  qsort(x, n, sizeof *x, by_offset);
  a->gaps = allocate(n * sizeof *a->gaps);
  uint64_t end = HEADER;
  for (size_t i = 0; i < n; i++) {
    if (x[i].offset < end) refuse("M2P_TOC", "ranges overlap");
    uint64_t gap = x[i].offset - end, power = 1;
    while (power < 1 << 20 && x[i].offset % (power * 2) == 0) power *= 2;
    if (gap && (x[i].manifest || gap >= power)) refuse("M2P_TOC", "bytes that belong to nothing");
    if (gap) a->gaps[a->gap_count++] = (Gap){end, gap};
    end = x[i].end;
  }
  free(x);
  if (end > a->size) refuse("M2P_TRUNCATED", "payload");
  if (end < a->size) refuse("M2P_TRAILING", "bytes follow the archive");
}

static void parse_manifest(Archive *a) {
  const uint8_t *m = a->manifest;
  if (memcmp(m, "M2MF", 4) || u32(m + 4) != 1 || u32(m + 8) != a->key_id) refuse("M2P_HEADER", "preamble");
  a->entry_count = u32(m + 12);
  if (a->entry_count > MAX_ENTRIES) refuse("M2P_LIMIT", "entries");
  a->segment_size = u32(m + 16);
  if (a->segment_size < 65536 || a->segment_size > 16777216 || (a->segment_size & (a->segment_size - 1))) refuse("M2P_HEADER", "segment size");
  if (u32(m + 20)) refuse("M2P_HEADER", "flags");
  a->slot_count = u32(m + 24);
  if (a->slot_count > MAX_SLOTS) refuse("M2P_LIMIT", "slots");
  if (u32(m + 28)) refuse("M2P_HEADER", "reserved");
  a->commitment = m + 32;
  uint64_t at = PREAMBLE;
  parse_slots(a, &at);
  if ((a->manifest_size - at) / FIXED < a->entry_count) refuse("M2P_TOC", "entries");
  a->entries = allocate(a->entry_count * sizeof *a->entries);
  for (uint32_t i = 0; i < a->entry_count; i++) at = parse_entry(a, &a->entries[i], i ? &a->entries[i - 1] : NULL, at);
  if (at != a->manifest_size) refuse("M2P_TOC", "bytes follow the last entry");
  check_collisions(a);
  check_layout(a);
}

/* ---- keys ---- */

static void unlock(Archive *a, const uint8_t key[32], uint32_t key_id) {
  uint8_t id[4], mac[32], wrap[32];
  if (key_id != a->key_id) refuse("M2P_KEY_ID_MISMATCH", "archive %u, key %u", a->key_id, key_id);
  put32(id, key_id);
  hmac(mac, key, "m2pack key commitment v1", (Part[]){{id, 4}}, 1);
  if (sodium_memcmp(mac, a->commitment, 32)) refuse("M2P_KEY_COMMITMENT", "wrong content key");
  hmac(wrap, key, "m2pack wrap key v1", (Part[]){{id, 4}}, 1);
  for (uint32_t i = 0; i < a->slot_count; i++) {
    uint8_t aad[14 + 8] = "m2pack slot v1";
    put32(aad + 14, key_id);
    put32(aad + 18, a->slots[i].number);
    const uint8_t *w = a->slots[i].wrapped;
    if (crypto_aead_xchacha20poly1305_ietf_decrypt(a->slots[i].secret, NULL, NULL, w + 24, 48, aad, sizeof aad, w, wrap)) refuse("M2P_DECRYPT", "slot %u", a->slots[i].number);
  }
  sodium_memzero(wrap, sizeof wrap);
}

/* ---- payload ---- */

/* One plain frame of exactly `size` bytes and nothing beside it: decoders let too much pass. */
static void check_frame(const uint8_t *f, size_t n, uint64_t size) {
  if (n < 5 || u32(f) != 0xfd2fb528) refuse("M2P_ZSTD", "no frame");
  unsigned d = f[4], single = d >> 5 & 1, flag = d >> 6;
  if (d & 0x0f) refuse("M2P_ZSTD", "dictionary, checksum or reserved bit");
  size_t bytes = flag ? (size_t)1 << flag : single, at = single ? 5 : 6;
  if (!bytes) refuse("M2P_ZSTD", "no content size");
  if (at + bytes > n) refuse("M2P_ZSTD", "cut");
  uint64_t content = 0;
  for (size_t i = bytes; i-- > 0;) content = content << 8 | f[at + i];
  if (bytes == 2) content += 256;
  uint64_t base = 1ull << (10 + (f[5] >> 3)), window = single ? content : base + base / 8 * (f[5] & 7);
  if (window > MAX_WINDOW) refuse("M2P_LIMIT", "window");
  if (content != size) refuse("M2P_SIZE", "content size");
  at += bytes;
  for (int last = 0; !last;) {
    if (at + 3 > n) refuse("M2P_ZSTD", "cut");
    uint32_t block = f[at] | f[at + 1] << 8 | (uint32_t)f[at + 2] << 16;
    last = block & 1;
    if ((block >> 1 & 3) == 3) refuse("M2P_ZSTD", "reserved block");
    at += 3 + ((block >> 1 & 3) == 1 ? 1 : block >> 3);
    if (at > n) refuse("M2P_ZSTD", "cut");
  }
  if (at != n) refuse("M2P_ZSTD", "bytes follow the frame");
}

typedef void (*Take)(void *context, const uint8_t *bytes, size_t length);

/* Opens a file segment by segment; the caller sees nothing that a tag did not cover, and the hash decides at the end. */
static void read_file(Archive *a, const Entry *e, Take take, void *context) {
  uint8_t key[32], length[2], digest[32];
  put16(length, e->path_len);
  hmac(key, find_slot(a, e->slot)->secret, "m2pack file key v1", (Part[]){{length, 2}, {e->path, e->path_len}, {e->sha256, 32}}, 3);
  size_t most = (size_t)a->segment_size + a->segment_size / 256 + 80;
  uint8_t *stored = allocate(most), *opened = allocate(most), *plain = allocate(a->segment_size), *aad = allocate(e->path_len + 9u);
  crypto_hash_sha256_state sha;
  crypto_hash_sha256_init(&sha);
  ZSTD_DCtx *zstd = ZSTD_createDCtx();
  uint64_t offset = e->offset;
  memcpy(aad, e->path, e->path_len);
  aad[e->path_len] = 0;
  for (uint32_t i = 0; i < e->count; i++) {
    size_t n = u32(e->segments + (size_t)i * SEGMENT), size = (size_t)segment_bytes(a, e, i);
    const uint8_t *nonce = e->segments + (size_t)i * SEGMENT + 4, *out = opened;
    read_at(a, offset, stored, n);
    offset += n;
    put32(aad + e->path_len + 1, i);
    put32(aad + e->path_len + 5, e->count);
    if (crypto_aead_xchacha20poly1305_ietf_decrypt(opened, NULL, NULL, stored, n, aad, e->count == 1 ? e->path_len : e->path_len + 9u, nonce, key))
      refuse("M2P_DECRYPT", "segment %u", i);
    if (e->compressed) {
      check_frame(opened, n - TAG, size);
      size_t got = ZSTD_decompressDCtx(zstd, plain, size, opened, n - TAG);
      if (ZSTD_isError(got)) refuse("M2P_ZSTD", "%s", ZSTD_getErrorName(got));
      if (got != size) refuse("M2P_SIZE", "segment");
      out = plain;
    }
    crypto_hash_sha256_update(&sha, out, size);
    take(context, out, size);
  }
  crypto_hash_sha256_final(&sha, digest);
  if (sodium_memcmp(digest, e->sha256, 32)) refuse("M2P_HASH", "content");
  ZSTD_freeDCtx(zstd);
  sodium_memzero(key, sizeof key);
  free(stored); free(opened); free(plain); free(aad);
}

static void check_gaps(Archive *a) {
  for (size_t i = 0; i < a->gap_count; i++) {
    uint8_t *bytes = allocate(a->gaps[i].length);
    read_at(a, a->gaps[i].offset, bytes, a->gaps[i].length);
    if (!sodium_is_zero(bytes, a->gaps[i].length)) refuse("M2P_PADDING", "padding is not zero");
    free(bytes);
  }
}

/* ---- commands ---- */

static void ignore(void *context, const uint8_t *bytes, size_t length) { (void)context; (void)bytes; (void)length; }

static void write_out(void *context, const uint8_t *bytes, size_t length) {
  if (length && fwrite(bytes, 1, length, context) != length) { perror("write"); exit(3); }
}

/* Folders are opened one below the other and no link is followed: nothing outside `root` can be touched. */
static void extract_file(Archive *a, const Entry *e, int root) {
  char name[1028];
  size_t length;
  const uint8_t *path = logical(e, &length);
  int folder = dup(root);
  memcpy(name, path, length);
  name[length] = 0;
  char *part = name;
  for (char *slash; (slash = strchr(part, '/')); part = slash + 1) {
    *slash = 0;
    if (mkdirat(folder, part, 0755) && errno != EEXIST) { perror(part); exit(3); }
    int next = openat(folder, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (next < 0) refuse("M2P_SYMLINK", "%s", part);
    close(folder);
    folder = next;
  }
  int fd = openat(folder, part, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
  if (fd < 0) { perror(part); exit(3); }
  FILE *out = fdopen(fd, "wb");
  read_file(a, e, write_out, out);
  if (fclose(out)) { perror(part); exit(3); }
  close(folder);
}

static void read_key(const char *path, uint8_t key[32]) {
  char text[66] = {0};
  size_t n;
  FILE *f = fopen(path, "rb");
  if (!f || fread(text, 1, 65, f) < 64 || sodium_hex2bin(key, 32, text, 64, NULL, &n, NULL) || n != 32) { fprintf(stderr, "%s: no key\n", path); exit(2); }
  fclose(f);
  sodium_memzero(text, sizeof text);
}

static uint32_t key_id_of(int argc, char **argv, int index, const Archive *a) {
  return argc > index ? (uint32_t)strtoul(argv[index], NULL, 10) : a->key_id;
}

int main(int argc, char **argv) {
  int extract = argc >= 6 && !strcmp(argv[1], "extract"), verify = argc >= 5 && !strcmp(argv[1], "verify");
  if (!(argc >= 4 && !strcmp(argv[1], "list")) && !extract && !verify) {
    fputs("usage: m2p_reader list ARCHIVE PUBLIC | verify ARCHIVE PUBLIC KEY [KEY_ID] | extract ARCHIVE PUBLIC KEY FOLDER [KEY_ID]\n", stderr);
    return 2;
  }
  if (sodium_init() < 0) return 3;
  Archive a = {0};
  uint8_t public_key[32], hash[32], signature[64], key[32];
  struct stat st;
  a.file = fopen(argv[2], "rb");
  if (!a.file || fstat(fileno(a.file), &st)) { perror(argv[2]); return 3; }
  a.size = (uint64_t)st.st_size;
  read_key(argv[3], public_key);
  read_header(&a, hash, signature);
  check_manifest(&a, hash, signature, public_key);
  parse_manifest(&a);
  if (!extract && !verify) {
    for (uint32_t i = 0; i < a.entry_count; i++) printf("%llu %.*s\n", (unsigned long long)a.entries[i].size, a.entries[i].path_len, a.entries[i].path);
    return 0;
  }
  read_key(argv[4], key);
  unlock(&a, key, key_id_of(argc, argv, extract ? 6 : 5, &a));
  sodium_memzero(key, sizeof key);
  check_gaps(&a);
  int root = -1;
  if (extract) {
    mkdir(argv[5], 0755);
    root = open(argv[5], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root < 0) { perror(argv[5]); return 3; }
  }
  for (uint32_t i = 0; i < a.entry_count; i++) {
    if (extract) extract_file(&a, &a.entries[i], root);
    else read_file(&a, &a.entries[i], ignore, NULL);
  }
  printf("ok %u files\n", a.entry_count);
  for (uint32_t i = 0; i < a.slot_count; i++) sodium_memzero(a.slots[i].secret, 32);
  return 0;
}
