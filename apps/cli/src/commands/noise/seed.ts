import { open } from 'node:fs/promises'
import { base64Decode, hexDecode, utf8Decode, wipe } from '@keyturn/primitives'
import { CliError } from '../../errors.ts'

const SEED_BYTES = 32
/** Hexadecimal digits, a line end and some room: a longer file is not a seed. */
const MAX_FILE_BYTES = 256

/**
 * Reads a seed from a file, 32 raw bytes, 64 hexadecimal digits or base64, and lends it for the length of one call.
 *
 * @throws {@link CliError} `CLI_USAGE` when the file does not hold a seed.
 */
export async function withSeedFile<T>(path: string, use: (seed: Uint8Array) => T | Promise<T>): Promise<T> {
  const room = new Uint8Array(MAX_FILE_BYTES)
  let seed: Uint8Array | undefined
  try {
    const file = await open(path, 'r')
    try {
      const { bytesRead } = await file.read(room, 0, MAX_FILE_BYTES, 0)
      seed = decodeSeed(room.subarray(0, bytesRead))
    } finally {
      await file.close()
    }
    if (seed?.length !== SEED_BYTES)
      throw new CliError('CLI_USAGE', `"${path}" is not a seed: expected 32 bytes, raw, in hexadecimal or in base64`)
    return await use(seed)
  } finally {
    wipe(room, seed)
  }
}

function decodeSeed(bytes: Uint8Array): Uint8Array | undefined {
  if (bytes.length === SEED_BYTES) return bytes.slice()
  try {
    const text = utf8Decode(bytes).trim()
    return text.length === 2 * SEED_BYTES ? hexDecode(text) : base64Decode(text)
  } catch {
    return undefined
  }
}
