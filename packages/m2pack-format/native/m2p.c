/* m2p.c - see m2p.h. The sections of docs/spec/m2pack.md are named where their rules are applied; "v2 §" are those of
 * docs/spec/m2pack-v2.md. */
#define _FILE_OFFSET_BITS 64
#define _POSIX_C_SOURCE 200809L
#define ZSTD_STATIC_LINKING_ONLY /* ZSTD_createDCtx_advanced: decoders use the caller's allocator, too */
#define M2P_BUILDING
#include "m2p.h"

#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#ifdef _WIN32
#  define WIN32_LEAN_AND_MEAN
#  include <windows.h>
#else
#  include <errno.h>
#  include <fcntl.h>
#  include <sys/stat.h>
#  include <unistd.h>
#endif

enum { HEADER = 128, PREAMBLE = 64, SLOT = 76, ENTRY_FIXED = 58, SEGMENT = 28, TAG = 16, NONCE = 24, KEY = 32 };
enum { ENTRY_FIXED_2 = 54, SEGMENT_2 = 32, TIME = 8, MAX_AVERAGE = 4 << 20, MAX_ALIGN = 1 << 20 }; /* of version 2 */
enum { SEALED_TABLE = 2, TIMES = 4, EXECUTABLE = 1 };
static const uint64_t LATEST = 253402300799999ull; /* the last millisecond of the year 9999 */
enum { MAX_PATH_BYTES = 1024, MAX_PARTS = 32, MAX_SLOTS = 1024, MAX_GAP = 1 << 20, PAD_PIECE = 4096 };
static const uint64_t MAX_MANIFEST = 64ull << 20, MAX_FILE = 64ull << 30, MAX_WINDOW = 8ull << 20;
/* Offsets above this are refused by the reader in JavaScript, which counts in doubles. */
static const uint64_t SAFE = (1ull << 53) - 1;
static const uint32_t MAX_ENTRIES = 1000000;

typedef struct {
  const uint8_t *path; /* in the manifest, not terminated */
  uint64_t offset, size, stored;
  const uint8_t *sha256, *segments;
  uint64_t modified;
  uint32_t slot, count;
  uint16_t path_len;
  uint8_t compressed, executable;
} Entry;

typedef struct {
  const uint8_t *wrapped;
  uint32_t number;
  uint8_t secret[KEY];
} Slot;

typedef struct {
  uint64_t offset, length;
} Gap;

struct m2p_archive {
  m2p_source source;
  m2p_allocator memory;
  uint64_t max_manifest, max_file;
  uint64_t manifest_offset, manifest_size;
  uint64_t table_at, table_end; /* the entries, within the manifest */
  uint64_t payload_end; /* where the next payload of version 2 may start */
  uint32_t max_entries, key_id, segment_size, entry_count, slot_count;
  uint32_t version, align;
  uint32_t largest; /* bytes of plaintext of the longest segment */
  uint32_t announced; /* entries, as the preamble counts them */
  uint8_t *manifest;
  const uint8_t *commitment;
  Entry *entries;
  Entry **by_fold; /* the same entries, in the order of their folded paths */
  Slot *slots;
  Gap *gaps;
  size_t gap_count;
  int unlocked, sealed, times; /* sealed: the table is still encrypted */
};

struct m2p_reader {
  const m2p_archive *archive;
  ZSTD_DCtx *zstd;
  uint8_t *stored, *opened, *plain; /* one segment each */
  size_t most;                      /* bytes of `stored` and `opened` */
  size_t most_plain;                /* bytes of `plain` */
  const Entry *current;             /* of m2p_begin(), NULL when there is none */
  uint8_t key[KEY];
  uint64_t offset;
  uint32_t next;
  crypto_hash_sha256_state sha;
};

/* ---- errors, memory, bytes ---- */

static m2p_status fail(m2p_error *error, m2p_status status, const char *format, ...) {
  if (error) {
    va_list arguments;
    error->status = status;
    va_start(arguments, format);
    vsnprintf(error->message, sizeof error->message, format, arguments);
    va_end(arguments);
  }
  return status;
}

const char *m2p_code(m2p_status status) {
  switch (status) {
    case M2P_OK: return "M2P_OK";
    case M2P_E_TRUNCATED: return "M2P_TRUNCATED";
    case M2P_E_MAGIC: return "M2P_MAGIC";
    case M2P_E_VERSION: return "M2P_VERSION";
    case M2P_E_HEADER: return "M2P_HEADER";
    case M2P_E_LIMIT: return "M2P_LIMIT";
    case M2P_E_TOC: return "M2P_TOC";
    case M2P_E_TRAILING: return "M2P_TRAILING";
    case M2P_E_PADDING: return "M2P_PADDING";
    case M2P_E_PATH: return "M2P_PATH";
    case M2P_E_PATH_COLLISION: return "M2P_PATH_COLLISION";
    case M2P_E_SIZE: return "M2P_SIZE";
    case M2P_E_ZSTD: return "M2P_ZSTD";
    case M2P_E_MANIFEST_HASH: return "M2P_MANIFEST_HASH";
    case M2P_E_SIGNATURE: return "M2P_SIGNATURE";
    case M2P_E_KEY_ID_UNKNOWN: return "M2P_KEY_ID_UNKNOWN";
    case M2P_E_KEY_ID_MISMATCH: return "M2P_KEY_ID_MISMATCH";
    case M2P_E_KEY_COMMITMENT: return "M2P_KEY_COMMITMENT";
    case M2P_E_DECRYPT: return "M2P_DECRYPT";
    case M2P_E_NONCE: return "M2P_NONCE";
    case M2P_E_HASH: return "M2P_HASH";
    case M2P_E_ENTRY_UNKNOWN: return "M2P_ENTRY_UNKNOWN";
    case M2P_E_IO: return "M2P_IO";
    case M2P_E_MEMORY: return "M2P_MEMORY";
    case M2P_E_USAGE: return "M2P_USAGE";
    case M2P_E_SEALED: return "M2P_SEALED";
  }
  return "M2P_USAGE";
}

static void *default_allocate(void *context, size_t size) {
  (void)context;
  return malloc(size);
}

static void default_release(void *context, void *memory) {
  (void)context;
  free(memory);
}

static void *allocate(const m2p_archive *a, size_t count, size_t size) {
  if (count > SIZE_MAX / size) return NULL;
  return a->memory.allocate(a->memory.context, count ? count * size : 1);
}

static void release(const m2p_archive *a, void *memory) {
  if (memory) a->memory.release(a->memory.context, memory);
}

static m2p_status no_memory(m2p_error *error) { return fail(error, M2P_E_MEMORY, "out of memory"); }

static uint16_t u16(const uint8_t *p) { return (uint16_t)(p[0] | p[1] << 8); }
static uint32_t u32(const uint8_t *p) {
  return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}
static uint64_t u64(const uint8_t *p) { return (uint64_t)u32(p) | (uint64_t)u32(p + 4) << 32; }
static void put16(uint8_t *p, uint16_t v) {
  p[0] = (uint8_t)(v & 255);
  p[1] = (uint8_t)(v >> 8);
}
static void put32(uint8_t *p, uint32_t v) {
  for (int i = 0; i < 4; i++) p[i] = (uint8_t)(v >> (8 * i));
}

static m2p_status read_at(const m2p_source *source, uint64_t offset, void *out, size_t length, m2p_error *error) {
  if (offset > source->size || length > source->size - offset)
    return fail(error, M2P_E_TRUNCATED, "the archive ends before byte %llu", (unsigned long long)(offset + length));
  if (length && source->read(source->context, offset, out, length))
    return fail(error, M2P_E_IO, "%llu bytes at %llu could not be read", (unsigned long long)length,
                (unsigned long long)offset);
  return M2P_OK;
}

