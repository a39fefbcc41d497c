import { randomBytes } from 'node:crypto'
import { dirname } from 'node:path'
import {
  concatBytes,
  hexDecode,
  KeyturnError,
  openXChaCha20Poly1305,
  sealXChaCha20Poly1305,
  utf8Encode,
  wipe,
} from '@keyturn/primitives'
import type { FileSystem } from '@keyturn/primitives/node'
import { parseRuntimeKeyBlob, writeRuntimeKeyBlob } from '@keyturn/runtime-key'
import type { RuntimeKey } from '@keyturn/runtime-key'
import { userFile } from './device-key.ts'
import { readSmallFile, removeFile, writeSmallFile } from '../disk/disk.ts'

// offset size field                                docs/spec/launcher.md §8
//  0     8    "KTRKC1" 00 00
//  8     24   nonce
// 32     100  XChaCha20-Poly1305 of the 84-byte blob; aad = label, SHA-256 of the manifest
const magic = concatBytes(utf8Encode('KTRKC1'), new Uint8Array(2))
const label = utf8Encode('keyturn launcher runtime key cache v1\0')
const FILE_LENGTH = 132

/** Keeps the runtime key of the installed release for offline starts: sealed, the sealing key outside the install. */
export class SealedKeyCache {
  readonly #fs: FileSystem
  readonly #file: string
  readonly #keyFile: string

  /**
   * @param file - Sealed file below the install.
   * @param keyFile - The sealing key; a copy of the install alone does not open the cache.
   */
  constructor(fs: FileSystem, file: string, keyFile: string) {
    this.#fs = fs
    this.#file = file
    this.#keyFile = keyFile
  }

  /** Where the sealing key is for this user. */
  static keyFile(env: Readonly<Record<string, string | undefined>>): string {
    return userFile(env, 'seal.key')
  }

  async #sealingKey(create: boolean): Promise<Uint8Array | undefined> {
    const known = await readSmallFile(this.#fs, this.#keyFile, 32)
    if (known?.length === 32) return known
    if (!create) return undefined
    const made = new Uint8Array(randomBytes(32))
    await this.#fs.mkdir(dirname(this.#keyFile), { recursive: true, mode: 0o700 })
    await writeSmallFile(this.#fs, this.#keyFile, made)
    return made
  }

  /** Seals a key for one manifest. */
  async put(manifestSha256: string, runtimeKey: RuntimeKey): Promise<void> {
    const key = (await this.#sealingKey(true)) as Uint8Array
    const blob = writeRuntimeKeyBlob(runtimeKey)
    try {
      const nonce = new Uint8Array(randomBytes(24))
      const sealed = sealXChaCha20Poly1305(key, nonce, blob, { aad: concatBytes(label, hexDecode(manifestSha256)) })
      await writeSmallFile(this.#fs, this.#file, concatBytes(magic, nonce, sealed))
    } finally {
      wipe(blob, key)
    }
  }

  /** The key sealed for this very manifest, if there is one that opens. */
  async get(manifestSha256: string): Promise<RuntimeKey | undefined> {
    const bytes = await readSmallFile(this.#fs, this.#file, FILE_LENGTH).catch(() => undefined)
    const key = await this.#sealingKey(false).catch(() => undefined)
    if (bytes?.length !== FILE_LENGTH || key === undefined || magic.some((byte, index) => bytes[index] !== byte))
      return undefined
    let blob: Uint8Array | undefined
    try {
      blob = openXChaCha20Poly1305(key, bytes.subarray(8, 32), bytes.subarray(32), {
        aad: concatBytes(label, hexDecode(manifestSha256)),
      })
      return parseRuntimeKeyBlob(blob)
    } catch (error) {
      if (error instanceof KeyturnError) return undefined // for another release, or damaged
      throw error
    } finally {
      wipe(blob, key)
    }
  }

  /** Forgets the key. */
  async drop(): Promise<void> {
    await removeFile(this.#fs, this.#file)
  }
}
