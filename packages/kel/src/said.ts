import { blake3, utf8Encode } from '@keyturn/primitives'
import { blake3Chunk, MAX_CHUNK_BYTES } from './blake3-chunk.ts'
import { isValueOf } from './cesr/base64url.ts'
import { encodeMatter } from './cesr/matter.ts'
import { digestText } from './digest.ts'
import { refusal } from './rule.ts'
import { formatVersion } from './version-string.ts'

/** Replaces a SAID while the bytes that hold it are hashed. */
export const SAID_PLACEHOLDER = '#'.repeat(44)

const scratch = new Uint8Array(MAX_CHUNK_BYTES)

const HASH_SIGN = 0x23
const SAID_LENGTH = 44
// {"v":"KERI10JSON0000fd_","t":"icp","d":"  and after the SAID  ","i":"
const SAID_OFFSET = 40
const PREFIX_OFFSET = SAID_OFFSET + SAID_LENGTH + 7

/**
 * Checks that an event hashes to the identifier it carries. The placeholder goes into the exact received bytes: nothing
 * is printed again.
 *
 * @param body - Compact bytes in field order, so the SAID is at a fixed offset.
 * @param said - The value of `d`.
 * @param prefix - The value of `i` for an inception; a self-addressing prefix must equal the SAID.
 * @throws {@link KelError} `KEL_SAID`.
 */
export function checkSaid(body: Uint8Array, said: string, prefix: string | undefined): void {
  // A copy: slice() of a Buffer would share its memory. Short events are copied into the same scratch bytes each time.
  const bytes = body.length <= MAX_CHUNK_BYTES ? scratch : new Uint8Array(body.length)
  bytes.set(body)
  bytes.fill(HASH_SIGN, SAID_OFFSET, SAID_OFFSET + SAID_LENGTH)
  const selfAddressing = prefix?.startsWith('E') === true
  if (selfAddressing) {
    if (prefix !== said) throw refusal('KEL_SAID', 'Inception has a self-addressing prefix that is not its SAID')
    bytes.fill(HASH_SIGN, PREFIX_OFFSET, PREFIX_OFFSET + SAID_LENGTH)
  }
  const digest = bytes === scratch ? blake3Chunk(scratch, body.length) : blake3(bytes)
  if (!isValueOf(said, 1, digest, 1))
    throw refusal('KEL_SAID', `Event carries SAID ${said} but hashes to ${encodeMatter('E', digest)}`)
}

/** An event made and hashed. */
export interface SaidifiedEvent {
  readonly said: string
  readonly body: Uint8Array
}

/**
 * Serialises a new event: fields in the order given, compact, version string and SAID filled in.
 *
 * @param fields - In event order, with {@link SAID_PLACEHOLDER} in `d` (and in `i` for a self-addressing prefix).
 */
export function saidify(fields: Record<string, unknown>): SaidifiedEvent {
  const draft = JSON.stringify({ ...fields, v: formatVersion(0) })
  const sized = draft.replace(formatVersion(0), formatVersion(utf8Encode(draft).length))
  const said = digestText(utf8Encode(sized))
  const placeholder = new RegExp(SAID_PLACEHOLDER, 'g')
  let replaced = 0
  const limit = fields['i'] === SAID_PLACEHOLDER ? 2 : 1
  // Only d and i come before any content, so a seal that spells the placeholder stays as it is.
  const text = sized.replace(placeholder, (found) => (replaced++ < limit ? said : found))
  return { said, body: utf8Encode(text) }
}