/* ---- sources ---- */

static int read_memory(void *context, uint64_t offset, void *out, size_t length) {
  memcpy(out, (const uint8_t *)context + offset, length);
  return 0;
}

m2p_status m2p_memory_source(const void *bytes, size_t size, m2p_source *source, m2p_error *error) {
  if (!source || (!bytes && size)) return fail(error, M2P_E_USAGE, "m2p_memory_source needs bytes and a source");
  source->context = (void *)bytes;
  source->size = size;
  source->read = read_memory;
  source->close = NULL;
  return M2P_OK;
}

#ifdef _WIN32
static int read_handle(void *context, uint64_t offset, void *out, size_t length) {
  uint8_t *at = (uint8_t *)out;
  while (length) {
    OVERLAPPED where;
    DWORD got = 0, part = length > (1u << 30) ? 1u << 30 : (DWORD)length;
    memset(&where, 0, sizeof where);
    where.Offset = (DWORD)offset;
    where.OffsetHigh = (DWORD)(offset >> 32);
    if (!ReadFile((HANDLE)context, at, part, &got, &where) || !got) return -1;
    at += got;
    offset += got;
    length -= got;
  }
  return 0;
}

static void close_handle(void *context) { CloseHandle((HANDLE)context); }

m2p_status m2p_file_source(const char *path, m2p_source *source, m2p_error *error) {
  wchar_t wide[32768];
  LARGE_INTEGER size;
  HANDLE handle;
  if (!path || !source) return fail(error, M2P_E_USAGE, "m2p_file_source needs a path and a source");
  if (!MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, path, -1, wide, 32768))
    return fail(error, M2P_E_USAGE, "the path is not UTF-8 or too long");
  handle = CreateFileW(wide, GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_DELETE, NULL, OPEN_EXISTING,
                       FILE_ATTRIBUTE_NORMAL, NULL);
  if (handle == INVALID_HANDLE_VALUE)
    return fail(error, M2P_E_IO, "cannot open the archive: Windows error %lu", (unsigned long)GetLastError());
  if (!GetFileSizeEx(handle, &size)) {
    CloseHandle(handle);
    return fail(error, M2P_E_IO, "cannot ask for the size of the archive");
  }
  source->context = handle;
  source->size = (uint64_t)size.QuadPart;
  source->read = read_handle;
  source->close = close_handle;
  return M2P_OK;
}
#else
static int read_descriptor(void *context, uint64_t offset, void *out, size_t length) {
  uint8_t *at = (uint8_t *)out;
  while (length) {
    ssize_t got = pread((int)(intptr_t)context, at, length, (off_t)offset);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return -1;
    at += got;
    offset += (uint64_t)got;
    length -= (size_t)got;
  }
  return 0;
}

static void close_descriptor(void *context) { close((int)(intptr_t)context); }

m2p_status m2p_file_source(const char *path, m2p_source *source, m2p_error *error) {
  struct stat st;
  if (!path || !source) return fail(error, M2P_E_USAGE, "m2p_file_source needs a path and a source");
  int descriptor = open(path, O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return fail(error, M2P_E_IO, "cannot open the archive: %s", strerror(errno));
  if (fstat(descriptor, &st) || !S_ISREG(st.st_mode)) {
    close(descriptor);
    return fail(error, M2P_E_IO, "the archive is not a file");
  }
  source->context = (void *)(intptr_t)descriptor;
  source->size = (uint64_t)st.st_size;
  source->read = read_descriptor;
  source->close = close_descriptor;
  return M2P_OK;
}
#endif

/* ---- keys (§1) ---- */

typedef struct {
  const void *bytes;
  size_t length;
} Part;

static void hmac(uint8_t out[KEY], const uint8_t key[KEY], const char *label, const Part *parts, int count) {
  crypto_auth_hmacsha256_state state;
  crypto_auth_hmacsha256_init(&state, key, KEY);
  crypto_auth_hmacsha256_update(&state, (const uint8_t *)label, strlen(label));
  for (int i = 0; i < count; i++)
    crypto_auth_hmacsha256_update(&state, (const uint8_t *)parts[i].bytes, parts[i].length);
  crypto_auth_hmacsha256_final(&state, out);
  sodium_memzero(&state, sizeof state);
}

static Slot *find_slot(const m2p_archive *a, uint32_t number) {
  uint32_t low = 0, high = a->slot_count;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    if (a->slots[middle].number == number) return &a->slots[middle];
    if (a->slots[middle].number < number) low = middle + 1;
    else high = middle;
  }
  return NULL;
}

static m2p_status parse_table(m2p_archive *a, m2p_error *error);

/* Opens a sealed table in memory, in place of its ciphertext. The archive stays sealed when anything is refused. */
static m2p_status open_table(m2p_archive *a, const uint8_t content_key[KEY], const Part *id, m2p_error *error) {
  uint8_t key[KEY];
  uint64_t length = a->manifest_size - a->table_at;
  if (length < NONCE + TAG) return fail(error, M2P_E_TOC, "the sealed table is cut");
  length -= NONCE;
  uint8_t *sealed = a->manifest + a->table_at, *opened = (uint8_t *)allocate(a, (size_t)length, 1);
  if (!opened) return no_memory(error);
  hmac(key, content_key, a->version == 2 ? "m2pack table key v2" : "m2pack table key v1", id, 1);
  int failed = crypto_aead_xchacha20poly1305_ietf_decrypt(opened, NULL, NULL, sealed + NONCE, length, a->manifest,
                                                          PREAMBLE, sealed, key);
  sodium_memzero(key, sizeof key);
  m2p_status status = failed ? fail(error, M2P_E_DECRYPT, "the table does not open") : M2P_OK;
  if (!status) {
    memcpy(sealed, opened, (size_t)length - TAG);
    a->table_end = a->table_at + length - TAG;
    a->sealed = 0;
    status = parse_table(a, error);
    /* Its plain bytes are refused for good: there is no ciphertext left to try again with. */
    if (status) a->entry_count = 0;
  }
  release(a, opened);
  return status;
}

static void forget_slots(m2p_archive *a) {
  for (uint32_t i = 0; a->slots && i < a->slot_count; i++) sodium_memzero(a->slots[i].secret, KEY);
  a->unlocked = 0;
}

m2p_status m2p_unlock(m2p_archive *a, uint32_t key_id, const uint8_t content_key[KEY], m2p_error *error) {
  uint8_t id[4], mac[KEY], wrap[KEY], aad[14 + 8];
  Part part;
  m2p_status status = M2P_OK;
  if (!a || !content_key) return fail(error, M2P_E_USAGE, "m2p_unlock needs an archive and a key");
  if (key_id != a->key_id)
    return fail(error, M2P_E_KEY_ID_MISMATCH, "the archive has key_id %u, the content key %u", (unsigned)a->key_id,
                (unsigned)key_id);
  forget_slots(a);
  put32(id, key_id);
  part.bytes = id;
  part.length = sizeof id;
#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
  (void)mac, (void)aad, (void)wrap;
  a->unlocked = 1;
  return M2P_OK;
#endif
  hmac(mac, content_key, "m2pack key commitment v1", &part, 1);
  if (sodium_memcmp(mac, a->commitment, KEY))
    return fail(error, M2P_E_KEY_COMMITMENT, "the content key is not the one of this archive");
  hmac(wrap, content_key, "m2pack wrap key v1", &part, 1);
  memcpy(aad, "m2pack slot v1", 14);
  put32(aad + 14, key_id);
  for (uint32_t i = 0; i < a->slot_count && !status; i++) {
    const uint8_t *w = a->slots[i].wrapped;
    put32(aad + 18, a->slots[i].number);
    if (crypto_aead_xchacha20poly1305_ietf_decrypt(a->slots[i].secret, NULL, NULL, w + NONCE, KEY + TAG, aad,
                                                   sizeof aad, w, wrap))
      status = fail(error, M2P_E_DECRYPT, "slot %u does not open", (unsigned)a->slots[i].number);
  }
  sodium_memzero(wrap, sizeof wrap);
  if (!status && a->sealed) status = open_table(a, content_key, &part, error);
  if (status) forget_slots(a);
  else a->unlocked = 1;
  return status;
}

