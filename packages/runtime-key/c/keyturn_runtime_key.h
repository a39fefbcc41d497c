/* Receives the runtime key from the launcher: docs/spec/runtime-key.md §5.
 *
 * One header, no dependency but the C library. Call ktrk_receive() once and first thing in main(): the pipe and the
 * mapping can be read a single time, and no other program may be started before. Wipe with ktrk_wipe() after use.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef KEYTURN_RUNTIME_KEY_H
#define KEYTURN_RUNTIME_KEY_H

/* What it needs of POSIX, which -std=c99 and -std=c11 hide. */
#if !defined(_WIN32) && !defined(_GNU_SOURCE) && !defined(_POSIX_C_SOURCE)
#define _POSIX_C_SOURCE 200809L
#endif

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef _WIN32
#include <windows.h>
#include <io.h>
#else
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#if !defined(O_NOFOLLOW) || !defined(O_CLOEXEC)
#error "Include keyturn_runtime_key.h before other headers, or compile with -D_POSIX_C_SOURCE=200809L or -std=gnu99"
#endif
#endif

enum { KTRK_BLOB_LENGTH = 84, KTRK_KEY_LENGTH = 32 };

/* Answers of ktrk_receive(); ktrk_code() names them. */
enum ktrk_status {
  KTRK_OK = 0,
  KTRK_MISSING,
  KTRK_ENCODING,
  KTRK_KEY_ID,
  KTRK_WEAK,
  KTRK_DELIVERY_CORRUPT,
  KTRK_SHM_OCCUPIED
};

struct ktrk_key {
  uint32_t key_id;
  uint8_t master_key[KTRK_KEY_LENGTH];
  uint8_t sign_public_key[KTRK_KEY_LENGTH];
  int has_key_id, has_master_key, has_sign_public_key;
};

static inline const char *ktrk_code(int status) {
  static const char *const codes[] = {"OK", "RK_MISSING", "RK_ENCODING", "RK_KEY_ID",
                                      "RK_WEAK", "RK_DELIVERY_CORRUPT", "RK_SHM_OCCUPIED"};
  return status >= 0 && status <= KTRK_SHM_OCCUPIED ? codes[status] : "unknown";
}

/* A store the compiler may not drop. */
static inline void ktrk_zero(void *memory, size_t length) {
  volatile uint8_t *bytes = (volatile uint8_t *)memory;
  while (length-- > 0) *bytes++ = 0;
}

static inline void ktrk_wipe(struct ktrk_key *key) { ktrk_zero(key, sizeof *key); }

