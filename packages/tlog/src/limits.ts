/** Largest signed note that is read, bytes: a checkpoint with {@link MAX_SIGNATURES} post-quantum signatures fits. */
export const MAX_NOTE_BYTES = 256 * 1024

/** Most signature lines of one note. */
export const MAX_SIGNATURES = 64

/** Longest name of a key, origin of a log or name in a policy, UTF-8 bytes. */
export const MAX_NAME_BYTES = 255

/** Most extension lines of a checkpoint. */
export const MAX_EXTENSION_LINES = 16

/** Largest size of a tree, leaves: the largest integer that a double holds exactly. */
export const MAX_TREE_SIZE: number = Number.MAX_SAFE_INTEGER

/** Most hashes in an inclusion or consistency proof: one per level of the largest tree, and one more. */
export const MAX_PROOF_HASHES = 63

/** Largest entry of a log, bytes: what the two-byte length of an entry bundle can say. */
export const MAX_ENTRY_BYTES = 65_535

/** Hashes in a full tile, and entries in a full bundle. */
export const TILE_WIDTH = 256

/** Levels of tiles that a tree of {@link MAX_TREE_SIZE} leaves can have. */
export const MAX_TILE_LEVEL = 6

/** Largest policy file, bytes. */
export const MAX_POLICY_BYTES = 64 * 1024

/** Most logs, most witnesses and most groups of one policy. */
export const MAX_POLICY_ITEMS = 64

/** Largest proof file, bytes: a note and the lines before it. */
export const MAX_PROOF_BYTES: number = MAX_NOTE_BYTES + 16 * 1024

/** Largest `extra` of a proof file, bytes before base64. */
export const MAX_PROOF_EXTRA_BYTES = 4096

/** Largest request to a witness, bytes: a note and the lines before it. */
export const MAX_REQUEST_BYTES: number = MAX_NOTE_BYTES + 4096