/* ---- paths (§4) ---- */

static const char YMIR[] = "d:/ymir work/";

/* Decodes one character of at least one byte; -1 for invalid UTF-8. */
static int32_t next_character(const uint8_t *p, size_t left, size_t *length) {
  size_t n = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf5 ? 4 : 0;
  if (!n || n > left) return -1;
  *length = n;
  if (n == 1) return p[0];
  int32_t c = p[0] & (0x7f >> n);
  for (size_t i = 1; i < n; i++) {
    if ((p[i] & 0xc0) != 0x80) return -1;
    c = c << 6 | (p[i] & 0x3f);
  }
  if ((n == 3 && c < 0x800) || (n == 4 && c < 0x10000) || c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) return -1;
  return c;
}

static int forbidden(int32_t c) {
  if (c < 0x20 || (c >= 0x7f && c < 0xa0)) return 1;
  if (c < 0x80) return strchr("\\:*?\"<>|", (int)c) != NULL;
  return c == 0x61c || c == 0x180e || (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
         (c >= 0x2060 && c <= 0x206f) || c == 0xfeff || (c & 0xfffe) == 0xfffe || (c >= 0xfdd0 && c <= 0xfdef);
}

static uint8_t lower(uint8_t c) { return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c; }

static int same_ascii(const uint8_t *part, size_t length, const char *name) {
  if (length != strlen(name)) return 0;
  for (size_t i = 0; i < length; i++)
    if (lower(part[i]) != (uint8_t)name[i]) return 0;
  return 1;
}

static int is_device(const uint8_t *part, size_t length) {
  static const char *const names[] = {"con", "prn", "aux", "nul", "conin$", "conout$"};
  const uint8_t *dot = (const uint8_t *)memchr(part, '.', length);
  size_t n = dot ? (size_t)(dot - part) : length;
  while (n && part[n - 1] == ' ') n--;
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (same_ascii(part, n, names[i])) return 1;
  if (n < 4 || (!same_ascii(part, 3, "com") && !same_ascii(part, 3, "lpt"))) return 0;
  if (n == 4) return part[3] >= '0' && part[3] <= '9';
  return n == 5 && part[3] == 0xc2 && (part[4] == 0xb9 || part[4] == 0xb2 || part[4] == 0xb3);
}

static m2p_status check_part(const uint8_t *part, size_t length, m2p_error *error) {
  if (!length || (length == 1 && part[0] == '.') || (length == 2 && part[0] == '.' && part[1] == '.'))
    return fail(error, M2P_E_PATH, "a path has an empty part, . or ..");
  if (part[length - 1] == '.' || part[length - 1] == ' ')
    return fail(error, M2P_E_PATH, "a part of a path ends in a dot or a space");
  if (is_device(part, length)) return fail(error, M2P_E_PATH, "a part of a path is the name of a device");
  return M2P_OK;
}

/* The path as it is checked, compared and extracted: "d:/ymir work/" counts as "ymir work/". */
static const uint8_t *logical(const Entry *e, size_t *length) {
  size_t skip = e->path_len >= sizeof YMIR - 1 && !memcmp(e->path, YMIR, sizeof YMIR - 1) ? 3 : 0;
  *length = e->path_len - skip;
  return e->path + skip;
}

static m2p_status check_path(const Entry *e, m2p_error *error) {
  size_t length, parts = 1, start = 0, n = 0;
  const uint8_t *path = logical(e, &length);
  for (size_t i = 0; i < length; i += n)
    if (next_character(path + i, length - i, &n) < 0) return fail(error, M2P_E_PATH, "a path is not UTF-8");
  if (e->path_len > MAX_PATH_BYTES) return fail(error, M2P_E_LIMIT, "a path is longer than %d bytes", MAX_PATH_BYTES);
  for (size_t i = 0; i < length; i++) parts += path[i] == '/';
  if (parts > MAX_PARTS) return fail(error, M2P_E_LIMIT, "a path has more than %d parts", MAX_PARTS);
  if (!length) return fail(error, M2P_E_PATH, "a path is empty");
  for (size_t i = 0; i < length; i += n)
    if (forbidden(next_character(path + i, length - i, &n)))
      return fail(error, M2P_E_PATH, "a path has a forbidden character");
  for (size_t i = 0; i <= length; i++) {
    if (i < length && path[i] != '/') continue;
    m2p_status status = check_part(path + start, i - start, error);
    if (status) return status;
    start = i + 1;
  }
  return M2P_OK;
}

/* '/' sorts first, so that a folder is followed by what is in it. */
static int fold(uint8_t c) { return c == '/' ? 0 : lower(c); }

static int compare_folded(const Entry *left, const Entry *right) {
  size_t l, r;
  const uint8_t *a = logical(left, &l), *b = logical(right, &r);
  for (size_t i = 0; i < l && i < r; i++)
    if (fold(a[i]) != fold(b[i])) return fold(a[i]) - fold(b[i]);
  return l < r ? -1 : l > r;
}

static int by_fold(const void *left, const void *right) {
  return compare_folded(*(const Entry *const *)left, *(const Entry *const *)right);
}

static int compare_paths(const uint8_t *a, size_t l, const uint8_t *b, size_t r) {
  int order = memcmp(a, b, l < r ? l : r);
  return order ? order : l < r ? -1 : l > r;
}

/* Sorts by folded path, and refuses two paths that one file system would take for one. */
static m2p_status sort_and_compare(m2p_archive *a, m2p_error *error) {
  a->by_fold = (Entry **)allocate(a, a->entry_count, sizeof *a->by_fold);
  if (!a->by_fold) return no_memory(error);
  for (uint32_t i = 0; i < a->entry_count; i++) a->by_fold[i] = &a->entries[i];
  qsort(a->by_fold, a->entry_count, sizeof *a->by_fold, by_fold);
  for (uint32_t i = 1; i < a->entry_count; i++) {
    size_t l, r, same = 0;
    const uint8_t *p = logical(a->by_fold[i - 1], &l), *q = logical(a->by_fold[i], &r);
    while (same < l && same < r && fold(p[same]) == fold(q[same])) same++;
    if (same == l && (l == r || q[l] == '/')) return fail(error, M2P_E_PATH_COLLISION, "two paths collide");
  }
  return M2P_OK;
}

/* ---- header and table (§2, §5 steps 1 to 3) ---- */

/* Fields are checked as far as the file reaches, so that a cut header is told from a wrong one. */
static m2p_status parse_header(m2p_archive *a, const uint8_t *h, size_t have, m2p_error *error) {
  static const uint8_t magic[8] = {'M', '2', 'P', 'A', 'C', 'K', '2', 0};
  const char *cut = "the archive ends within its header";
  if (have < 8) return fail(error, M2P_E_TRUNCATED, "%s", cut);
  if (memcmp(h, magic, sizeof magic)) return fail(error, M2P_E_MAGIC, "this is not an .m2p archive");
  if (have < 12) return fail(error, M2P_E_TRUNCATED, "%s", cut);
  a->version = u32(h + 8);
  if (a->version != 1 && a->version != 2)
    return fail(error, M2P_E_VERSION, "format version %u is not known", (unsigned)a->version);
  if (have < 16) return fail(error, M2P_E_TRUNCATED, "%s", cut);
  a->key_id = u32(h + 12);
  if (!a->key_id) return fail(error, M2P_E_HEADER, "key_id is 0");
  if (have < 24) return fail(error, M2P_E_TRUNCATED, "%s", cut);
  a->manifest_offset = u64(h + 16);
  if (a->manifest_offset > SAFE) return fail(error, M2P_E_LIMIT, "the offset of the manifest is too large");
  if (a->manifest_offset < HEADER) return fail(error, M2P_E_HEADER, "the manifest begins within the header");
  if (have < 32) return fail(error, M2P_E_TRUNCATED, "%s", cut);
  a->manifest_size = u64(h + 24);
  if (a->manifest_size > a->max_manifest) return fail(error, M2P_E_LIMIT, "the manifest is over the limit");
  if (a->manifest_size < PREAMBLE) return fail(error, M2P_E_HEADER, "the manifest is too small");
  if (have < HEADER) return fail(error, M2P_E_TRUNCATED, "%s", cut);
  if (a->manifest_offset > a->source.size || a->manifest_size > a->source.size - a->manifest_offset)
    return fail(error, M2P_E_TRUNCATED, "the archive ends within its manifest");
  return M2P_OK;
}

static m2p_status check_trust(const m2p_archive *a, const uint8_t *h, const uint8_t *public_key, m2p_error *error) {
#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
  (void)a, (void)h, (void)public_key, (void)error;
#else
  uint8_t actual[32];
  crypto_generichash(actual, sizeof actual, a->manifest, (size_t)a->manifest_size, NULL, 0);
  if (sodium_memcmp(actual, h + 32, sizeof actual))
    return fail(error, M2P_E_MANIFEST_HASH, "the manifest does not have the hash that the header names");
  if (crypto_sign_verify_detached(h + 64, a->manifest, a->manifest_size, public_key))
    return fail(error, M2P_E_SIGNATURE, "the signature does not verify under the key of key_id %u",
                (unsigned)a->key_id);
#endif
  return M2P_OK;
}

static const uint8_t *find_verifier(const m2p_options *options, uint32_t key_id) {
  for (size_t i = 0; options && i < options->verifier_count; i++)
    if (options->verifiers[i].key_id == key_id) return options->verifiers[i].public_key;
  return NULL;
}

static m2p_status read_table(m2p_archive *a, const m2p_options *options, m2p_error *error) {
  uint8_t h[HEADER];
  size_t have = a->source.size < HEADER ? (size_t)a->source.size : (size_t)HEADER;
  m2p_status status = read_at(&a->source, 0, h, have, error);
  if (!status) status = parse_header(a, h, have, error);
  if (status) return status;
  const uint8_t *public_key = find_verifier(options, a->key_id);
  if (!public_key)
    return fail(error, M2P_E_KEY_ID_UNKNOWN, "no public key is known for key_id %u", (unsigned)a->key_id);
  a->manifest = (uint8_t *)allocate(a, (size_t)a->manifest_size, 1);
  if (!a->manifest) return no_memory(error);
  status = read_at(&a->source, a->manifest_offset, a->manifest, (size_t)a->manifest_size, error);
  return status ? status : check_trust(a, h, public_key, error);
}

static m2p_status parse_slots(m2p_archive *a, uint64_t *at, m2p_error *error) {
  if (a->manifest_size - *at < (uint64_t)a->slot_count * SLOT) return fail(error, M2P_E_TOC, "the slots are cut");
  a->slots = (Slot *)allocate(a, a->slot_count, sizeof *a->slots);
  if (!a->slots) return no_memory(error);
  memset(a->slots, 0, a->slot_count * sizeof *a->slots);
  for (uint32_t i = 0; i < a->slot_count; i++, *at += SLOT) {
    a->slots[i].number = u32(a->manifest + *at);
    a->slots[i].wrapped = a->manifest + *at + 4;
    if (a->slots[i].number <= (i ? a->slots[i - 1].number : 0))
      return fail(error, M2P_E_TOC, "the numbers of the slots do not ascend");
  }
  return M2P_OK;
}

/* The record of a segment without its first field in version 2, where that says how long the plaintext is. */
static const uint8_t *record(const m2p_archive *a, const Entry *e, uint32_t index) {
  return a->version == 2 ? e->segments + (size_t)index * SEGMENT_2 + 4 : e->segments + (size_t)index * SEGMENT;
}

static uint32_t stored_bytes(const m2p_archive *a, const Entry *e, uint32_t index) { return u32(record(a, e, index)); }

static uint64_t segment_bytes(const m2p_archive *a, const Entry *e, uint32_t index) {
  if (a->version == 2) return u32(record(a, e, index) - 4);
  uint64_t left = e->size - (uint64_t)index * a->segment_size;
  return left < a->segment_size ? left : a->segment_size;
}

static m2p_status parse_segments(const m2p_archive *a, Entry *e, m2p_error *error) {
  e->stored = 0;
  for (uint32_t i = 0; i < e->count; i++) {
    uint64_t plain = segment_bytes(a, e, i), stored = u32(e->segments + (size_t)i * SEGMENT);
    int fits = e->compressed ? plain && stored > TAG && stored <= plain + plain / 256 + 80 : stored == plain + TAG;
    if (!fits) return fail(error, M2P_E_SIZE, "a stored size does not fit its segment");
    e->stored += stored;
  }
  return M2P_OK;
}

/* Bytes of an entry beside path and segments. */
static uint64_t entry_fixed(const m2p_archive *a) {
  return a->version == 2 ? ENTRY_FIXED_2 + (a->times ? TIME : 0) : ENTRY_FIXED;
}

static m2p_status parse_path(const m2p_archive *a, Entry *e, const Entry *previous, uint64_t at, m2p_error *error) {
  uint64_t left = a->table_end - at;
  if (left < 2) return fail(error, M2P_E_TOC, "an entry is cut");
  e->path_len = u16(a->manifest + at);
  e->path = a->manifest + at + 2;
  if (!e->path_len) return fail(error, M2P_E_PATH, "a path is empty");
  if (left < entry_fixed(a) + (uint64_t)e->path_len) return fail(error, M2P_E_TOC, "an entry is cut");
  if (previous) {
    int order = compare_paths(previous->path, previous->path_len, e->path, e->path_len);
    if (!order) return fail(error, M2P_E_PATH_COLLISION, "a path is there twice");
    if (order > 0) return fail(error, M2P_E_TOC, "the paths are not in order");
  }
  return check_path(e, error);
}

/* In version 2 each segment is compressed or not for itself (v2 §1.2). */
static int is_frame(const m2p_archive *a, const Entry *e, uint32_t index) {
  return a->version == 2 ? stored_bytes(a, e, index) < segment_bytes(a, e, index) + TAG : e->compressed;
}

/* Sizes of segments (v2 §1.2). */
static m2p_status parse_segments_2(m2p_archive *a, Entry *e, m2p_error *error) {
  uint64_t total = 0;
  int frames = 0;
  e->stored = 0;
  for (uint32_t i = 0; i < e->count; i++) {
    uint64_t plain = segment_bytes(a, e, i), stored = stored_bytes(a, e, i);
    uint64_t least = i + 1 < e->count ? a->segment_size / 4 : e->size ? 1 : 0;
    int fits = stored == plain + TAG || (stored > TAG && stored < plain + TAG);
    if (!fits || plain < least || plain > (uint64_t)a->segment_size * 4)
      return fail(error, M2P_E_SIZE, "the length of a segment does not fit");
    frames |= stored < plain + TAG;
    total += plain;
    e->stored += stored;
    if (plain > a->largest) a->largest = (uint32_t)plain;
  }
  if (total != e->size) return fail(error, M2P_E_SIZE, "the segments of a file do not make up its size");
  return frames == e->compressed ? M2P_OK : fail(error, M2P_E_SIZE, "compression is not that of the segments");
}

/* What follows the path in version 2; moves *at behind the entry. */
static m2p_status parse_entry_2(m2p_archive *a, Entry *e, uint64_t *at, m2p_error *error) {
  const uint8_t *p = e->path + e->path_len;
  e->size = u64(p);
  e->slot = u32(p + 8);
  e->compressed = p[12] & 1;
  e->executable = p[13] & EXECUTABLE;
  if (e->size > a->max_file) return fail(error, M2P_E_LIMIT, "a file is over the limit");
  if (!find_slot(a, e->slot)) return fail(error, M2P_E_TOC, "an entry names a slot that is not there");
  if (u32(p + 12) & ~(uint32_t)0x101)
    return fail(error, M2P_E_HEADER, "compression, attributes or reserved bytes of an entry");
  e->sha256 = p + 16;
  e->count = u32(p + 48);
  if (!e->count) return fail(error, M2P_E_TOC, "an entry has no segments");
  e->modified = a->times ? u64(p + 52) : 0;
  if (e->modified > LATEST) return fail(error, M2P_E_TOC, "a time is after the year 9999");
  uint64_t fixed = entry_fixed(a) + e->path_len;
  e->segments = a->manifest + *at + fixed;
  if ((a->table_end - *at - fixed) / SEGMENT_2 < e->count)
    return fail(error, M2P_E_TOC, "the segments of an entry are cut");
  *at += fixed + (uint64_t)e->count * SEGMENT_2;
  m2p_status status = parse_segments_2(a, e, error);
  if (status) return status;
  e->offset = (a->payload_end + a->align - 1) / a->align * a->align;
  a->payload_end = e->offset + e->stored;
  return a->payload_end <= SAFE ? M2P_OK : fail(error, M2P_E_TOC, "a payload ends too far away");
}

/* Moves *at behind the entry. */
static m2p_status parse_entry(m2p_archive *a, Entry *e, const Entry *previous, uint64_t *at, m2p_error *error) {
  m2p_status status = parse_path(a, e, previous, *at, error);
  if (status) return status;
  if (a->version == 2) return parse_entry_2(a, e, at, error);
  const uint8_t *p = e->path + e->path_len;
  e->offset = u64(p);
  e->size = u64(p + 8);
  e->slot = u32(p + 16);
  e->compressed = p[20];
  e->executable = 0;
  e->modified = 0;
  if (e->offset > SAFE) return fail(error, M2P_E_TOC, "an offset is too large");
  if (e->size > a->max_file) return fail(error, M2P_E_LIMIT, "a file is over the limit");
  if (!find_slot(a, e->slot)) return fail(error, M2P_E_TOC, "an entry names a slot that is not there");
  if (u32(p + 20) > 1) return fail(error, M2P_E_HEADER, "compression or reserved bytes of an entry");
  e->sha256 = p + 24;
  e->segments = p + 56;
  uint64_t left = a->table_end - *at - ENTRY_FIXED - e->path_len;
  uint64_t count = e->size ? (e->size + a->segment_size - 1) / a->segment_size : 1;
  if (left / SEGMENT < count) return fail(error, M2P_E_TOC, "the segments of an entry are cut");
  e->count = (uint32_t)count;
  *at += ENTRY_FIXED + e->path_len + count * SEGMENT;
  return parse_segments(a, e, error);
}

typedef struct {
  uint64_t offset, end;
  int manifest;
} Extent;

static int by_offset(const void *l, const void *r) {
  const Extent *a = (const Extent *)l, *b = (const Extent *)r;
  return a->offset < b->offset ? -1 : a->offset > b->offset;
}

/* A gap is padding when it is shorter than the alignment that its end allows (§3). */
static m2p_status walk_extents(m2p_archive *a, const Extent *x, size_t n, m2p_error *error) {
  uint64_t end = HEADER;
  for (size_t i = 0; i < n; i++) {
    if (x[i].offset < end) return fail(error, M2P_E_TOC, "ranges overlap");
    uint64_t gap = x[i].offset - end, power = 1;
    while (power < MAX_GAP && x[i].offset % (power * 2) == 0) power *= 2;
    if (gap && (x[i].manifest || gap >= power)) return fail(error, M2P_E_TOC, "there are bytes that belong to nothing");
    if (gap) {
      a->gaps[a->gap_count].offset = end;
      a->gaps[a->gap_count++].length = gap;
    }
    end = x[i].end;
  }
  if (end > a->source.size) return fail(error, M2P_E_TRUNCATED, "the archive ends within a payload");
  if (end < a->source.size) return fail(error, M2P_E_TRAILING, "bytes follow the archive");
  return M2P_OK;
}

static m2p_status check_layout(m2p_archive *a, m2p_error *error) {
  size_t n = (size_t)a->entry_count + 1;
  Extent *x = (Extent *)allocate(a, n, sizeof *x);
  a->gaps = (Gap *)allocate(a, n, sizeof *a->gaps);
  m2p_status status = x && a->gaps ? M2P_OK : no_memory(error);
  if (!status) {
    for (uint32_t i = 0; i < a->entry_count; i++) {
      x[i].offset = a->entries[i].offset;
      x[i].end = a->entries[i].offset + a->entries[i].stored;
      x[i].manifest = 0;
    }
    x[n - 1].offset = a->manifest_offset;
    x[n - 1].end = a->manifest_offset + a->manifest_size;
    x[n - 1].manifest = 1;
    qsort(x, n, sizeof *x, by_offset);
    status = walk_extents(a, x, n, error);
  }
  release(a, x);
  return status;
}

static m2p_status parse_preamble(m2p_archive *a, m2p_error *error) {
  const uint8_t *m = a->manifest;
  if (memcmp(m, "M2MF", 4) || u32(m + 4) != a->version || u32(m + 8) != a->key_id)
    return fail(error, M2P_E_HEADER, "the preamble does not fit the header");
  a->announced = u32(m + 12);
  if (a->announced > a->max_entries) return fail(error, M2P_E_LIMIT, "there are too many entries");
  a->segment_size = u32(m + 16);
  uint32_t most = a->version == 2 ? MAX_AVERAGE : 16777216, known = SEALED_TABLE | (a->version == 2 ? TIMES : 0);
  if (a->segment_size < 65536 || a->segment_size > most || (a->segment_size & (a->segment_size - 1)))
    return fail(error, M2P_E_HEADER, "segment size %u", (unsigned)a->segment_size);
  if (u32(m + 20) & ~known) return fail(error, M2P_E_HEADER, "unknown flags are set");
  a->sealed = (u32(m + 20) & SEALED_TABLE) != 0;
  a->times = (u32(m + 20) & TIMES) != 0;
  a->largest = a->version == 2 ? 0 : a->segment_size;
  if (u32(m + 24) > MAX_SLOTS) return fail(error, M2P_E_LIMIT, "there are too many slots");
  a->slot_count = u32(m + 24);
  a->align = a->version == 2 ? u32(m + 28) : 1;
  if (a->version == 1 && u32(m + 28)) return fail(error, M2P_E_HEADER, "reserved bytes are set");
  if (!a->align || a->align > MAX_ALIGN || (a->align & (a->align - 1)))
    return fail(error, M2P_E_HEADER, "alignment %u", (unsigned)a->align);
  a->commitment = m + 32;
  return M2P_OK;
}

static m2p_status parse_manifest(m2p_archive *a, m2p_error *error) {
  uint64_t at = PREAMBLE;
  m2p_status status = parse_preamble(a, error);
  if (!status) status = parse_slots(a, &at, error);
  if (status) return status;
  a->table_at = at;
  a->table_end = a->manifest_size;
  return a->sealed ? M2P_OK : parse_table(a, error);
}

static m2p_status parse_table(m2p_archive *a, m2p_error *error) {
  uint64_t at = a->table_at;
  m2p_status status = M2P_OK;
  a->payload_end = HEADER;
  if ((a->table_end - at) / entry_fixed(a) < a->announced) return fail(error, M2P_E_TOC, "the entries are cut");
  a->entry_count = a->announced;
  a->entries = (Entry *)allocate(a, a->entry_count, sizeof *a->entries);
  if (!a->entries) return no_memory(error);
  for (uint32_t i = 0; i < a->entry_count && !status; i++)
    status = parse_entry(a, &a->entries[i], i ? &a->entries[i - 1] : NULL, &at, error);
  if (status) return status;
  if (at != a->table_end) return fail(error, M2P_E_TOC, "bytes follow the last entry");
  status = sort_and_compare(a, error);
  return status ? status : check_layout(a, error);
}

/* ---- the archive ---- */

static const char sealed_table[] = "the table is sealed: its content key opens it";

m2p_status m2p_peek_key_id(const m2p_source *source, uint32_t *key_id, m2p_error *error) {
  uint8_t h[16];
  m2p_archive a;
  if (!source || !source->read || !key_id) return fail(error, M2P_E_USAGE, "m2p_peek_key_id needs a source");
  memset(&a, 0, sizeof a);
  size_t have = source->size < sizeof h ? (size_t)source->size : sizeof h;
  m2p_status status = read_at(source, 0, h, have, error);
  /* A header of which only these bytes are looked at ends "cut" behind the key_id, which is as far as this goes. */
  if (!status) status = parse_header(&a, h, have, error);
  if (status == M2P_E_TRUNCATED && have == sizeof h) status = M2P_OK;
  *key_id = status ? 0 : a.key_id;
  return status;
}

static void release_archive(m2p_archive *a) {
  forget_slots(a);
  release(a, a->manifest);
  release(a, a->entries);
  release(a, a->by_fold);
  release(a, a->slots);
  release(a, a->gaps);
  m2p_allocator memory = a->memory;
  memory.release(memory.context, a);
}

m2p_status m2p_open(m2p_archive **archive, const m2p_source *source, const m2p_options *options, m2p_error *error) {
  static const m2p_allocator standard = {NULL, default_allocate, default_release};
  const m2p_allocator *memory = options && options->allocator ? options->allocator : &standard;
  if (archive) *archive = NULL;
  if (!archive || !source || !source->read) return fail(error, M2P_E_USAGE, "m2p_open needs an archive and a source");
  m2p_status status = sodium_init() < 0 ? fail(error, M2P_E_USAGE, "libsodium does not start") : M2P_OK;
  m2p_archive *a = status ? NULL : (m2p_archive *)memory->allocate(memory->context, sizeof *a);
  if (!status && !a) status = no_memory(error);
  if (!status) {
    memset(a, 0, sizeof *a);
    a->source = *source;
    a->memory = *memory;
    a->max_manifest = options && options->max_manifest ? options->max_manifest : MAX_MANIFEST;
    a->max_entries = options && options->max_entries ? options->max_entries : MAX_ENTRIES;
    a->max_file = options && options->max_file ? options->max_file : MAX_FILE;
    status = read_table(a, options, error);
    if (!status) status = parse_manifest(a, error);
  }
  if (status) {
    if (a) release_archive(a);
    if (source->close) source->close(source->context);
    return status;
  }
  *archive = a;
  return M2P_OK;
}

void m2p_close(m2p_archive *a) {
  if (!a) return;
  m2p_source source = a->source;
  release_archive(a);
  if (source.close) source.close(source.context);
}

uint32_t m2p_key_id(const m2p_archive *a) { return a->key_id; }
uint32_t m2p_version(const m2p_archive *a) { return a->version; }
int m2p_sealed(const m2p_archive *a) { return a->sealed; }
uint32_t m2p_count(const m2p_archive *a) { return a->entry_count; }

m2p_status m2p_entry_at(const m2p_archive *a, uint32_t index, m2p_entry *entry, m2p_error *error) {
  if (!a || !entry) return fail(error, M2P_E_USAGE, "m2p_entry_at needs an archive and an entry");
  if (a->sealed) return fail(error, M2P_E_SEALED, "%s", sealed_table);
  if (index >= a->entry_count) return fail(error, M2P_E_ENTRY_UNKNOWN, "there is no entry %u", (unsigned)index);
  const Entry *e = &a->entries[index];
  entry->path = (const char *)e->path;
  entry->path_length = e->path_len;
  entry->size = e->size;
  entry->stored = e->stored;
  entry->slot = e->slot;
  entry->compressed = e->compressed;
  entry->sha256 = e->sha256;
  return M2P_OK;
}

m2p_status m2p_attributes_at(const m2p_archive *a, uint32_t index, m2p_attributes *attributes, m2p_error *error) {
  if (!a || !attributes) return fail(error, M2P_E_USAGE, "m2p_attributes_at needs an archive and attributes");
  if (a->sealed) return fail(error, M2P_E_SEALED, "%s", sealed_table);
  if (index >= a->entry_count) return fail(error, M2P_E_ENTRY_UNKNOWN, "there is no entry %u", (unsigned)index);
  attributes->executable = a->entries[index].executable;
  attributes->has_time = a->times;
  attributes->modified_ms = a->entries[index].modified;
  return M2P_OK;
}

static m2p_status unknown(m2p_error *error) { return fail(error, M2P_E_ENTRY_UNKNOWN, "the archive has no such file"); }

m2p_status m2p_find(const m2p_archive *a, const char *path, size_t length, uint32_t *index, m2p_error *error) {
  if (!a || !path || !index) return fail(error, M2P_E_USAGE, "m2p_find needs an archive, a path and an index");
  if (a->sealed) return fail(error, M2P_E_SEALED, "%s", sealed_table);
  uint32_t low = 0, high = a->entry_count;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    int order = compare_paths(a->entries[middle].path, a->entries[middle].path_len, (const uint8_t *)path, length);
    if (!order) {
      *index = middle;
      return M2P_OK;
    }
    if (order < 0) low = middle + 1;
    else high = middle;
  }
  return unknown(error);
}

