import {
  base64Decode,
  ed25519PublicKey,
  equalBytes,
  hexDecode,
  hexEncode,
  requireMembers,
  requireText,
  systemRandom,
  utf8Encode,
  wipe,
} from '@keyturn/primitives'
import type { RandomSource } from '@keyturn/primitives'
import { nodeFileSystem, onDisk, syncFolder, writeAll } from '@keyturn/primitives/node'
import type { FileSystem } from '@keyturn/primitives/node'
import { join } from 'node:path'
import { M2pError } from '../errors.ts'
import { secretBytes } from '../keys.ts'
import { MAX_U32 } from '../limits.ts'
import { checkPublicKey } from '../verifiers.ts'

/** Options of {@link generateKeyFiles}. */
export interface GenerateKeyFilesOptions {
  /** Whether `slots.key` with slot 1 is written too; default `true`. */
  readonly slots?: boolean
  /** Default: the system's. */
  readonly random?: RandomSource
  /** Default: the real disk. */
  readonly fs?: FileSystem
}

/** Where {@link generateKeyFiles} wrote what. */
export interface KeyFilePaths {
  readonly masterKey: string
  readonly signingKey: string
  readonly signingPublicKey: string
  readonly slots: string | undefined
  /** 32 bytes, public. */
  readonly publicKey: Uint8Array
}

const SECRET_MODE = 0o600
const KEY_BYTES = 32
const MAX_FILE_BYTES = 1024 * 1024

/** Writes a key file that is 0600 from its first moment and never replaces another. */
async function writeKeyFile(path: string, text: string, fs: FileSystem): Promise<void> {
  await onDisk('Cannot write key file', path, async () => {
    const handle = await fs.open(path, 'wx', SECRET_MODE)
    const bytes = utf8Encode(text)
    let whole = false
    try {
      await writeAll(handle, bytes)
      await handle.sync()
      whole = true
    } finally {
      wipe(bytes)
      await handle.close()
      if (!whole) await fs.rm(path, { force: true })
    }
  })
}

/**
 * Makes the key files of a publisher: `master.key`, `signing.key`, `signing.pub` and `slots.key`; lower-case hex and
 * LF, mode 0600 from the first open, never overwritten. When one of them is there nothing is written.
 *
 * @throws `PRIM_EXISTS`, `PRIM_FILE`, `PRIM_DISK_FULL` of `PrimitivesError`.
 */
export async function generateKeyFiles(folder: string, options: GenerateKeyFilesOptions = {}): Promise<KeyFilePaths> {
  requireText(folder, 'folder')
  const { slots = true, random = systemRandom, fs = nodeFileSystem } = options
  await onDisk('Cannot create folder', folder, () => fs.mkdir(folder, { recursive: true, mode: 0o700 }))
  const contentKey = random(KEY_BYTES)
  const seed = random(KEY_BYTES)
  const slot = random(KEY_BYTES)
  const publicKey = ed25519PublicKey(seed)
  const contents = new Map([
    ['master.key', `${hexEncode(contentKey)}\n`],
    ['signing.key', `${hexEncode(seed)}\n`],
    ['signing.pub', `${hexEncode(publicKey)}\n`],
    ...(slots ? ([['slots.key', `1 ${hexEncode(slot)}\n`]] as const) : []),
  ])
  wipe(contentKey, seed, slot)
  const written: string[] = []
  try {
    for (const [name, text] of contents) {
      await writeKeyFile(join(folder, name), text, fs)
      written.push(name)
    }
    await onDisk('Cannot write key files in', folder, () => syncFolder(folder, fs))
  } catch (error) {
    for (const name of written) await fs.rm(join(folder, name), { force: true })
    throw error
  }
  return {
    masterKey: join(folder, 'master.key'),
    signingKey: join(folder, 'signing.key'),
    signingPublicKey: join(folder, 'signing.pub'),
    slots: slots ? join(folder, 'slots.key') : undefined,
    publicKey,
  }
}

async function readKeyFile(path: string, fs: FileSystem): Promise<Buffer> {
  requireText(path, 'path')
  const handle = await onDisk('Cannot read key file', path, () => fs.open(path, 'r'))
  try {
    const { size } = await handle.stat()
    if (size > MAX_FILE_BYTES)
      throw new M2pError('M2P_KEY_INVALID', `Key file "${path}" has ${size} bytes, which no kind of key file has`)
    return await onDisk('Cannot read key file', path, () => handle.readFile())
  } finally {
    await handle.close()
  }
}

function decodeText(text: string, path: string): Uint8Array<ArrayBuffer> {
  const trimmed = text.trim()
  try {
    return /^[0-9a-f]+$/i.test(trimmed) && trimmed.length % 64 === 0
      ? hexDecode(trimmed.toLowerCase())
      : base64Decode(trimmed)
  } catch {
    // No cause: the encoding's own error could quote the text, which may be most of a key.
    throw new M2pError('M2P_KEY_INVALID', `Key file "${path}" holds neither raw bytes, hex nor base64 of a key`)
  }
}

