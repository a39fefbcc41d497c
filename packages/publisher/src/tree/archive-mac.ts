import { createCipheriv, randomBytes, timingSafeEqual } from 'node:crypto'
import { open } from 'node:fs/promises'
import { hexDecode, hexEncode, hkdfSha256, utf8Encode, wipe } from '@keyturn/primitives'

const LABEL = utf8Encode('keyturn archive mac v1')
const KEY_BYTES = 32
const SALT_BYTES = 16
const NONCE = new Uint8Array(12)
const READ_BYTES = 1024 * 1024

/** What an archive must have been, to have the same bytes now. */
export interface ArchiveMac {
  /** 16 bytes, hex; new for each archive. */
  readonly salt: string
  /** 16 bytes, hex. */
  readonly tag: string
}

/**
 * Computes the MAC of an archive that was just made.
 *
 * @param key - 32 bytes, secret.
 * @param path - The archive.
 * @param signal - Stops between two pieces.
 */
export async function macOf(key: Uint8Array, path: string, signal: AbortSignal): Promise<ArchiveMac> {
  const salt = randomBytes(SALT_BYTES)
  return { salt: hexEncode(salt), tag: hexEncode(await tagOf(key, salt, path, signal)) }
}

/** Whether a file has the bytes that a MAC was computed of. */
export async function hasMac(
  key: Uint8Array,
  { salt, tag }: ArchiveMac,
  path: string,
  signal: AbortSignal,
): Promise<boolean> {
  return timingSafeEqual(await tagOf(key, hexDecode(salt), path, signal), hexDecode(tag))
}

/**
 * AES-256-GMAC: an order of magnitude faster than SHA-256, and only this home can compute it. Two messages under one
 * key and nonce would give the key away, so each archive has a key of its own; its nonce can be a constant.
 */
async function tagOf(key: Uint8Array, salt: Uint8Array, path: string, signal: AbortSignal): Promise<Uint8Array> {
  const own = hkdfSha256(key, salt, LABEL, KEY_BYTES)
  const mac = createCipheriv('aes-256-gcm', own, NONCE)
  wipe(own)
  const handle = await open(path, 'r')
  try {
    let [piece, other] = [new Uint8Array(READ_BYTES), new Uint8Array(READ_BYTES)]
    let { bytesRead } = await handle.read(piece, 0, READ_BYTES, 0)
    for (let position = bytesRead; bytesRead > 0; position += bytesRead) {
      signal.throwIfAborted()
      // The next piece is read while this one is computed.
      const next = handle.read(other, 0, READ_BYTES, position)
      mac.setAAD(piece.subarray(0, bytesRead))
      bytesRead = (await next).bytesRead
      ;[piece, other] = [other, piece]
    }
  } finally {
    await handle.close()
  }
  mac.final()
  return mac.getAuthTag()
}
