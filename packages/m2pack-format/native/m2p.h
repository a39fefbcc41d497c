/* m2p.h - reads .m2p archives of format versions 1 and 2 (docs/spec/m2pack.md, m2pack-v2.md): open, find, read, read a
 * range, stream.
 *
 * Needs libsodium and libzstd; C99, and C++17 can include it. Take m2p.h and m2p.c into your client as they are, or
 * build the library with CMake.
 *
 * Threads: one archive may be used by any number of threads once m2p_open() and, for contents, m2p_unlock() have
 * returned. Each thread reads through an m2p_reader of its own; a reader is for one thread at a time. A source must
 * answer reads from several threads at once, as the sources of this file do.
 *
 * Trust: m2p_open() returns an archive only after hash and signature of its table were verified under the public key of
 * its key_id. No byte of a file is returned before its tag was verified. What m2p_read() returns has the SHA-256 that
 * the table names; what m2p_read_range() and m2p_next() return was packed by the publisher (the nonce is computed
 * again, in version 2 for every read).
 *
 * Not checked here, since it needs Unicode tables: NFC, unassigned code points, folding beyond ASCII. The publisher's
 * writer has checked them, and the signature says so.
 */
#ifndef KEYTURN_M2P_H
#define KEYTURN_M2P_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define M2P_LIBRARY_VERSION "1.1.0"

#if defined(_WIN32) && defined(M2P_SHARED)
#  ifdef M2P_BUILDING
#    define M2P_API __declspec(dllexport)
#  else
#    define M2P_API __declspec(dllimport)
#  endif
#elif defined(__GNUC__)
#  define M2P_API __attribute__((visibility("default")))
#else
#  define M2P_API
#endif

/* Every function that can fail returns one of these; m2p_code() gives the stable name. Numbers never change. */
typedef enum {
  M2P_OK = 0,
  M2P_E_TRUNCATED = 1,
  M2P_E_MAGIC = 2,
  M2P_E_VERSION = 3,
  M2P_E_HEADER = 4,
  M2P_E_LIMIT = 5,
  M2P_E_TOC = 6,
  M2P_E_TRAILING = 7,
  M2P_E_PADDING = 8,
  M2P_E_PATH = 9,
  M2P_E_PATH_COLLISION = 10,
  M2P_E_SIZE = 11,
  M2P_E_ZSTD = 12,
  M2P_E_MANIFEST_HASH = 13,
  M2P_E_SIGNATURE = 14,
  M2P_E_KEY_ID_UNKNOWN = 15,
  M2P_E_KEY_ID_MISMATCH = 16,
  M2P_E_KEY_COMMITMENT = 17,
  M2P_E_DECRYPT = 18,
  M2P_E_NONCE = 19,
  M2P_E_HASH = 20,
  M2P_E_ENTRY_UNKNOWN = 21,
  M2P_E_IO = 22,     /* the source could not read */
  M2P_E_MEMORY = 23, /* the allocator gave nothing */
  M2P_E_USAGE = 24,  /* an argument is wrong, or m2p_unlock() was not called */
  M2P_E_SEALED = 25  /* the table is sealed: call m2p_unlock() before names are read */
} m2p_status;

/* What was refused, in words; `message` ends with a zero byte and never holds a key. */
typedef struct {
  m2p_status status;
  char message[192];
} m2p_error;

/* Memory. `release` gets only what `allocate` returned. Both are called from the thread that calls the library. */
typedef struct {
  void *context;
  void *(*allocate)(void *context, size_t size);
  void (*release)(void *context, void *memory);
} m2p_allocator;

/* Where the bytes are. `read` fills `out` with `length` bytes from `offset` and returns 0, anything else on failure; it
 * is never asked beyond `size`. `close` may be NULL; it is called once, by m2p_close() or by a failing m2p_open(). */
typedef struct {
  void *context;
  uint64_t size;
  int (*read)(void *context, uint64_t offset, void *out, size_t length);
  void (*close)(void *context);
} m2p_source;

/* The public key that archives of a key_id are signed with. */
typedef struct {
  uint32_t key_id;
  uint8_t public_key[32];
} m2p_verifier;

/* Start from zeros: 0 and NULL are the defaults in the comments. */
typedef struct {
  const m2p_verifier *verifiers;
  size_t verifier_count;
  const m2p_allocator *allocator; /* malloc and free; copied by m2p_open() */
  uint64_t max_manifest;          /* 64 MiB */
  uint32_t max_entries;           /* 1,000,000 */
  uint64_t max_file;              /* 64 GiB of plaintext a file */
} m2p_options;

typedef struct {
  const char *path; /* UTF-8, not terminated; valid until m2p_close() */
  size_t path_length;
  uint64_t size;   /* bytes of plaintext */
  uint64_t stored; /* bytes in the archive */
  uint32_t slot;
  int compressed;  /* in version 2: at least one segment is */
  const uint8_t *sha256; /* 32 bytes, of the plaintext */
} m2p_entry;

