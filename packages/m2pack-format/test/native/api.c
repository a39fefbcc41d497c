/* Exercises m2p.h on one sound archive: api ARCHIVE PUBLIC_HEX CONTENT_HEX. Prints "ok" or the line that failed. */
#include "../../native/m2p.h"

#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                     \
  do {                                                       \
    if (!(condition)) {                                      \
      fprintf(stderr, "line %d: %s\n", __LINE__, #condition); \
      exit(1);                                               \
    }                                                        \
  } while (0)

static uint8_t public_key[32], content_key[32];
static uint8_t *bytes;
static size_t size;

/* ---- a source and an allocator that count and fail on demand ---- */

typedef struct {
  long left; /* calls until one fails; negative: none does */
  long live;
  int closed;
} Plan;

static void *planned_allocate(void *context, size_t wanted) {
  Plan *plan = context;
  if (plan->left == 0) return NULL;
  if (plan->left > 0) plan->left--;
  void *memory = malloc(wanted);
  if (memory) plan->live++;
  return memory;
}

static void planned_release(void *context, void *memory) {
  if (memory) ((Plan *)context)->live--;
  free(memory);
}

static int planned_read(void *context, uint64_t offset, void *out, size_t length) {
  Plan *plan = context;
  if (plan->left == 0) return -1;
  if (plan->left > 0) plan->left--;
  memcpy(out, bytes + offset, length);
  return 0;
}

static void planned_close(void *context) { ((Plan *)context)->closed++; }

static m2p_status open_with(m2p_archive **archive, Plan *reads, Plan *memory, m2p_error *error) {
  m2p_source source = {reads, size, planned_read, planned_close};
  m2p_allocator allocator = {memory, planned_allocate, planned_release};
  m2p_verifier verifier;
  m2p_options options;
  memset(&options, 0, sizeof options);
  memcpy(verifier.public_key, public_key, 32);
  CHECK(m2p_peek_key_id(&(m2p_source){bytes, size, NULL, NULL}, &verifier.key_id, NULL) == M2P_E_USAGE);
  m2p_source plain;
  CHECK(m2p_memory_source(bytes, size, &plain, NULL) == M2P_OK);
  CHECK(m2p_peek_key_id(&plain, &verifier.key_id, NULL) == M2P_OK);
  options.verifiers = &verifier;
  options.verifier_count = 1;
  options.allocator = &allocator;
  return m2p_open(archive, &source, &options, error);
}

/* ---- what is tested ---- */

/* Reads every file whole and by pieces; any step may fail. Returns the first failure. */
static m2p_status use_all(m2p_archive *archive, m2p_error *error) {
  m2p_reader *reader;
  m2p_status status = m2p_unlock(archive, m2p_key_id(archive), content_key, error);
  if (!status) status = m2p_reader_open(archive, &reader, error);
  if (status) return status;
  for (uint32_t i = 0; i < m2p_count(archive) && !status; i++) {
    m2p_entry entry;
    CHECK(m2p_entry_at(archive, i, &entry, NULL) == M2P_OK);
    uint8_t *whole = malloc(entry.size + 1);
    status = m2p_read(reader, i, whole, entry.size, error);
    if (status)
      for (size_t at = 0; at < entry.size; at++) CHECK(whole[at] == 0);
    free(whole);
  }
  m2p_reader_close(reader);
  return status;
}

static void ranges(const m2p_archive *archive) {
  m2p_reader *reader;
  CHECK(m2p_reader_open(archive, &reader, NULL) == M2P_OK);
  CHECK(m2p_check_padding(reader, NULL) == M2P_OK);
  for (uint32_t i = 0; i < m2p_count(archive); i++) {
    m2p_entry entry;
    uint8_t digest[32];
    m2p_entry_at(archive, i, &entry, NULL);
    uint8_t *whole = malloc(entry.size + 1), *part = malloc(entry.size + 100);
    CHECK(m2p_check(reader, i, NULL) == M2P_OK);
    CHECK(m2p_read(reader, i, whole, entry.size, NULL) == M2P_OK);
    crypto_hash_sha256(digest, whole, entry.size);
    CHECK(!memcmp(digest, entry.sha256, 32));
    if (entry.size) CHECK(m2p_read(reader, i, whole, entry.size - 1, NULL) == M2P_E_USAGE);
    for (int round = 0; round < 40; round++) {
      uint64_t from = entry.size ? randombytes_uniform((uint32_t)entry.size + 1) : 0;
      size_t length = randombytes_uniform(round % 2 ? 100 : (uint32_t)entry.size + 100), got = 7;
      CHECK(m2p_read_range(reader, i, from, part, length, &got, NULL) == M2P_OK);
      CHECK(got == (length < entry.size - from ? length : entry.size - from));
      CHECK(!memcmp(part, whole + from, got));
    }
    size_t at = 0, length;
    const uint8_t *piece;
    CHECK(m2p_begin(reader, i, NULL) == M2P_OK);
    do {
      CHECK(m2p_next(reader, &piece, &length, NULL) == M2P_OK);
      CHECK(length <= entry.size - at && (!length || !memcmp(piece, whole + at, length)));
      at += length;
    } while (length);
    CHECK(at == entry.size);
    CHECK(m2p_next(reader, &piece, &length, NULL) == M2P_E_USAGE);
    free(whole);
    free(part);
  }
  m2p_reader_close(reader);
}

static void names(const m2p_archive *archive) {
  uint32_t index;
  char upper[1100];
  m2p_error error;
  for (uint32_t i = 0; i < m2p_count(archive); i++) {
    m2p_entry entry;
    m2p_entry_at(archive, i, &entry, NULL);
    CHECK(m2p_find(archive, entry.path, entry.path_length, &index, NULL) == M2P_OK && index == i);
    for (size_t at = 0; at < entry.path_length; at++) {
      char c = entry.path[at];
      upper[at] = c >= 'a' && c <= 'z' ? (char)(c - 32) : c;
    }
    CHECK(m2p_find_folded(archive, upper, entry.path_length, &index, NULL) == M2P_OK && index == i);
  }
  CHECK(m2p_find(archive, "no such file", 12, &index, &error) == M2P_E_ENTRY_UNKNOWN);
  CHECK(!strcmp(m2p_code(error.status), "M2P_ENTRY_UNKNOWN") && error.message[0]);
  CHECK(m2p_find_folded(archive, "", 0, &index, NULL) == M2P_E_ENTRY_UNKNOWN);
  CHECK(m2p_entry_at(archive, m2p_count(archive), &(m2p_entry){0}, NULL) == M2P_E_ENTRY_UNKNOWN);
}

static void attributes(const m2p_archive *archive) {
  m2p_attributes found;
  uint32_t version = m2p_version(archive), programs = 0;
  for (uint32_t i = 0; i < m2p_count(archive); i++) {
    CHECK(m2p_attributes_at(archive, i, &found, NULL) == M2P_OK);
    CHECK(found.has_time == (version == 2) && (found.modified_ms > 0) == (version == 2));
    programs += (uint32_t)found.executable;
  }
  CHECK(programs == (version == 2));
  CHECK(m2p_attributes_at(archive, m2p_count(archive), &found, NULL) == M2P_E_ENTRY_UNKNOWN);
  CHECK(m2p_attributes_at(archive, 0, NULL, NULL) == M2P_E_USAGE);
}

static void *thread(void *archive) {
  ranges(archive);
  return NULL;
}

/* Fails the first, second, third ... call until a run needs no more of them: no leak, one close, a telling status. */
static void fail_each(int of_memory, m2p_status expected) {
  for (long fails = 0;; fails++) {
    Plan reads = {of_memory ? -1 : fails, 0, 0}, memory = {of_memory ? fails : -1, 0, 0};
    m2p_archive *archive;
    m2p_error error = {M2P_OK, ""};
    m2p_status status = open_with(&archive, &reads, &memory, &error);
    if (status) CHECK(archive == NULL && reads.closed == 1);
    else {
      status = use_all(archive, &error);
      m2p_close(archive);
    }
    CHECK(reads.closed == 1 && memory.live == 0);
    if (!status) return;
    CHECK(status == expected && error.status == expected);
  }
}

static void usage(m2p_archive *archive) {
  m2p_reader *reader;
  uint8_t wrong[32] = {1};
  CHECK(m2p_reader_open(archive, &reader, NULL) == M2P_E_USAGE && reader == NULL);
  CHECK(m2p_unlock(archive, m2p_key_id(archive), wrong, NULL) == M2P_E_KEY_COMMITMENT);
  CHECK(m2p_unlock(archive, m2p_key_id(archive) + 1, content_key, NULL) == M2P_E_KEY_ID_MISMATCH);
  CHECK(m2p_reader_open(archive, &reader, NULL) == M2P_E_USAGE);
  CHECK(m2p_open(&archive, NULL, NULL, NULL) == M2P_E_USAGE && archive == NULL);
  m2p_source source;
  CHECK(m2p_memory_source(bytes, size, &source, NULL) == M2P_OK);
  CHECK(m2p_open(&archive, &source, NULL, NULL) == M2P_E_KEY_ID_UNKNOWN);
  CHECK(m2p_file_source("/nowhere/at all", &source, NULL) == M2P_E_IO);
  CHECK(m2p_file_source("/", &source, NULL) == M2P_E_IO);
}

int main(int argc, char **argv) {
  pthread_t threads[4];
  Plan reads = {-1, 0, 0}, memory = {-1, 0, 0};
  m2p_archive *archive;
  size_t n;
  CHECK(argc == 4 && sodium_init() >= 0);
  CHECK(!sodium_hex2bin(public_key, 32, argv[2], 64, NULL, &n, NULL));
  CHECK(!sodium_hex2bin(content_key, 32, argv[3], 64, NULL, &n, NULL));
  FILE *file = fopen(argv[1], "rb");
  CHECK(file && !fseek(file, 0, SEEK_END));
  size = (size_t)ftell(file);
  bytes = malloc(size);
  rewind(file);
  CHECK(fread(bytes, 1, size, file) == size && !fclose(file));

  CHECK(open_with(&archive, &reads, &memory, NULL) == M2P_OK);
  usage(archive);
  names(archive);
  uint32_t version = m2p_version(archive);
  attributes(archive);
  CHECK(m2p_unlock(archive, m2p_key_id(archive), content_key, NULL) == M2P_OK);
  /* The counters of the allocator are not for several threads. */
  m2p_close(archive);
  CHECK(memory.live == 0);
  m2p_source source;
  m2p_verifier verifier;
  m2p_options options;
  memset(&options, 0, sizeof options);
  memcpy(verifier.public_key, public_key, 32);
  CHECK(m2p_file_source(argv[1], &source, NULL) == M2P_OK);
  CHECK(m2p_peek_key_id(&source, &verifier.key_id, NULL) == M2P_OK);
  options.verifiers = &verifier;
  options.verifier_count = 1;
  CHECK(m2p_open(&archive, &source, &options, NULL) == M2P_OK);
  CHECK(m2p_unlock(archive, m2p_key_id(archive), content_key, NULL) == M2P_OK);
  for (int i = 0; i < 4; i++) CHECK(!pthread_create(&threads[i], NULL, thread, archive));
  for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
  m2p_close(archive);

  fail_each(1, M2P_E_MEMORY);
  fail_each(0, M2P_E_IO);
  free(bytes);
  printf("ok, version %u\n", (unsigned)version);
  return 0;
}