m2p_status m2p_find_folded(const m2p_archive *a, const char *path, size_t length, uint32_t *index, m2p_error *error) {
  Entry wanted;
  if (!a || !path || !index) return fail(error, M2P_E_USAGE, "m2p_find_folded needs an archive, a path and an index");
  if (a->sealed) return fail(error, M2P_E_SEALED, "%s", sealed_table);
  if (!length || length > MAX_PATH_BYTES) return unknown(error);
  size_t root = sizeof YMIR - 1;
  if (length >= root && same_ascii((const uint8_t *)path, root, YMIR)) path += 3, length -= 3;
  memset(&wanted, 0, sizeof wanted);
  wanted.path = (const uint8_t *)path;
  wanted.path_len = (uint16_t)length;
  uint32_t low = 0, high = a->entry_count;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    int order = compare_folded(a->by_fold[middle], &wanted);
    if (!order) {
      *index = (uint32_t)(a->by_fold[middle] - a->entries);
      return M2P_OK;
    }
    if (order < 0) low = middle + 1;
    else high = middle;
  }
  return unknown(error);
}

/* ---- payload (§3, §5 steps 5 and 6) ---- */

/* One plain frame of exactly `size` bytes and nothing beside it: decoders let too much pass. */
static m2p_status check_frame(const uint8_t *f, size_t n, uint64_t size, m2p_error *error) {
  const char *cut = "a zstd frame is cut";
  if (n < 6 || u32(f) != 0xfd2fb528) return fail(error, M2P_E_ZSTD, "a segment is not a zstd frame");
  unsigned d = f[4], single = d >> 5 & 1, flag = d >> 6;
  if (d & 0x0f) return fail(error, M2P_E_ZSTD, "a frame has a dictionary, a checksum or a reserved bit");
  size_t bytes = flag ? (size_t)1 << flag : single, at = single ? 5 : 6;
  if (!bytes) return fail(error, M2P_E_ZSTD, "a frame has no content size");
  if (bytes > n - at) return fail(error, M2P_E_ZSTD, "%s", cut);
  uint64_t content = 0;
  for (size_t i = bytes; i-- > 0;) content = content << 8 | f[at + i];
  if (bytes == 2) content += 256;
  uint64_t base = 1ull << (10 + (f[5] >> 3)), window = single ? content : base + base / 8 * (f[5] & 7);
  if (window > MAX_WINDOW) return fail(error, M2P_E_LIMIT, "the window of a frame is too large");
  if (content != size) return fail(error, M2P_E_SIZE, "the content size of a frame is not that of its segment");
  at += bytes;
  for (int last = 0; !last;) {
    if (n - at < 3) return fail(error, M2P_E_ZSTD, "%s", cut);
    uint32_t block = f[at] | (uint32_t)f[at + 1] << 8 | (uint32_t)f[at + 2] << 16, kind = block >> 1 & 3;
    last = block & 1;
    if (kind == 3) return fail(error, M2P_E_ZSTD, "a frame has a reserved block");
    at += 3;
    if ((kind == 1 ? 1 : block >> 3) > n - at) return fail(error, M2P_E_ZSTD, "%s", cut);
    at += kind == 1 ? 1 : block >> 3;
  }
  return at == n ? M2P_OK : fail(error, M2P_E_ZSTD, "bytes follow a frame");
}