/**
 * A key of 32 bytes in hex without a line feed has the length of a raw seed with its public key: its digits show what
 * it is.
 */
function isRaw(content: Buffer, lengths: readonly number[]): boolean {
  return lengths.includes(content.length) && !/^[0-9a-f]{64}$/i.test(content.toString('latin1'))
}

/** Raw, hex or base64; of `lengths` bytes. A fresh array, the caller wipes it. */
async function readKey(path: string, lengths: readonly number[], fs: FileSystem): Promise<Uint8Array<ArrayBuffer>> {
  const content = await readKeyFile(path, fs)
  try {
    const key = isRaw(content, lengths) ? new Uint8Array(content) : decodeText(content.toString('latin1'), path)
    if (!lengths.includes(key.length)) {
      wipe(key)
      throw new M2pError(
        'M2P_KEY_INVALID',
        `Key file "${path}" holds ${key.length} bytes, wanted ${lengths.join(' or ')}`,
      )
    }
    const kept = secretBytes(key.length)
    kept.set(key)
    wipe(key)
    return kept
  } finally {
    wipe(content)
  }
}

/**
 * Reads a content key (`master.key`): 32 bytes, raw, hex or base64.
 *
 * @returns A secret; the caller wipes it.
 * @throws {@link M2pError} `M2P_KEY_INVALID`; `PRIM_FILE` of `PrimitivesError`.
 */
export async function readContentKeyFile(
  path: string,
  fs: FileSystem = nodeFileSystem,
): Promise<Uint8Array<ArrayBuffer>> {
  const key = await readKey(path, [KEY_BYTES], fs)
  if (key.every((byte) => byte === 0)) throw new M2pError('M2P_KEY_INVALID', `Key file "${path}" holds only zeros`)
  return key
}

/**
 * Reads an archive signing key (`signing.key`): a 32-byte seed, or seed and public key, which must belong together.
 *
 * @returns The seed, secret; the caller wipes it.
 * @throws {@link M2pError} `M2P_KEY_INVALID`; `PRIM_FILE` of `PrimitivesError`.
 */
export async function readSigningKeyFile(
  path: string,
  fs: FileSystem = nodeFileSystem,
): Promise<Uint8Array<ArrayBuffer>> {
  const key = await readKey(path, [KEY_BYTES, 2 * KEY_BYTES], fs)
  const seed = secretBytes(KEY_BYTES)
  seed.set(key.subarray(0, KEY_BYTES))
  const publicKey = key.slice(KEY_BYTES)
  wipe(key)
  if (publicKey.length > 0 && !equalBytes(publicKey, ed25519PublicKey(seed))) {
    wipe(seed)
    throw new M2pError(
      'M2P_KEY_INVALID',
      `Key file "${path}" holds a seed and a public key that do not belong together`,
    )
  }
  return seed
}

/**
 * Reads an archive public key (`signing.pub`): 32 bytes, raw, hex or base64; weak keys are refused.
 *
 * @throws {@link M2pError} `M2P_KEY_INVALID`; `PRIM_FILE` of `PrimitivesError`.
 */
export async function readPublicKeyFile(
  path: string,
  fs: FileSystem = nodeFileSystem,
): Promise<Uint8Array<ArrayBuffer>> {
  const key = await readKey(path, [KEY_BYTES], fs)
  checkPublicKey(key)
  return key
}

/**
 * Reads a slots file: a line `number hex` for each slot.
 *
 * @returns Secrets by number; the caller wipes them.
 * @throws {@link M2pError} `M2P_KEY_INVALID`; `PRIM_FILE` of `PrimitivesError`.
 */
export async function readSlotsFile(path: string, fs: FileSystem = nodeFileSystem): Promise<Map<number, Uint8Array>> {
  const content = await readKeyFile(path, fs)
  const slots = new Map<number, Uint8Array>()
  const lines = content.toString('latin1').split(/\r?\n/)
  wipe(content)
  for (const [index, line] of lines.entries()) {
    if (line.trim() === '') continue
    const [, number, hex] = /^([1-9]\d{0,9}) ([0-9a-f]{64})$/.exec(line.trim()) ?? []
    if (number === undefined || hex === undefined || Number(number) > MAX_U32 || slots.has(Number(number))) {
      wipe(...slots.values())
      throw new M2pError(
        'M2P_KEY_INVALID',
        `Line ${index + 1} of slots file "${path}" is not a new number and 64 hex digits`,
      )
    }
    slots.set(Number(number), hexDecode(hex))
  }
  if (slots.size === 0) throw new M2pError('M2P_KEY_INVALID', `Slots file "${path}" holds no slot`)
  return slots
}

/** The text of a slots file. A secret. */
export function writeSlots(slots: ReadonlyMap<number, Uint8Array>): string {
  requireMembers(slots, 'slots', ['get', 'size'])
  return [...slots]
    .sort(([left], [right]) => left - right)
    .map(([number, secret]) => `${number} ${hexEncode(secret)}\n`)
    .join('')
}
