import {
  PrimitivesError,
  base64Decode,
  base64Encode,
  canonicalJson,
  equalBytes,
  parseStrictJson,
  systemRandom,
  utf8Encode,
  wipe,
} from '@keyturn/primitives'
import type { RandomSource } from '@keyturn/primitives'
import { nodeFileSystem, isMissing, systemErrorCode, writeFileAtomic } from '@keyturn/primitives/node'
import type { FileSystem } from '@keyturn/primitives/node'
import { VaultError } from '../errors.ts'
import { KEY_BYTES } from '../limits.ts'
import type { MasterKeyProvider, WrapContext } from '../master-key-provider.ts'
import { kekProvider } from '../kek-provider.ts'
import {
  deriveKek,
  findKek,
  newPassphraseKdf,
  parsePassphraseKdf,
  passphraseCheck,
  writePassphraseKdf,
} from '../passphrase.ts'
import { passphraseBytes } from '../passphrase-forms.ts'
import type { PassphraseKdf } from '../passphrase.ts'
import { unwrapMaster, wrapMaster } from '../wrap.ts'

/** Options of {@link createKeyFile} and {@link openKeyFile}. */
export interface KeyFileOptions {
  /** log₂ of scrypt's N for what is written; default 17. Lower it in tests only. */
  scryptLogN?: number | undefined
  random?: RandomSource | undefined
  fs?: FileSystem | undefined
}

/** A provider with a key-encryption key to wipe. */
export interface KeyFileProvider extends MasterKeyProvider {
  /** Wipes the key; the provider is of no use afterwards. */
  dispose(): void
}

const FORMAT = 'keyturn-keyfile-1'
const maxKeyFileBytes = 64 * 1024
const groupAndOthers = 0o077

/** The key of the file is wrapped as a master of no vault is: the context is fixed. */
const context: WrapContext = { vaultId: FORMAT, keyVersion: 0, purpose: 'master' }

/**
 * Makes a key file: a random key-encryption key under a passphrase (scrypt), mode 0600. The passphrase can be changed
 * without touching any keyring ({@link changeKeyFilePassphrase}).
 *
 * @throws VaultError `VK_STORE_IO`; PrimitivesError `PRIM_EXISTS`.
 */
export async function createKeyFile(
  path: string,
  passphrase: string | Uint8Array,
  options: KeyFileOptions = {},
): Promise<KeyFileProvider> {
  const { random = systemRandom, fs = nodeFileSystem } = options
  const kek = random(KEY_BYTES)
  const bytes = seal(kek, passphrase, newPassphraseKdf(random, options.scryptLogN), random)
  await writeFileAtomic(path, bytes, { mode: 0o600, overwrite: false, fs })
  return provider(kek, random)
}

/**
 * Opens a key file.
 *
 * @throws VaultError `VK_PASSPHRASE`, `VK_NOT_FOUND`, `VK_STORE_DAMAGED`, `VK_STORE_IO`.
 */
export async function openKeyFile(
  path: string,
  passphrase: string | Uint8Array,
  options: KeyFileOptions = {},
): Promise<KeyFileProvider> {
  const { random = systemRandom, fs = nodeFileSystem } = options
  return provider(unseal(await read(path, fs), passphrase), random)
}

/** Puts a key file under another passphrase. @throws VaultError as {@link openKeyFile}. */
export async function changeKeyFilePassphrase(
  path: string,
  from: string | Uint8Array,
  to: string | Uint8Array,
  options: KeyFileOptions = {},
): Promise<void> {
  const { random = systemRandom, fs = nodeFileSystem } = options
  const kek = unseal(await read(path, fs), from)
  try {
    await writeFileAtomic(path, seal(kek, to, newPassphraseKdf(random, options.scryptLogN), random), {
      mode: 0o600,
      fs,
    })
  } finally {
    wipe(kek)
  }
}

/**
 * Makes another key file for what one opens, under a passphrase of its own: a spare that shares open, say. It stays
 * good when masters rotate and when the passphrase of the first one changes.
 *
 * @param passphrase - Of `path`.
 * @param target - The new file, which must not exist unless `overwrite` is given, and its passphrase.
 * @throws VaultError as {@link openKeyFile}; PrimitivesError `PRIM_EXISTS`.
 */
export async function copyKeyFile(
  path: string,
  passphrase: string | Uint8Array,
  target: { readonly path: string; readonly passphrase: string | Uint8Array; readonly overwrite?: boolean },
  options: KeyFileOptions = {},
): Promise<void> {
  const { random = systemRandom, fs = nodeFileSystem } = options
  const kek = unseal(await read(path, fs), passphrase)
  try {
    const bytes = seal(kek, target.passphrase, newPassphraseKdf(random, options.scryptLogN), random)
    await writeFileAtomic(target.path, bytes, { mode: 0o600, overwrite: target.overwrite ?? false, fs })
  } finally {
    wipe(kek)
  }
}

function provider(kek: Uint8Array, random: RandomSource): KeyFileProvider {
  return { ...kekProvider('file', kek, random), dispose: () => wipe(kek) }
}

function seal(kek: Uint8Array, passphrase: string | Uint8Array, kdf: PassphraseKdf, random: RandomSource): Uint8Array {
  const form = passphraseBytes(passphrase)
  const key = deriveKek(form, kdf)
  try {
    return utf8Encode(
      `${canonicalJson({
        format: FORMAT,
        kdf: writePassphraseKdf(kdf),
        check: base64Encode(passphraseCheck(key)),
        wrapped: base64Encode(wrapMaster(key, kek, context, random)),
      })}\n`,
    )
  } finally {
    wipe(form, key)
  }
}

function unseal(bytes: Uint8Array, passphrase: string | Uint8Array): Uint8Array {
  try {
    const json = parseStrictJson(bytes)
    if (typeof json !== 'object' || json === null || Array.isArray(json) || json['format'] !== FORMAT) throw damaged()
    const { check, wrapped } = json
    if (typeof check !== 'string' || typeof wrapped !== 'string') throw damaged()
    const expected = base64Decode(check)
    const key = findKek(passphrase, parsePassphraseKdf(json['kdf']), (kek) =>
      equalBytes(expected, passphraseCheck(kek)),
    )
    if (key === undefined) throw new VaultError('VK_PASSPHRASE', 'The passphrase does not open the key file')
    try {
      return unwrapMaster(key, base64Decode(wrapped), context)
    } finally {
      wipe(key)
    }
  } catch (cause) {
    if (cause instanceof PrimitivesError) throw damaged(cause)
    throw cause
  }
}

function damaged(cause?: unknown): VaultError {
  return new VaultError('VK_STORE_DAMAGED', 'The key file cannot be read', cause === undefined ? {} : { cause })
}

async function read(path: string, fs: FileSystem): Promise<Uint8Array> {
  try {
    const { mode, size } = await fs.stat(path)
    if (process.platform !== 'win32' && (mode & groupAndOthers) !== 0) {
      throw new VaultError('VK_STORE_IO', `Key file "${path}" has mode ${(mode & 0o777).toString(8)}, 600 is wanted`, {
        hint: `chmod 600 '${path}'`,
      })
    }
    if (size > maxKeyFileBytes) throw damaged()
    return await fs.readFile(path)
  } catch (cause) {
    if (isMissing(cause)) throw new VaultError('VK_NOT_FOUND', `Key file "${path}" does not exist`, { cause })
    if (cause instanceof VaultError || systemErrorCode(cause) === undefined) throw cause
    throw new VaultError('VK_STORE_IO', `Key file "${path}" cannot be read`, { cause })
  }
}
