import { join, resolve, sep } from 'node:path'
import { isRecord, parseStrictJson, utf8Encode } from '@keyturn/primitives'
import { pathExists, writeFileAtomic } from '@keyturn/primitives/node'
import { PublisherError } from './errors.ts'
import { readIfThere } from './records/store.ts'

// Vaults may be anywhere. Those that were made or opened with a home are written down in it, so that a change of the
// passphrase reaches all of them, or names those that it did not reach.

const FILE = 'vaults.json'
const MAX_BYTES = 256 * 1024
/** Most vaults that are remembered; the ones opened longest ago go first. */
const MAX_VAULTS = 256

interface KnownVaults {
  readonly format: 'keyturn-vaults'
  readonly version: 1
  /** Absolute paths of key files, the latest first. */
  readonly key_files: readonly string[]
}

function isKnownVaults(value: unknown): value is KnownVaults {
  if (!isRecord(value)) return false
  const { format, version, key_files: files } = value
  return (
    format === 'keyturn-vaults' &&
    version === 1 &&
    Array.isArray(files) &&
    files.every((file) => typeof file === 'string' && file === resolve(file))
  )
}

/**
 * The key files of vaults outside a home that were made or opened with it.
 *
 * @param folder - Of the home.
 * @throws {@link PublisherError} `CLI_HOME_FORMAT`.
 */
export async function knownVaults(folder: string): Promise<readonly string[]> {
  const bytes = await readIfThere(join(folder, FILE))
  if (bytes === undefined) return []
  const value = parseStrictJson(bytes, { maxBytes: MAX_BYTES })
  if (!isKnownVaults(value))
    throw new PublisherError('CLI_HOME_FORMAT', `"${join(folder, FILE)}" is not a list of vaults of version 1`)
  return value.key_files
}

/**
 * Writes down that a vault was made or opened with a home; one inside the home is found without.
 *
 * @param folder - Of the home; nothing is written where there is none.
 * @param keyFile - Absolute path of the key file.
 */
export async function rememberVault(folder: string, keyFile: string): Promise<void> {
  if (keyFile.startsWith(resolve(folder) + sep) || !(await pathExists(folder))) return
  const known = await knownVaults(folder)
  if (known.includes(keyFile)) return
  const list: KnownVaults = {
    format: 'keyturn-vaults',
    version: 1,
    key_files: [keyFile, ...known].slice(0, MAX_VAULTS),
  }
  await writeFileAtomic(join(folder, FILE), utf8Encode(`${JSON.stringify(list, null, 2)}\n`), { mode: 0o600 })
}