static inline uint32_t ktrk_u32le(const uint8_t *bytes) {
  return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

static inline int ktrk_all_zero(const uint8_t *bytes, size_t length) {
  uint8_t seen = 0;
  while (length-- > 0) seen |= *bytes++;
  return seen == 0;
}

static inline int ktrk_parse_blob(const uint8_t *blob, struct ktrk_key *key) {
  if (memcmp(blob, "M2KEYS1", 8) != 0 || ktrk_u32le(blob + 8) != 1 || ktrk_u32le(blob + 12) != 0) return KTRK_DELIVERY_CORRUPT;
  if (ktrk_u32le(blob + 16) == 0 || ktrk_all_zero(blob + 20, KTRK_KEY_LENGTH)) return KTRK_DELIVERY_CORRUPT;
  key->key_id = ktrk_u32le(blob + 16);
  memcpy(key->master_key, blob + 20, KTRK_KEY_LENGTH);
  memcpy(key->sign_public_key, blob + 52, KTRK_KEY_LENGTH);
  key->has_key_id = key->has_master_key = key->has_sign_public_key = 1;
  return KTRK_OK;
}

/* Exactly 64 lower-case digits. */
static inline int ktrk_hex(const char *text, uint8_t *out) {
  size_t i;
  if (strlen(text) != 2 * KTRK_KEY_LENGTH) return KTRK_ENCODING;
  for (i = 0; i < 2 * KTRK_KEY_LENGTH; i++) {
    char c = text[i];
    uint8_t digit;
    if (c >= '0' && c <= '9') digit = (uint8_t)(c - '0');
    else if (c >= 'a' && c <= 'f') digit = (uint8_t)(c - 'a' + 10);
    else return KTRK_ENCODING;
    out[i / 2] = i % 2 == 0 ? (uint8_t)(digit << 4) : (uint8_t)(out[i / 2] | digit);
  }
  return KTRK_OK;
}

/* Decimal without sign or leading zero, 1 to 2^32-1. */
static inline int ktrk_key_id(const char *text, uint32_t *out) {
  uint64_t value = 0;
  size_t i, length = strlen(text);
  if (length == 0 || length > 10 || text[0] == '0') return KTRK_KEY_ID;
  for (i = 0; i < length; i++) {
    if (text[i] < '0' || text[i] > '9') return KTRK_KEY_ID;
    value = value * 10 + (uint64_t)(text[i] - '0');
  }
  if (value > UINT32_MAX) return KTRK_KEY_ID;
  *out = (uint32_t)value;
  return KTRK_OK;
}

#ifdef _WIN32

static inline int ktrk_read_mapping(const char *name, struct ktrk_key *key) {
  HANDLE mapping;
  uint8_t *view, blob[KTRK_BLOB_LENGTH];
  int status;
  if (strncmp(name, "Local\\M2PackSharedKeys", 22) != 0) return KTRK_DELIVERY_CORRUPT;
  mapping = OpenFileMappingA(FILE_MAP_READ | FILE_MAP_WRITE, FALSE, name);
  if (mapping == NULL) return KTRK_DELIVERY_CORRUPT;
  view = (uint8_t *)MapViewOfFile(mapping, FILE_MAP_READ | FILE_MAP_WRITE, 0, 0, KTRK_BLOB_LENGTH);
  if (view == NULL) {
    CloseHandle(mapping);
    return KTRK_DELIVERY_CORRUPT;
  }
  memcpy(blob, view, sizeof blob);
  ktrk_zero(view, sizeof blob);
  UnmapViewOfFile(view);
  CloseHandle(mapping);
  status = ktrk_parse_blob(blob, key);
  ktrk_zero(blob, sizeof blob);
  return status;
}

static inline int ktrk_read_fd(int fd, uint8_t *out, int length) { return _read(fd, out, (unsigned)length); }
static inline void ktrk_close_fd(int fd) { _close(fd); }
static inline void ktrk_unset(const char *name) { _putenv_s(name, ""); }

#else

static inline int ktrk_read_fd(int fd, uint8_t *out, int length) {
  ssize_t count;
  do count = read(fd, out, (size_t)length);
  while (count < 0 && errno == EINTR);
  return (int)count;
}
static inline void ktrk_close_fd(int fd) { close(fd); }
static inline void ktrk_unset(const char *name) { unsetenv(name); }

/* "/M2PackSharedKeys-<pid>-<start>-<random>" and nothing that could leave the folder. */
static inline int ktrk_is_mapping_name(const char *name) {
  return strncmp(name, "/M2PackSharedKeys-", 18) == 0 && strlen(name) < 128 && name[18] != '\0'
    && strspn(name + 18, "0123456789abcdef-") == strlen(name + 18);
}

static inline int ktrk_read_mapping(const char *name, struct ktrk_key *key) {
  static const uint8_t zeros[KTRK_BLOB_LENGTH] = {0};
  uint8_t blob[KTRK_BLOB_LENGTH + 1];
  char path[160];
  struct stat st;
  int fd, status = KTRK_OK;
  ssize_t count;
  if (!ktrk_is_mapping_name(name)) return KTRK_DELIVERY_CORRUPT;
  /* The file of shm_open(), opened by path: older C libraries have shm_open in a separate library. */
  snprintf(path, sizeof path, "/dev/shm%s", name);
  fd = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return errno == ELOOP ? KTRK_SHM_OCCUPIED : KTRK_DELIVERY_CORRUPT;
  if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 0777) != 0600 || st.st_nlink != 1) {
    close(fd);
    return KTRK_SHM_OCCUPIED;
  }
  count = pread(fd, blob, sizeof blob, 0);
  /* Zero, then remove: a later reader finds nothing, and the launcher sees that it was taken. */
  if (pwrite(fd, zeros, sizeof zeros, 0) != (ssize_t)sizeof zeros) status = KTRK_DELIVERY_CORRUPT;
  unlink(path);
  close(fd);
  if (count != KTRK_BLOB_LENGTH) status = KTRK_DELIVERY_CORRUPT;
  if (status == KTRK_OK) status = ktrk_parse_blob(blob, key);
  ktrk_zero(blob, sizeof blob);
  return status;
}

