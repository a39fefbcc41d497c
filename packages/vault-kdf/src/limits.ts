/** Bytes of a master key and of every derived key. */
export const KEY_BYTES = 32
/** Longest id (partition, cell, name, policy, session) in bytes of UTF-8. */
export const MAX_ID_BYTES = 255
/** Largest plaintext of one record; larger things go through a stream. */
export const MAX_PLAINTEXT_BYTES = 64 * 1024 * 1024
/** Key versions one keyring holds, tombstones included. */
export const MAX_KEY_VERSIONS = 1024
/** Largest key version: a u32 on the wire. */
export const MAX_KEY_VERSION = 0xffff_ffff
/** Largest keyring document a reader takes: 1,024 versions with their history. */
export const MAX_KEYRING_BYTES = 4 * 1024 * 1024
/** Largest document of partition secrets a reader takes: some 30,000 partitions in one of the 256. */
export const MAX_PARTITION_SHARD_BYTES = 8 * 1024 * 1024
/** Plaintext in one chunk of a stream: what bounds the memory of sealing and opening it. */
export const STREAM_CHUNK_BYTES = 64 * 1024
