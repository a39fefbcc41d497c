/* m2p_reader.c - lists, verifies, prints and extracts .m2p archives by the library m2p.h.
 *
 *     cc -O2 -Wall -Wextra -o m2p_reader m2p_reader.c m2p.c -lsodium -lzstd
 *     ./m2p_reader list    ARCHIVE PUBLIC_KEY_FILE
 *     ./m2p_reader verify  ARCHIVE PUBLIC_KEY_FILE CONTENT_KEY_FILE [KEY_ID]
 *     ./m2p_reader cat     ARCHIVE PUBLIC_KEY_FILE CONTENT_KEY_FILE PATH [OFFSET LENGTH]
 *     ./m2p_reader extract ARCHIVE PUBLIC_KEY_FILE CONTENT_KEY_FILE FOLDER [KEY_ID]      (not on Windows)
 *
 * Key files hold 64 hex digits. KEY_ID defaults to the archive's own; a client passes the one its key came with.
 * A refusal prints its code and exits with 4; what the machine failed at exits with 3, wrong arguments with 2.
 */
#define _FILE_OFFSET_BITS 64
#define _POSIX_C_SOURCE 200809L
#include "m2p.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef _WIN32
#  include <fcntl.h>
#  include <io.h>
#else
#  include <errno.h>
#  include <fcntl.h>
#  include <sys/stat.h>
#  include <unistd.h>
#endif

enum { USAGE = 2, MACHINE = 3, REFUSED = 4 };

static int report(const m2p_error *error) {
  int machine = error->status == M2P_E_IO || error->status == M2P_E_MEMORY;
  fprintf(stderr, "%s: %s\n", m2p_code(error->status), error->message);
  return machine ? MACHINE : error->status == M2P_E_USAGE ? USAGE : REFUSED;
}

static int read_key(const char *path, uint8_t key[32]) {
  char text[66] = {0};
  size_t n = 0;
  FILE *file = fopen(path, "rb");
  int ok = file && fread(text, 1, 65, file) >= 64 && !sodium_hex2bin(key, 32, text, 64, NULL, &n, NULL) && n == 32;
  if (file) fclose(file);
  sodium_memzero(text, sizeof text);
  if (!ok) fprintf(stderr, "%s: not a key file of 64 hex digits\n", path);
  return ok ? 0 : USAGE;
}

/* A whole number in decimal digits; 0 on success. */
static int read_number(const char *text, unsigned long long most, unsigned long long *out) {
  char *end = NULL;
  if (*text < '0' || *text > '9') return -1;
  *out = strtoull(text, &end, 10);
  return *end || *out > most ? -1 : 0;
}

/* Opens the archive under the one public key it was given, whatever key_id the archive names. */
static int open_archive(char **argv, m2p_archive **archive) {
  m2p_source source;
  m2p_verifier verifier;
  m2p_options options;
  m2p_error error;
  memset(&options, 0, sizeof options);
  int status = read_key(argv[3], verifier.public_key);
  if (status) return status;
  if (m2p_file_source(argv[2], &source, &error)) return report(&error);
  if (m2p_peek_key_id(&source, &verifier.key_id, &error)) {
    source.close(source.context);
    return report(&error);
  }
  options.verifiers = &verifier;
  options.verifier_count = 1;
  return m2p_open(archive, &source, &options, &error) ? report(&error) : 0;
}

static int unlock(m2p_archive *archive, const char *key_file, const char *key_id, m2p_reader **reader) {
  uint8_t key[32];
  unsigned long long id = m2p_key_id(archive);
  m2p_error error;
  if (key_id && read_number(key_id, UINT32_MAX, &id)) {
    fprintf(stderr, "%s: not a key_id\n", key_id);
    return USAGE;
  }
  int status = read_key(key_file, key);
  if (!status && m2p_unlock(archive, (uint32_t)id, key, &error)) status = report(&error);
  sodium_memzero(key, sizeof key);
  if (!status && m2p_reader_open(archive, reader, &error)) status = report(&error);
  return status;
}

static int list(const m2p_archive *archive) {
  m2p_entry entry;
  m2p_error error;
  if (m2p_sealed(archive) && m2p_entry_at(archive, 0, &entry, &error)) return report(&error);
  for (uint32_t i = 0; i < m2p_count(archive); i++) {
    m2p_entry_at(archive, i, &entry, NULL);
    printf("%llu %.*s\n", (unsigned long long)entry.size, (int)entry.path_length, entry.path);
  }
  return 0;
}

static int copy_out(m2p_reader *reader, uint32_t index, FILE *out) {
  const uint8_t *bytes;
  size_t length = 0;
  m2p_error error;
  if (m2p_begin(reader, index, &error)) return report(&error);
  do {
    if (m2p_next(reader, &bytes, &length, &error)) return report(&error);
    if (length && fwrite(bytes, 1, length, out) != length) {
      perror("write");
      return MACHINE;
    }
  } while (length);
  return 0;
}

static int print_file(const m2p_archive *archive, m2p_reader *reader, int argc, char **argv) {
  uint32_t index;
  unsigned long long offset, length;
  m2p_error error;
#ifdef _WIN32
  _setmode(_fileno(stdout), _O_BINARY);
#endif
  if (m2p_find(archive, argv[5], strlen(argv[5]), &index, &error)) return report(&error);
  if (argc < 8) return copy_out(reader, index, stdout);
  if (read_number(argv[6], UINT64_MAX, &offset) || read_number(argv[7], 1u << 30, &length)) {
    fputs("OFFSET and LENGTH are whole numbers, LENGTH at most 1 GiB\n", stderr);
    return USAGE;
  }
  size_t got = 0;
  void *bytes = malloc(length ? (size_t)length : 1);
  if (!bytes) return MACHINE;
  int status = m2p_read_range(reader, index, offset, bytes, (size_t)length, &got, &error) ? report(&error) : 0;
  if (!status && fwrite(bytes, 1, got, stdout) != got) status = MACHINE;
  free(bytes);
  return status;
}