#endif

static inline int ktrk_read_pipe(const char *number, struct ktrk_key *key) {
  uint8_t blob[KTRK_BLOB_LENGTH];
  uint32_t fd;
  int done = 0, status = KTRK_DELIVERY_CORRUPT;
  if (ktrk_key_id(number, &fd) != KTRK_OK || fd < 3 || fd > 999999) return KTRK_DELIVERY_CORRUPT;
#ifndef _WIN32
  if (fcntl((int)fd, F_SETFD, FD_CLOEXEC) != 0) return KTRK_DELIVERY_CORRUPT;
#endif
  while (done < KTRK_BLOB_LENGTH) {
    int count = ktrk_read_fd((int)fd, blob + done, KTRK_BLOB_LENGTH - done);
    if (count <= 0) break;
    done += count;
  }
  ktrk_close_fd((int)fd);
  if (done == KTRK_BLOB_LENGTH) status = ktrk_parse_blob(blob, key);
  ktrk_zero(blob, sizeof blob);
  return status;
}

/* The value of --name VALUE or --name=VALUE; the last one counts. */
static inline const char *ktrk_argument(int argc, char **argv, const char *name) {
  const char *found = NULL;
  size_t length = strlen(name);
  int i;
  for (i = 1; i < argc; i++) {
    if (strncmp(argv[i], name, length) != 0) continue;
    if (argv[i][length] == '=') found = argv[i] + length + 1;
    else if (argv[i][length] == '\0') found = i + 1 < argc ? argv[++i] : "";
  }
  return found;
}

static inline int ktrk_merge_texts(struct ktrk_key *key, const char *master, const char *verifier, const char *key_id) {
  int status = KTRK_OK;
  if (master != NULL) {
    status = ktrk_hex(master, key->master_key);
    key->has_master_key = 1;
  }
  if (status == KTRK_OK && verifier != NULL) {
    status = ktrk_hex(verifier, key->sign_public_key);
    key->has_sign_public_key = 1;
  }
  if (status == KTRK_OK && key_id != NULL) {
    status = ktrk_key_id(key_id, &key->key_id);
    key->has_key_id = 1;
  }
  return status;
}

/* Mapping < pipe < environment < arguments, field by field. The variables are removed, so that no child inherits
 * them; the verifier may be absent (has_sign_public_key is 0), since clients embed theirs. */
static inline int ktrk_receive(struct ktrk_key *key, int argc, char **argv) {
  const char *map = getenv("M2PACK_KEY_MAP"), *argument_map = ktrk_argument(argc, argv, "--m2pack-key-map");
  const char *fd = getenv("M2PACK_KEY_FD");
  int status = KTRK_OK;
  memset(key, 0, sizeof *key);
  if (argument_map != NULL) map = argument_map;
  if (map != NULL) status = ktrk_read_mapping(map, key);
  if (status == KTRK_OK && fd != NULL) status = ktrk_read_pipe(fd, key);
  if (status == KTRK_OK) {
    status = ktrk_merge_texts(key, getenv("M2PACK_MASTER_KEY_HEX"), getenv("M2PACK_SIGN_PUBKEY_HEX"), getenv("M2PACK_KEY_ID"));
  }
  if (status == KTRK_OK) {
    status = ktrk_merge_texts(key, ktrk_argument(argc, argv, "--m2pack-key-hex"),
                              ktrk_argument(argc, argv, "--m2pack-pubkey-hex"), ktrk_argument(argc, argv, "--m2pack-key-id"));
  }
  ktrk_unset("M2PACK_MASTER_KEY_HEX");
  ktrk_unset("M2PACK_SIGN_PUBKEY_HEX");
  ktrk_unset("M2PACK_KEY_ID");
  ktrk_unset("M2PACK_KEY_MAP");
  ktrk_unset("M2PACK_KEY_FD");
  if (status == KTRK_OK && (!key->has_master_key || !key->has_key_id)) status = KTRK_MISSING;
  if (status == KTRK_OK && ktrk_all_zero(key->master_key, KTRK_KEY_LENGTH)) status = KTRK_WEAK;
  if (status != KTRK_OK) ktrk_wipe(key);
  return status;
}

#endif
