import { hexDecode, hexEncode, parseStrictJson, printable, utf8Encode } from '@keyturn/primitives'
import { RuntimeKeyError } from './errors.ts'
import { assertKeyId, KEY_LENGTH, RuntimeKey } from './runtime-key.ts'

/** Longest runtime key file that is looked at. */
export const MAX_RUNTIME_KEY_JSON_BYTES = 16_384
/** The mapping name the original packer writes. */
export const DEFAULT_MAPPING_NAME = 'Local\\M2PackSharedKeys'

/** How {@link writeRuntimeKeyJson} writes. */
export interface WriteRuntimeKeyJsonOptions {
  /** `superset` (default) is read by every known launcher; `original` is the packer's exact shape. */
  readonly compat?: 'superset' | 'original' | undefined
  /** Default {@link DEFAULT_MAPPING_NAME}. */
  readonly mappingName?: string | undefined
}

/**
 * Reads a runtime key file in any shape in the wild, docs/spec/runtime-key.md §2.
 *
 * @param bytes - The file; not modified. The caller wipes it.
 * @returns The key in its holder.
 * @throws {@link RuntimeKeyError} `RK_JSON` (not strict JSON), `RK_FIELD`, `RK_KEY_ID`, `RK_ENCODING`, `RK_WEAK`,
 *   `RK_KEY_INVALID`. No message quotes a value.
 */
export function parseRuntimeKeyJson(bytes: Uint8Array): RuntimeKey {
  const fields = parseObject(bytes)
  if (fields['version'] !== undefined && fields['version'] !== 1) {
    throw new RuntimeKeyError('RK_FIELD', 'Cannot read runtime key: version is not 1')
  }
  const keyId = readKeyId(fields['key_id'])
  const verifiers = ['sign_public_key_hex', 'sign_pubkey_hex'].filter((name) => fields[name] !== undefined)
  const [first, second] = verifiers
  if (first === undefined) {
    throw new RuntimeKeyError('RK_FIELD', 'Cannot read runtime key: no sign_pubkey_hex and no sign_public_key_hex')
  }
  if (second !== undefined && fields[first] !== fields[second]) {
    throw new RuntimeKeyError('RK_FIELD', `Cannot read runtime key: "${first}" and "${second}" differ`)
  }
  const signPublicKey = decodeKeyHex(fields[first], first)
  return RuntimeKey.take({ keyId, masterKey: decodeKeyHex(fields['master_key_hex'], 'master_key_hex'), signPublicKey })
}

/**
 * Writes a runtime key file: 2 spaces, LF, LF at the end.
 *
 * @param runtimeKey - Must carry a verifier.
 * @returns The file's bytes, secret; the caller wipes them.
 * @throws {@link RuntimeKeyError} `RK_FIELD` when the key carries no verifier.
 */
export function writeRuntimeKeyJson(runtimeKey: RuntimeKey, options: WriteRuntimeKeyJsonOptions = {}): Uint8Array {
  const { compat = 'superset', mappingName = DEFAULT_MAPPING_NAME } = options
  const verifier = requireVerifier(runtimeKey)
  const publicHex = hexEncode(verifier)
  return runtimeKey.withBytes((key) => {
    const head = { version: 1, mapping_name: mappingName }
    const fields =
      compat === 'original'
        ? { ...head, key_id: runtimeKey.keyId, master_key_hex: hexEncode(key), sign_public_key_hex: publicHex }
        : {
            ...head,
            key_id: String(runtimeKey.keyId),
            master_key_hex: hexEncode(key),
            sign_pubkey_hex: publicHex,
            sign_public_key_hex: publicHex,
          }
    return utf8Encode(`${JSON.stringify(fields, null, 2)}\n`)
  })
}

/** The verifier of a key that is about to be written. */
export function requireVerifier(runtimeKey: RuntimeKey): Uint8Array {
  const verifier = runtimeKey.signPublicKey
  if (verifier === undefined) throw new RuntimeKeyError('RK_FIELD', 'Cannot write runtime key: it has no verifier')
  return verifier
}

/**
 * Decodes one 32-byte key from exactly 64 lower-case hexadecimal digits.
 *
 * @param value - Untrusted; never quoted in a message.
 * @param name - The field, for messages.
 * @throws {@link RuntimeKeyError} `RK_FIELD` when it is not text, `RK_ENCODING`.
 */
export function decodeKeyHex(value: unknown, name: string): Uint8Array {
  if (typeof value !== 'string') throw new RuntimeKeyError('RK_FIELD', `Runtime key: "${name}" is missing or no text`)
  if (value.length !== 2 * KEY_LENGTH || !/^[0-9a-f]+$/.test(value)) {
    throw new RuntimeKeyError('RK_ENCODING', `Runtime key: "${name}" is not 64 lower-case hexadecimal digits`)
  }
  return hexDecode(value)
}

/**
 * Reads a `key_id` written as an integer or as its decimal text (one spelling: no sign, no leading zero).
 *
 * @throws {@link RuntimeKeyError} `RK_FIELD` when it is missing, `RK_KEY_ID`.
 */
export function readKeyId(value: unknown): number {
  if (value === undefined) throw new RuntimeKeyError('RK_FIELD', 'Runtime key: "key_id" is missing')
  const keyId = typeof value === 'string' && /^[1-9][0-9]{0,9}$/.test(value) ? Number(value) : value
  assertKeyId(keyId)
  return keyId
}

function parseObject(bytes: Uint8Array): Readonly<Record<string, unknown>> {
  let value: unknown
  try {
    value = parseStrictJson(bytes, { maxBytes: MAX_RUNTIME_KEY_JSON_BYTES, maxDepth: 4 })
  } catch (error) {
    // The parser's own message may quote the text around the fault, which may be the key: only the code goes on.
    const code = error instanceof Error && 'code' in error ? printable(String(error.code)) : 'unknown'
    throw new RuntimeKeyError('RK_JSON', 'Cannot read runtime key: the file is not strict JSON', {
      details: { reason: code },
    })
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new RuntimeKeyError('RK_FIELD', 'Cannot read runtime key: the file holds no JSON object')
  }
  return value as Readonly<Record<string, unknown>>
}