#ifndef _WIN32
/* Folders are opened one below the other and no link is followed: nothing outside `root` can be touched. */
static int open_parent(int root, char *path, char **name) {
  int folder = dup(root);
  for (char *slash; folder >= 0 && (slash = strchr(path, '/')); path = slash + 1) {
    *slash = 0;
    int next = -1;
    if (mkdirat(folder, path, 0755) && errno != EEXIST) perror(path);
    else if ((next = openat(folder, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)) < 0)
      fprintf(stderr, "M2P_SYMLINK: %s is not a folder of this extraction\n", path);
    close(folder);
    folder = next;
  }
  *name = path;
  return folder;
}

/* The time that the archive names, once everything is written. */
static int set_time(int descriptor, const m2p_attributes *attributes) {
  struct timespec times[2];
  if (!attributes->has_time) return 0;
  times[0].tv_sec = (time_t)(attributes->modified_ms / 1000);
  times[0].tv_nsec = (long)(attributes->modified_ms % 1000) * 1000000;
  times[1] = times[0];
  return futimens(descriptor, times);
}

static int extract_file(m2p_reader *reader, const m2p_archive *archive, uint32_t index, int root) {
  char path[1028], *name;
  m2p_entry entry;
  m2p_attributes attributes;
  m2p_entry_at(archive, index, &entry, NULL);
  m2p_attributes_at(archive, index, &attributes, NULL);
  /* The one absolute prefix of the format is a name, not a place. */
  size_t skip = entry.path_length > 3 && !memcmp(entry.path, "d:/", 3) ? 3 : 0;
  memcpy(path, entry.path + skip, entry.path_length - skip);
  path[entry.path_length - skip] = 0;
  int folder = open_parent(root, path, &name);
  if (folder < 0) return REFUSED;
  int mode = attributes.executable ? 0755 : 0644;
  int descriptor = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
  FILE *out = descriptor < 0 ? NULL : fdopen(descriptor, "wb");
  int status = out ? copy_out(reader, index, out) : MACHINE;
  int late = out ? fflush(out) || set_time(descriptor, &attributes) : 0;
  if (!out || fclose(out) || late) {
    perror(name);
    status = status ? status : MACHINE;
  }
  /* A file that was refused half-way is not left behind. */
  if (out && status) unlinkat(folder, name, 0);
  close(folder);
  return status;
}
#endif

static int extract(const m2p_archive *archive, m2p_reader *reader, const char *folder) {
#ifdef _WIN32
  (void)archive, (void)reader, (void)folder;
  fputs("extract is not available on Windows: use cat, or the keyturn command\n", stderr);
  return USAGE;
#else
  int status = 0;
  mkdir(folder, 0755);
  int root = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (root < 0) {
    perror(folder);
    return MACHINE;
  }
  for (uint32_t i = 0; i < m2p_count(archive) && !status; i++) status = extract_file(reader, archive, i, root);
  close(root);
  return status;
#endif
}

static int run(int argc, char **argv, m2p_archive *archive, m2p_reader **reader) {
  int extracts = !strcmp(argv[1], "extract"), prints = !strcmp(argv[1], "cat");
  if (!strcmp(argv[1], "list")) return list(archive);
  const char *key_id = prints ? NULL : argc > (extracts ? 6 : 5) ? argv[extracts ? 6 : 5] : NULL;
  int status = unlock(archive, argv[4], key_id, reader);
  if (status) return status;
  if (prints) return print_file(archive, *reader, argc, argv);
  m2p_error error;
  if (m2p_check_padding(*reader, &error)) return report(&error);
  if (extracts) status = extract(archive, *reader, argv[5]);
  else
    for (uint32_t i = 0; i < m2p_count(archive) && !status; i++)
      if (m2p_check(*reader, i, &error)) status = report(&error);
  if (!status) printf("ok %u files\n", (unsigned)m2p_count(archive));
  return status;
}

int main(int argc, char **argv) {
  static const struct {
    const char *name;
    int least, most;
  } commands[] = {{"list", 4, 4}, {"verify", 5, 6}, {"cat", 6, 8}, {"extract", 6, 7}};
  int known = 0;
  for (size_t i = 0; argc > 1 && i < sizeof commands / sizeof *commands; i++)
    known |= !strcmp(argv[1], commands[i].name) && argc >= commands[i].least && argc <= commands[i].most;
  if (!known || (argc == 7 && !strcmp(argv[1], "cat"))) {
    fputs("usage: m2p_reader list ARCHIVE PUBLIC | verify ARCHIVE PUBLIC KEY [KEY_ID] | "
          "cat ARCHIVE PUBLIC KEY PATH [OFFSET LENGTH] | extract ARCHIVE PUBLIC KEY FOLDER [KEY_ID]\n", stderr);
    return USAGE;
  }
  if (sodium_init() < 0) return MACHINE;
  m2p_archive *archive = NULL;
  m2p_reader *reader = NULL;
  int status = open_archive(argv, &archive);
  if (!status) status = run(argc, argv, archive, &reader);
  m2p_reader_close(reader);
  m2p_close(archive);
  if (fflush(stdout) && !status) status = MACHINE;
  return status;
}