static void file_key(const m2p_archive *a, const Entry *e, uint8_t key[KEY]) {
  uint8_t length[2];
  Part parts[3];
  put16(length, e->path_len);
  parts[0].bytes = length, parts[0].length = sizeof length;
  parts[1].bytes = e->path, parts[1].length = e->path_len;
  parts[2].bytes = e->sha256, parts[2].length = 32;
  /* In version 2 the content of a file does not count, so that its other segments stay as they are (v2 §2). */
  if (a->version == 2) hmac(key, find_slot(a, e->slot)->secret, "m2pack file key v2", parts, 2);
  else hmac(key, find_slot(a, e->slot)->secret, "m2pack file key v1", parts, 3);
}

/* The nonce is under the signature: equal bytes are the publisher's, even if others hold the content key. */
static m2p_status check_nonce(const m2p_archive *a, const Entry *e, uint32_t i, const uint8_t *bytes, size_t n,
                              m2p_error *error) {
#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
  (void)a, (void)e, (void)i, (void)bytes, (void)n, (void)error;
#else
  uint8_t length[2], place[8], mac[KEY];
  Part parts[4];
  put16(length, e->path_len);
  put32(place, i);
  put32(place + 4, e->count);
  parts[0].bytes = length, parts[0].length = sizeof length;
  parts[1].bytes = e->path, parts[1].length = e->path_len;
  parts[2].bytes = place, parts[2].length = a->version == 2 ? 0 : sizeof place;
  parts[3].bytes = bytes, parts[3].length = n;
  hmac(mac, find_slot(a, e->slot)->secret, a->version == 2 ? "m2pack nonce v2" : "m2pack nonce v1", parts, 4);
  if (sodium_memcmp(mac, record(a, e, i) + 4, NONCE))
    return fail(error, M2P_E_NONCE, "segment %u is not the publisher's", (unsigned)i);
#endif
  return M2P_OK;
}

