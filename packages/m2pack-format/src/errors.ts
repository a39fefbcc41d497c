import { KeyturnError } from '@keyturn/primitives'
import type { ErrorCatalogue, ErrorContext } from '@keyturn/primitives'

/** The codes of this package. */
export const m2pErrors = {
  M2P_TRUNCATED: {
    kind: 'input',
    meaning: 'The archive ends before bytes that its header or entry table names.',
    remedy: 'Fetch the archive again; it was cut.',
  },
  M2P_MAGIC: {
    kind: 'input',
    meaning: 'The file does not start with the magic of a .m2p archive.',
    remedy: 'Check that it is an .m2p file; `pack import` reads older formats, `pack inspect --raw` unknown ones.',
  },
  M2P_VERSION: {
    kind: 'input',
    meaning: 'The archive has a format version that this reader does not know.',
    remedy: 'Update the reader.',
  },
  M2P_HEADER: {
    kind: 'input',
    meaning: 'A fixed field of header, preamble or entry holds a value that the format does not allow.',
    remedy: 'Build the archive again with a conforming writer.',
  },
  M2P_LIMIT: {
    kind: 'input',
    meaning: 'A size or count in the archive is over the limit of this reader.',
    remedy: 'Raise the limit by its option if the archive is trusted, else refuse it.',
  },
  M2P_TOC: {
    kind: 'input',
    meaning: 'The entry table contradicts itself: order, ranges, gaps, overlaps or slots.',
    remedy: 'Build the archive again with a conforming writer.',
  },
  M2P_TRAILING: {
    kind: 'input',
    meaning: 'Bytes after the end of the archive belong to no part of it.',
    remedy: 'Fetch the archive again; something was appended.',
  },
  M2P_SEALED: {
    kind: 'input',
    meaning: 'The table of the archive is sealed, and no content key was given: its files cannot be listed.',
    remedy: 'Give the content key. Before the date of a scheduled release nobody but its publisher has it.',
  },
  M2P_PADDING: {
    kind: 'input',
    meaning: 'Bytes between two payloads, which must be zero, are not.',
    remedy: 'Fetch the archive again; its padding was changed.',
  },
  M2P_PATH: {
    kind: 'input',
    meaning: 'A path is not safe on every platform.',
    remedy: 'Rename the file in the source tree; the message names the rule.',
  },
  M2P_PATH_COLLISION: {
    kind: 'input',
    meaning: 'Two paths are the same on systems that ignore case, or a file is also the folder of another.',
    remedy: 'Rename one of the two files in the source tree.',
  },
  M2P_SIZE: {
    kind: 'input',
    meaning: 'A declared size does not match the bytes.',
    remedy: 'Build the archive again with a conforming writer.',
  },
  M2P_ZSTD: {
    kind: 'input',
    meaning: 'A segment is not exactly one plain zstd frame of the expected form.',
    remedy: 'Build the archive again with a conforming writer.',
  },
  M2P_ZSTD_UNAVAILABLE: {
    kind: 'unavailable',
    meaning: 'zstd cannot be loaded: its file is missing, or WebAssembly is forbidden here.',
    remedy: "Serve zstd.wasm beside the bundle, and allow 'wasm-unsafe-eval' in the Content-Security-Policy.",
  },
  M2P_MANIFEST_HASH: {
    kind: 'auth',
    meaning: 'The manifest does not have the hash that the header names.',
    remedy: 'Fetch the archive again; it was damaged or changed.',
  },
  M2P_SIGNATURE: {
    kind: 'auth',
    meaning: 'The signature of the manifest does not verify under the public key of this key_id.',
    remedy: 'Check that archive and public key belong together. If they do, refuse the archive.',
  },
  M2P_KEY_ID_UNKNOWN: {
    kind: 'auth',
    meaning: 'No verifier is known for the key_id of the archive; other keys are not tried.',
    remedy: 'Add the public key of that key_id, or use the client release that carries it.',
  },
  M2P_KEY_RETIRED: {
    kind: 'policy',
    meaning: 'The key_id of the archive was retired.',
    remedy: 'Install the current release; archives under retired keys are refused on purpose.',
  },
  M2P_KEY_ID_MISMATCH: {
    kind: 'auth',
    meaning: 'The content key has another key_id than the archive.',
    remedy: 'Use the content key that came with this release.',
  },
  M2P_KEY_COMMITMENT: {
    kind: 'auth',
    meaning: 'The content key is not the one the archive was made for, though its key_id is the same.',
    remedy: 'Use the content key that came with this release.',
  },
  M2P_KEY_INVALID: {
    kind: 'input',
    meaning: 'A key or key file does not hold a key of the expected kind and length.',
    remedy: 'Check that the right file was named; the three kinds are not interchangeable.',
  },
  M2P_SLOT_UNKNOWN: {
    kind: 'usage',
    meaning: 'The writer does not have the slot of a file.',
    remedy: 'Give the slots file of this release line, or build with `--full`.',
  },
  M2P_DECRYPT: {
    kind: 'auth',
    meaning: 'A slot or a payload does not open under its key; none of it was returned.',
    remedy: 'Fetch the archive again; it was damaged or changed.',
  },
  M2P_NONCE: {
    kind: 'auth',
    meaning: "A segment opened, but its nonce is not the one its content gives, so it is not the publisher's.",
    remedy: 'Fetch the archive again; refuse it if that does not help.',
  },
  M2P_HASH: {
    kind: 'auth',
    meaning: 'The content of a file does not have the SHA-256 that the signed manifest names.',
    remedy: 'Fetch the archive again; refuse it if that does not help.',
  },
  M2P_ENTRY_UNKNOWN: {
    kind: 'usage',
    meaning: 'The archive has no file of this path.',
    remedy: 'List the archive; look-up is exact, case included, unless folding was asked for.',
  },
  M2P_INPUT_CHANGED: {
    kind: 'io',
    meaning: 'A file changed while it was being packed.',
    remedy: 'Stop whatever writes to the source tree and build again.',
  },
  M2P_SOURCE: {
    kind: 'unavailable',
    meaning: 'A server did not give the bytes of the archive that were asked for.',
    remedy: 'Serve the archive with byte ranges, and expose Content-Range and ETag to other origins.',
  },
  M2P_SOURCE_CHANGED: {
    kind: 'busy',
    meaning: 'The archive on the server changed while it was being read.',
    remedy: 'Open the archive again.',
  },
  M2P_SPECIAL_FILE: {
    kind: 'usage',
    meaning: 'The source tree contains something that is not a plain file or folder: a link, a pipe, a device.',
    remedy: 'Remove or exclude it; archives hold only plain files.',
  },
  M2P_SYMLINK: {
    kind: 'policy',
    meaning: 'The target of an extraction has a link in the place of a folder or file.',
    remedy: 'Extract into an empty folder.',
  },
  M2P_LEGACY: {
    kind: 'input',
    meaning: 'A pack of an older format is damaged, or of a kind that cannot be imported.',
    remedy: 'See the message; types that need keys from the game server cannot be read from the file alone.',
  },
} as const satisfies ErrorCatalogue<string>

/** A code of this package. */
export type M2pErrorCode = keyof typeof m2pErrors

/** Thrown for bad input or bad state. Branch on `code`. */
export class M2pError extends KeyturnError<M2pErrorCode> {
  override readonly name = 'M2pError'

  /**
   * @param code - What is wrong.
   * @param message - What failed, where, what was found and what was wanted.
   * @param context - Details, hint and cause.
   */
  constructor(code: M2pErrorCode, message: string, context?: ErrorContext) {
    super(m2pErrors, code, message, context)
  }
}