/* What version 2 keeps beside the bytes of a file. */
typedef struct {
  int executable; /* 0 in version 1 */
  int has_time;   /* whether modified_ms says anything */
  uint64_t modified_ms; /* since 1970-01-01 00:00 UTC */
} m2p_attributes;

typedef struct m2p_archive m2p_archive;
typedef struct m2p_reader m2p_reader;

/* "M2P_TRUNCATED" and so on: the code that the other readers of this format print, too. */
M2P_API const char *m2p_code(m2p_status status);

/* A file, by its path (UTF-8; on Windows it is converted). */
M2P_API m2p_status m2p_file_source(const char *path, m2p_source *source, m2p_error *error);
/* Bytes that stay valid until m2p_close(). */
M2P_API m2p_status m2p_memory_source(const void *bytes, size_t size, m2p_source *source, m2p_error *error);

/* The key_id in the header. Nothing is verified: use it to choose a key, never to trust one. */
M2P_API m2p_status m2p_peek_key_id(const m2p_source *source, uint32_t *key_id, m2p_error *error);

/* Verifies header, hash, signature and table. On failure *archive is NULL and the source is closed. Here and below
 * `error` may be NULL. */
M2P_API m2p_status m2p_open(m2p_archive **archive, const m2p_source *source, const m2p_options *options,
                            m2p_error *error);
/* Call it after every reader was closed. NULL is allowed. Wipes the keys. */
M2P_API void m2p_close(m2p_archive *archive);

/* Gives the archive its content key (32 bytes), as a launcher delivers it with its key_id. Before this only names and
 * sizes can be read, and of an archive with a sealed table nothing at all. Not for several threads at once. */
M2P_API m2p_status m2p_unlock(m2p_archive *archive, uint32_t key_id, const uint8_t content_key[32], m2p_error *error);

M2P_API uint32_t m2p_key_id(const m2p_archive *archive);
/* The format version of the archive, 1 or 2. Since 1.1.0. */
M2P_API uint32_t m2p_version(const m2p_archive *archive);
/* 1 while the table of the archive is sealed and m2p_unlock() did not open it, else 0. */
M2P_API int m2p_sealed(const m2p_archive *archive);
/* Files in the archive; 0 while its table is sealed. */
M2P_API uint32_t m2p_count(const m2p_archive *archive);
/* The entry at `index`, in the order of the bytes of the paths. */
M2P_API m2p_status m2p_entry_at(const m2p_archive *archive, uint32_t index, m2p_entry *entry, m2p_error *error);
/* Since 1.1.0. */
M2P_API m2p_status m2p_attributes_at(const m2p_archive *archive, uint32_t index, m2p_attributes *attributes,
                                     m2p_error *error);
/* The index of a path, exactly as it is stored; M2P_E_ENTRY_UNKNOWN when there is none. */
M2P_API m2p_status m2p_find(const m2p_archive *archive, const char *path, size_t length, uint32_t *index,
                            m2p_error *error);
/* The same with ASCII letters of either case taken as equal. */
M2P_API m2p_status m2p_find_folded(const m2p_archive *archive, const char *path, size_t length, uint32_t *index,
                                   m2p_error *error);

/* Memory for reading: three times the longest segment, which is 1 MiB in the usual archive of version 1, and at most
 * 4 MiB in the usual one of version 2. */
M2P_API m2p_status m2p_reader_open(const m2p_archive *archive, m2p_reader **reader, m2p_error *error);
/* NULL is allowed. Wipes what was decrypted. */
M2P_API void m2p_reader_close(m2p_reader *reader);

/* A whole file. `capacity` must be at least its size. On failure `out` holds zeros. */
M2P_API m2p_status m2p_read(m2p_reader *reader, uint32_t index, void *out, size_t capacity, m2p_error *error);
/* Checks a whole file in constant memory: every tag and the SHA-256. */
M2P_API m2p_status m2p_check(m2p_reader *reader, uint32_t index, m2p_error *error);
/* `length` bytes from `offset` of a file, fewer where it ends: *got says how many. Only the segments that hold them are
 * read. On failure `out` holds zeros. */
M2P_API m2p_status m2p_read_range(m2p_reader *reader, uint32_t index, uint64_t offset, void *out, size_t length,
                                  size_t *got, m2p_error *error);

/* A file piece by piece, in constant memory: m2p_begin(), then m2p_next() until *length is 0. *bytes is valid until the
 * next call with this reader. The last call also checks the SHA-256 of the whole. */
M2P_API m2p_status m2p_begin(m2p_reader *reader, uint32_t index, m2p_error *error);
M2P_API m2p_status m2p_next(m2p_reader *reader, const uint8_t **bytes, size_t *length, m2p_error *error);

/* That the bytes between two payloads are zero: part of a full check of an archive. */
M2P_API m2p_status m2p_check_padding(m2p_reader *reader, m2p_error *error);

#ifdef __cplusplus
}
#endif
#endif
