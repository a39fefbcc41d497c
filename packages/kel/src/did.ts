import { isStrongEd25519PublicKey } from '@keyturn/primitives'
import { KelError } from './errors.ts'
import { quoted, refusal } from './rule.ts'

const base58 = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz'
// Multicodec ed25519-pub, as an unsigned varint.
const ed25519Codec = [0xed, 0x01] as const
const PREFIX = 'did:key:z'

function encodeBase58(bytes: Uint8Array): string {
  let value = 0n
  for (const byte of bytes) value = value * 256n + BigInt(byte)
  let text = ''
  for (; value > 0n; value /= 58n) text = (base58[Number(value % 58n)] as string) + text
  const zeros = bytes.findIndex((byte) => byte !== 0)
  return '1'.repeat(zeros < 0 ? bytes.length : zeros) + text
}

function decodeBase58(text: string): Uint8Array | undefined {
  let value = 0n
  for (const character of text) {
    const digit = base58.indexOf(character)
    if (digit < 0) return undefined
    value = value * 58n + BigInt(digit)
  }
  const bytes: number[] = []
  for (; value > 0n; value /= 256n) bytes.unshift(Number(value % 256n))
  return new Uint8Array(bytes)
}

/** The DID of an identity with a log: `did:keri:<prefix>`. */
export function didKeri(prefix: string): string {
  return `did:keri:${prefix}`
}

/** The DID of a bare Ed25519 key: `did:key:z6Mk…`. */
export function didKey(publicKey: Uint8Array): string {
  if (!isStrongEd25519PublicKey(publicKey)) throw refusal('KEL_KEY', 'Public key is of low order or not canonical')
  return PREFIX + encodeBase58(new Uint8Array([...ed25519Codec, ...publicKey]))
}

/**
 * The Ed25519 key of a `did:key`.
 *
 * @throws {@link KelError} `KEL_PIN` for anything else, `KEL_KEY` for a key of low order.
 */
export function parseDidKey(did: string): Uint8Array {
  const bytes = did.startsWith(PREFIX) && did.length <= 80 ? decodeBase58(did.slice(PREFIX.length)) : undefined
  if (bytes?.length !== 34 || bytes[0] !== ed25519Codec[0] || bytes[1] !== ed25519Codec[1] || didText(bytes) !== did) {
    throw new KelError('KEL_PIN', `${quoted(did)} is not the did:key of an Ed25519 key`)
  }
  const publicKey = bytes.subarray(2)
  if (!isStrongEd25519PublicKey(publicKey)) throw refusal('KEL_KEY', 'Public key is of low order or not canonical')
  return publicKey
}

function didText(bytes: Uint8Array): string {
  return PREFIX + encodeBase58(bytes)
}