typedef struct {
  const Entry *entry;
  const uint8_t *key;
  uint64_t offset; /* of the stored bytes */
  uint32_t index;
  int recompute; /* whether the nonce is computed again */
} Segment;

static int decrypt(const m2p_archive *a, uint8_t *out, const uint8_t *stored, size_t n, const Segment *s) {
  uint8_t aad[MAX_PATH_BYTES + 9];
  const Entry *e = s->entry;
  uint32_t i = s->index;
  memcpy(aad, e->path, e->path_len);
  aad[e->path_len] = 0;
  put32(aad + e->path_len + 1, i);
  put32(aad + e->path_len + 5, e->count);
#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
  (void)a, (void)aad;
  memcpy(out, stored, n - TAG);
  return 0;
#else
  /* Place and number of segments count in version 1, where there are several. */
  size_t length = a->version == 2 || e->count == 1 ? e->path_len : e->path_len + 9u;
  return crypto_aead_xchacha20poly1305_ietf_decrypt(out, NULL, NULL, stored, n, aad, length, record(a, e, i) + 4,
                                                    s->key);
#endif
}

/* Opens one segment into `into`, which has room for its plaintext. */
static m2p_status open_segment(m2p_reader *r, const Segment *s, uint8_t *into, m2p_error *error) {
  const m2p_archive *a = r->archive;
  const Entry *e = s->entry;
  size_t n = stored_bytes(a, e, s->index), size = (size_t)segment_bytes(a, e, s->index);
  int frame = is_frame(a, e, s->index);
  uint8_t *opened = frame ? r->opened : into;
  m2p_status status = read_at(&a->source, s->offset, r->stored, n, error);
  if (status) return status;
  if (decrypt(a, opened, r->stored, n, s))
    return fail(error, M2P_E_DECRYPT, "segment %u does not open under its key", (unsigned)s->index);
  if (s->recompute || a->version == 2) status = check_nonce(a, e, s->index, opened, n - TAG, error);
  if (status || !frame) return status;
  status = check_frame(opened, n - TAG, size, error);
  if (status) return status;
  size_t got = ZSTD_decompressDCtx(r->zstd, into, size, opened, n - TAG);
  if (ZSTD_isError(got)) return fail(error, M2P_E_ZSTD, "%s", ZSTD_getErrorName(got));
  return got == size ? M2P_OK : fail(error, M2P_E_SIZE, "a segment holds %llu bytes", (unsigned long long)got);
}

