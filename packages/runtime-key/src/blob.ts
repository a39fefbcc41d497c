import { Reader, utf8Encode, wipe, Writer } from '@keyturn/primitives'
import { RuntimeKeyError } from './errors.ts'
import { requireVerifier } from './json.ts'
import { KEY_LENGTH, RuntimeKey } from './runtime-key.ts'
import { secretCopy } from './secret-copy.ts'

/** Bytes of a blob. */
export const RUNTIME_KEY_BLOB_LENGTH = 84
/** `M2KEYS1` and a zero byte. */
export const RUNTIME_KEY_BLOB_MAGIC: Uint8Array = utf8Encode('M2KEYS1\0')
const BLOB_VERSION = 1

/**
 * Reads the 84-byte blob, docs/spec/runtime-key.md §3.
 *
 * @param bytes - Not modified; the caller wipes it.
 * @throws {@link RuntimeKeyError} `RK_BLOB` (length, magic, version, flags), `RK_KEY_ID`, `RK_WEAK`, `RK_KEY_INVALID`.
 */
export function parseRuntimeKeyBlob(bytes: Uint8Array): RuntimeKey {
  if (bytes.length !== RUNTIME_KEY_BLOB_LENGTH) {
    throw new RuntimeKeyError(
      'RK_BLOB',
      `Runtime key blob has ${bytes.length} bytes, wanted ${RUNTIME_KEY_BLOB_LENGTH}`,
    )
  }
  // offset  size  field                        docs/spec/runtime-key.md §3
  //  0       8    magic  "M2KEYS1\0"
  //  8       4    version, 1
  // 12       4    flags, 0
  // 16       4    key_id
  // 20      32    content key
  // 52      32    verifier
  const reader = new Reader(bytes, ({ field, offset }) => {
    return new RuntimeKeyError('RK_BLOB', `Cannot read runtime key blob: "${field}" at byte ${offset}`)
  })
  reader.expect(RUNTIME_KEY_BLOB_MAGIC, 'magic')
  const version = reader.u32le('version')
  const flags = reader.u32le('flags')
  if (version !== BLOB_VERSION || flags !== 0) {
    throw new RuntimeKeyError('RK_BLOB', `Runtime key blob has version ${version} and flags ${flags}, wanted 1 and 0`)
  }
  const keyId = reader.u32le('key_id')
  const masterKey = secretCopy(reader.bytes(KEY_LENGTH, 'content key'))
  const signPublicKey = reader.bytes(KEY_LENGTH, 'verifier')
  reader.end()
  return RuntimeKey.take({ keyId, masterKey, signPublicKey })
}

/**
 * Writes the 84-byte blob.
 *
 * @param runtimeKey - Must carry a verifier.
 * @returns Fresh bytes, secret; the caller wipes them.
 * @throws {@link RuntimeKeyError} `RK_FIELD` when the key carries no verifier.
 */
export function writeRuntimeKeyBlob(runtimeKey: RuntimeKey): Uint8Array {
  const verifier = requireVerifier(runtimeKey)
  const head = new Writer(20)
    .bytes(RUNTIME_KEY_BLOB_MAGIC)
    .u32le(BLOB_VERSION)
    .u32le(0)
    .u32le(runtimeKey.keyId)
    .finish()
  // The key goes straight into its place: a growing writer would leave copies.
  const blob = new Uint8Array(RUNTIME_KEY_BLOB_LENGTH)
  blob.set(head, 0)
  runtimeKey.withBytes((key) => blob.set(key, head.length))
  blob.set(verifier, head.length + KEY_LENGTH)
  return blob
}

/** Reads a blob and wipes it, also when it is refused. */
export function parseRuntimeKeyBlobAndWipe(bytes: Uint8Array): RuntimeKey {
  try {
    return parseRuntimeKeyBlob(bytes)
  } finally {
    wipe(bytes)
  }
}
