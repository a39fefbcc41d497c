import { KeyturnError } from '@keyturn/primitives'
import type { ErrorCatalogue, ErrorContext } from '@keyturn/primitives'

/** Every code this package throws, with its kind, its meaning and what to do. */
export const runtimeKeyErrors = {
  RK_MISSING: {
    kind: 'input',
    meaning: 'No runtime key was found where one is needed: the file is not there, or a child received none.',
    remedy: 'Export the runtime key of this release, or start the client through the launcher.',
  },
  RK_JSON: {
    kind: 'input',
    meaning: 'The runtime key file is not strict JSON.',
    remedy: 'Export the runtime key again; do not edit the file by hand.',
  },
  RK_FIELD: {
    kind: 'input',
    meaning: 'A field of the runtime key file is missing, contradicts another, or has the wrong type.',
    remedy: 'Export the runtime key again.',
  },
  RK_KEY_ID: {
    kind: 'input',
    meaning: 'The key_id is not an integer from 1 to 4294967295.',
    remedy: 'Give the key an integer key_id, as the archive header needs one.',
  },
  RK_ENCODING: {
    kind: 'input',
    meaning: 'A key is not exactly 64 lower-case hexadecimal digits.',
    remedy: 'Export the runtime key again.',
  },
  RK_WEAK: {
    kind: 'input',
    meaning: 'The content key is all zero.',
    remedy: 'Generate a content key and build the release with it.',
  },
  RK_KEY_INVALID: {
    kind: 'auth',
    meaning: 'The verifier in the runtime key is not a usable Ed25519 public key.',
    remedy: 'Export the runtime key with the verifier that belongs to the archives.',
  },
  RK_BLOB: {
    kind: 'input',
    meaning: 'The binary runtime key is not an 84-byte M2KEYS1 blob of version 1 without flags.',
    remedy: 'Export the runtime key again; older 80-byte blobs carry no key_id and are not accepted.',
  },
  RK_KEY_ID_MISMATCH: {
    kind: 'auth',
    meaning: 'The runtime key is for another key_id than the archives or the manifest name.',
    remedy: 'Ship client, launcher and archives of one release together, then update again.',
  },
  RK_KEY_MISMATCH: {
    kind: 'auth',
    meaning: 'The runtime key has the right key_id, but its key or verifier is not the one the signed manifest lists.',
    remedy: 'Fetch the runtime key again; if the error remains, the publisher exported another key under this key_id.',
  },
  RK_KEY_REVOKED: {
    kind: 'policy',
    meaning: 'The signed manifest lists this content key as revoked.',
    remedy: 'Update to a release under the current content key.',
  },
  RK_SHM_OCCUPIED: {
    kind: 'io',
    meaning: 'The shared memory for the runtime key belongs to someone else, is a link, or is open to other users.',
    remedy: 'Look for a hostile process on this machine; nothing was written and no child was started.',
  },
  RK_DELIVERY_TIMEOUT: {
    kind: 'unavailable',
    meaning: 'The child did not take its runtime key in time; the key was wiped.',
    remedy: 'Check that the client supports the chosen delivery, or choose the env delivery.',
  },
  RK_DELIVERY_CORRUPT: {
    kind: 'input',
    meaning: 'What the child found in place of its runtime key is cut, altered or already taken.',
    remedy: 'Start the client through the launcher again.',
  },
  RK_DELIVERY_UNSUPPORTED: {
    kind: 'usage',
    meaning: 'This machine cannot deliver a runtime key in the chosen way.',
    remedy: 'Choose another delivery in the launcher settings.',
  },
  RK_SPAWN: {
    kind: 'io',
    meaning: 'The client could not be started.',
    remedy: 'Check that the executable exists and may be run.',
  },
  RK_CHILD_GONE: {
    kind: 'io',
    meaning: 'The client ended before it took its runtime key.',
    remedy: 'Look at how the client ended; the key was wiped.',
  },
  RK_MESSAGE: {
    kind: 'input',
    meaning: 'A message of the runtime key exchange has the wrong length, version or padding.',
    remedy: 'Update whichever side is older.',
  },
  RK_STATUS: {
    kind: 'input',
    meaning: 'The server answered with a status this version does not know.',
    remedy: 'Update the launcher.',
  },
  RK_RELEASE_UNKNOWN: {
    kind: 'policy',
    meaning: 'The server does not deliver keys for this release: it is not published, or past its retention.',
    remedy: 'Update to a current release.',
  },
  RK_KEY_ID_UNKNOWN: {
    kind: 'policy',
    meaning: 'The release does not list this key_id, or lists it as revoked.',
    remedy: 'Update to a current release.',
  },
  RK_NOT_YET: {
    kind: 'policy',
    meaning: 'The release is preloaded, and its key is not delivered yet.',
    remedy: 'Wait until the release opens; an installed older release keeps working.',
  },
  RK_REFUSED: {
    kind: 'policy',
    meaning: 'The server refuses this device a runtime key.',
    remedy: 'Ask the operator to put the device on the list.',
  },
  RK_UNAVAILABLE: {
    kind: 'unavailable',
    meaning: 'The server cannot open its vault of runtime keys at the moment.',
    remedy: 'Try again later; a cached key that fits is used meanwhile.',
  },
} as const satisfies ErrorCatalogue<string>

/** A code of this package. */
export type RuntimeKeyErrorCode = keyof typeof runtimeKeyErrors

/** Thrown for a bad runtime key, a mismatch or a failed delivery. Branch on `code`. */
export class RuntimeKeyError extends KeyturnError<RuntimeKeyErrorCode> {
  override readonly name = 'RuntimeKeyError'

  /**
   * @param code - What is wrong.
   * @param message - For people; never holds key material.
   * @param context - Details, hint and cause.
   */
  constructor(code: RuntimeKeyErrorCode, message: string, context?: ErrorContext) {
    super(runtimeKeyErrors, code, message, context)
  }
}