static m2p_status check_hash(crypto_hash_sha256_state *sha, const Entry *e, m2p_error *error) {
  uint8_t digest[32];
  crypto_hash_sha256_final(sha, digest);
#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
  (void)e, (void)error;
#else
  if (sodium_memcmp(digest, e->sha256, sizeof digest))
    return fail(error, M2P_E_HASH, "a file does not have the SHA-256 that the table names");
#endif
  return M2P_OK;
}

static m2p_status find_entry(const m2p_reader *r, uint32_t index, const Entry **entry, m2p_error *error) {
  if (!r) return fail(error, M2P_E_USAGE, "a reader is needed");
  if (index >= r->archive->entry_count)
    return fail(error, M2P_E_ENTRY_UNKNOWN, "there is no entry %u", (unsigned)index);
  *entry = &r->archive->entries[index];
  return M2P_OK;
}

m2p_status m2p_reader_open(const m2p_archive *a, m2p_reader **reader, m2p_error *error) {
  if (reader) *reader = NULL;
  if (!a || !reader) return fail(error, M2P_E_USAGE, "m2p_reader_open needs an archive and a reader");
  if (!a->unlocked) return fail(error, M2P_E_USAGE, "call m2p_unlock before contents are read");
  m2p_reader *r = (m2p_reader *)allocate(a, 1, sizeof *r);
  if (!r) return no_memory(error);
  memset(r, 0, sizeof *r);
  r->archive = a;
  r->most = (size_t)a->largest + a->largest / 256 + 80;
  r->most_plain = a->largest ? a->largest : 1;
  r->stored = (uint8_t *)allocate(a, r->most, 1);
  r->opened = (uint8_t *)allocate(a, r->most, 1);
  r->plain = (uint8_t *)allocate(a, r->most_plain, 1);
  ZSTD_customMem memory = {a->memory.allocate, a->memory.release, a->memory.context};
  r->zstd = ZSTD_createDCtx_advanced(memory);
  if (!r->stored || !r->opened || !r->plain || !r->zstd) {
    m2p_reader_close(r);
    return no_memory(error);
  }
  *reader = r;
  return M2P_OK;
}

