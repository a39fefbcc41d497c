/* m2p_fuzz.c - feeds arbitrary archives to m2p.h.
 *
 *     clang -g -O1 -fsanitize=fuzzer,address,undefined -DFUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION \
 *         -o m2p_fuzz m2p_fuzz.c ../m2p.c -I.. -lsodium -lzstd
 *     ./m2p_fuzz -max_len=65536 CORPUS_FOLDER
 *
 * Without libFuzzer, -DM2P_FUZZ_REPLAY makes a program that runs the target once for each file it is given.
 *
 * With the first macro hashes, signatures and tags count as right, so that what is behind them is reached. Without it
 * the same target shows that nothing unsigned is accepted.
 */
#include "m2p.h"

#include <stdio.h>
#include <stdlib.h>

enum { MOST_FILE = 1 << 20 };

static void read_all(m2p_archive *archive) {
  m2p_reader *reader;
  if (m2p_reader_open(archive, &reader, NULL)) return;
  for (uint32_t i = 0; i < m2p_count(archive); i++) {
    m2p_entry entry;
    const uint8_t *piece;
    size_t length, got;
    uint8_t part[300];
    m2p_error error;
    if (m2p_entry_at(archive, i, &entry, &error)) abort();
    void *whole = malloc(entry.size ? (size_t)entry.size : 1);
    if (whole) m2p_read(reader, i, whole, (size_t)entry.size, &error);
    free(whole);
    m2p_read_range(reader, i, entry.size / 2, part, sizeof part, &got, &error);
    if (!m2p_begin(reader, i, &error))
      while (!m2p_next(reader, &piece, &length, &error) && length) continue;
  }
  m2p_check_padding(reader, NULL);
  m2p_reader_close(reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const uint8_t content_key[32] = {0};
  m2p_source source;
  m2p_archive *archive;
  m2p_error error;
  m2p_verifier verifier = {0, {0}};
  m2p_options options = {&verifier, 1, NULL, 0, 0, MOST_FILE};
  if (m2p_memory_source(data, size, &source, &error) || m2p_peek_key_id(&source, &verifier.key_id, &error)) return 0;
  if (m2p_open(&archive, &source, &options, &error)) return 0;
  for (uint32_t i = 0; i < m2p_count(archive); i++) {
    m2p_entry entry;
    uint32_t found;
    if (m2p_entry_at(archive, i, &entry, &error)) abort();
    if (m2p_find(archive, entry.path, entry.path_length, &found, &error) || found != i) abort();
    if (m2p_find_folded(archive, entry.path, entry.path_length, &found, &error) || found != i) abort();
  }
  if (!m2p_unlock(archive, verifier.key_id, content_key, &error)) read_all(archive);
  m2p_close(archive);
  return 0;
}

#ifdef M2P_FUZZ_REPLAY
int main(int argc, char **argv) {
  for (int i = 1; i < argc; i++) {
    FILE *file = fopen(argv[i], "rb");
    if (!file || fseek(file, 0, SEEK_END)) return 1;
    long size = ftell(file);
    uint8_t *bytes = malloc(size > 0 ? (size_t)size : 1);
    rewind(file);
    if (size < 0 || !bytes || fread(bytes, 1, (size_t)size, file) != (size_t)size) return 1;
    fclose(file);
    LLVMFuzzerTestOneInput(bytes, (size_t)size);
    free(bytes);
  }
  printf("replayed %d\n", argc - 1);
  return 0;
}
#endif