void m2p_reader_close(m2p_reader *r) {
  if (!r) return;
  const m2p_archive *a = r->archive;
  if (r->opened) sodium_memzero(r->opened, r->most);
  if (r->plain) sodium_memzero(r->plain, r->most_plain);
  ZSTD_freeDCtx(r->zstd);
  release(a, r->stored);
  release(a, r->opened);
  release(a, r->plain);
  sodium_memzero(r, sizeof *r);
  release(a, r);
}

/* `out` is NULL when the file is only checked. */
static m2p_status read_whole(m2p_reader *r, const Entry *e, uint8_t *out, m2p_error *error) {
  uint8_t key[KEY];
  crypto_hash_sha256_state sha;
  Segment s;
  m2p_status status = M2P_OK;
  file_key(r->archive, e, key);
  crypto_hash_sha256_init(&sha);
  s.entry = e, s.key = key, s.offset = e->offset, s.recompute = 0;
  size_t at = 0;
  for (s.index = 0; s.index < e->count && !status; s.index++) {
    size_t size = (size_t)segment_bytes(r->archive, e, s.index);
    uint8_t *into = out && size ? out + at : r->plain;
    status = open_segment(r, &s, into, error);
    if (!status) crypto_hash_sha256_update(&sha, into, size);
    s.offset += stored_bytes(r->archive, e, s.index);
    at += size;
  }
  sodium_memzero(key, sizeof key);
  return status ? status : check_hash(&sha, e, error);
}

m2p_status m2p_read(m2p_reader *r, uint32_t index, void *out, size_t capacity, m2p_error *error) {
  const Entry *e = NULL;
  m2p_status status = find_entry(r, index, &e, error);
  if (status) return status;
  if (e->size > capacity || (!out && e->size))
    return fail(error, M2P_E_USAGE, "the file has %llu bytes", (unsigned long long)e->size);
  status = read_whole(r, e, (uint8_t *)out, error);
  if (status && e->size) sodium_memzero(out, (size_t)e->size);
  return status;
}

m2p_status m2p_check(m2p_reader *r, uint32_t index, m2p_error *error) {
  const Entry *e = NULL;
  m2p_status status = find_entry(r, index, &e, error);
  return status ? status : read_whole(r, e, NULL, error);
}

static m2p_status read_segments(m2p_reader *r, const Entry *e, uint64_t offset, uint8_t *out, size_t length,
                                m2p_error *error) {
  uint8_t key[KEY];
  Segment s;
  m2p_status status = M2P_OK;
  const m2p_archive *a = r->archive;
  file_key(a, e, key);
  s.entry = e, s.key = key, s.offset = e->offset, s.recompute = 1;
  uint64_t at = 0; /* where segment s.index starts in the file */
  for (s.index = 0; at + segment_bytes(a, e, s.index) <= offset; s.index++) {
    at += segment_bytes(a, e, s.index);
    s.offset += stored_bytes(a, e, s.index);
  }
  for (size_t done = 0; done < length && !status; s.index++) {
    size_t from = (size_t)(offset + done - at), part = (size_t)segment_bytes(a, e, s.index) - from;
    at += segment_bytes(a, e, s.index);
    if (part > length - done) part = length - done;
    status = open_segment(r, &s, r->plain, error);
    if (!status) memcpy(out + done, r->plain + from, part);
    s.offset += stored_bytes(a, e, s.index);
    done += part;
  }
  sodium_memzero(key, sizeof key);
  return status;
}

m2p_status m2p_read_range(m2p_reader *r, uint32_t index, uint64_t offset, void *out, size_t length, size_t *got,
                          m2p_error *error) {
  const Entry *e = NULL;
  if (got) *got = 0;
  if (!got || (!out && length)) return fail(error, M2P_E_USAGE, "m2p_read_range needs memory and a count");
  m2p_status status = find_entry(r, index, &e, error);
  if (status) return status;
  uint64_t left = offset < e->size ? e->size - offset : 0;
  size_t part = left < length ? (size_t)left : length;
  if (part) status = read_segments(r, e, offset, (uint8_t *)out, part, error);
  if (status) sodium_memzero(out, length);
  else *got = part;
  return status;
}

m2p_status m2p_begin(m2p_reader *r, uint32_t index, m2p_error *error) {
  const Entry *e = NULL;
  m2p_status status = find_entry(r, index, &e, error);
  if (status) return status;
  r->current = e;
  r->next = 0;
  r->offset = e->offset;
  file_key(r->archive, e, r->key);
  crypto_hash_sha256_init(&r->sha);
  return M2P_OK;
}

m2p_status m2p_next(m2p_reader *r, const uint8_t **bytes, size_t *length, m2p_error *error) {
  if (bytes) *bytes = NULL;
  if (length) *length = 0;
  if (!r || !bytes || !length || !r->current) return fail(error, M2P_E_USAGE, "m2p_next needs m2p_begin before it");
  const Entry *e = r->current;
  m2p_status status = M2P_OK;
  while (r->next < e->count && !status) {
    Segment s;
    s.entry = e, s.key = r->key, s.offset = r->offset, s.index = r->next, s.recompute = 1;
    size_t size = (size_t)segment_bytes(r->archive, e, s.index);
    status = open_segment(r, &s, r->plain, error);
    r->offset += stored_bytes(r->archive, e, s.index);
    r->next++;
    if (status || !size) continue;
    crypto_hash_sha256_update(&r->sha, r->plain, size);
    *bytes = r->plain;
    *length = size;
    return M2P_OK;
  }
  r->current = NULL;
  sodium_memzero(r->key, sizeof r->key);
  return status ? status : check_hash(&r->sha, e, error);
}

m2p_status m2p_check_padding(m2p_reader *r, m2p_error *error) {
  uint8_t piece[PAD_PIECE];
  if (!r) return fail(error, M2P_E_USAGE, "a reader is needed");
  const m2p_archive *a = r->archive;
  for (size_t i = 0; i < a->gap_count; i++)
    for (uint64_t at = 0; at < a->gaps[i].length; at += PAD_PIECE) {
      uint64_t left = a->gaps[i].length - at;
      size_t n = left < PAD_PIECE ? (size_t)left : (size_t)PAD_PIECE;
      m2p_status status = read_at(&a->source, a->gaps[i].offset + at, piece, n, error);
      if (status) return status;
      if (!sodium_is_zero(piece, n)) return fail(error, M2P_E_PADDING, "bytes between two payloads are not zero");
    }
  return M2P_OK;
}
