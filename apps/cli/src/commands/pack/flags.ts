import { holdsManifestOnly, M2pError, readArchiveHeader } from '@keyturn/m2pack-format'
import type { FormatVersion, Verifiers } from '@keyturn/m2pack-format'
import {
  openFileSource,
  readContentKeyFile,
  readPublicKeyFile,
  readSigningKeyFile,
  readSlotsFile,
} from '@keyturn/m2pack-format/node'
import { existsSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { dirname, join } from 'node:path'
import { ed25519PublicKey, wipe } from '@keyturn/primitives'
import type { Context } from '../../command.ts'
import { CliError } from '../../errors.ts'
import { wholeNumber } from '../../flags/values.ts'

const MAX_KEY_ID = 0xffff_ffff

/** A key_id given to a flag. */
export function keyIdFlag(text: string, flag = '--key-id'): number {
  return wholeNumber(text, flag, 1, MAX_KEY_ID)
}

/** Threads: `--jobs`, else as many as there are cores. */
export function jobsFlag(text: string | undefined): number {
  return text === undefined ? availableParallelism() : wholeNumber(text, '--jobs', 1, 64)
}

/** Reads a content key file; wiped when the command is over. */
export async function contentKey(
  context: Context,
  file: string,
  keyId: number,
): Promise<{ keyId: number; key: Uint8Array }> {
  const key = await readContentKeyFile(file)
  context.defer(() => wipe(key))
  return { keyId, key }
}

/** Reads the archive signing key; wiped when the command is over. */
export async function signingSeed(context: Context, file: string): Promise<Uint8Array> {
  const seed = await readSigningKeyFile(file)
  context.defer(() => wipe(seed))
  return seed
}

/** Reads `--slots`, else `slots.key` beside the content key, else nothing. Wiped when the command is over. */
export async function slots(
  context: Context,
  file: string | undefined,
  keyFile: string,
): Promise<Map<number, Uint8Array> | undefined> {
  const beside = join(dirname(keyFile), 'slots.key')
  const path = file ?? (existsSync(beside) ? beside : undefined)
  if (path === undefined) return undefined
  const secrets = await readSlotsFile(path)
  context.defer(() => wipe(...secrets.values()))
  return secrets
}

/** Whether a file is header and manifest of an archive without its payloads. */
export async function isManifestOnly(path: string): Promise<boolean> {
  const source = await openFileSource(path)
  try {
    return await holdsManifestOnly(source)
  } finally {
    await source.close()
  }
}

/** The key_id in the header of an archive; trusted only once the archive is open. */
export async function archiveKeyId(path: string): Promise<number> {
  const source = await openFileSource(path)
  try {
    if (await holdsManifestOnly(source))
      return (await readArchiveHeader({ ...source, size: Number.MAX_SAFE_INTEGER })).keyId
    return (await readArchiveHeader(source)).keyId
  } finally {
    await source.close()
  }
}

/**
 * The verifier of an archive: the public key given stands for `--key-id`, or without it for the archive's own key_id.
 */
export async function verifiersFor(
  archive: string,
  publicKeyFile: string,
  keyId: string | undefined,
): Promise<Verifiers> {
  return new Map([
    [keyId === undefined ? await archiveKeyId(archive) : keyIdFlag(keyId), await readPublicKeyFile(publicKeyFile)],
  ])
}

/** The verifier of an archive of one's own: the public key given, else that of the signing key. */
export async function ownVerifiers(
  archive: string,
  publicKeyFile: string | undefined,
  seed: Uint8Array,
): Promise<Verifiers> {
  const publicKey = publicKeyFile === undefined ? ed25519PublicKey(seed) : await readPublicKeyFile(publicKeyFile)
  return new Map([[await archiveKeyId(archive), publicKey]])
}

/** Errors of the package that have a name of their own on the command line. */
export async function buildErrors<Result>(build: () => Promise<Result>): Promise<Result> {
  try {
    return await build()
  } catch (error) {
    if (!(error instanceof M2pError)) throw error
    const context = { details: error.details, hint: error.hint, cause: error }
    if (error.code === 'M2P_SPECIAL_FILE') throw new CliError('BUILD_SPECIAL_FILE', error.message, context)
    if (error.code === 'M2P_INPUT_CHANGED') throw new CliError('BUILD_INPUT_CHANGED', error.message, context)
    throw error
  }
}

/** Reads a format version. @throws {@link CliError} `CLI_USAGE`. */
export function formatVersion(text: string): FormatVersion {
  return wholeNumber(text, '--format-version', 1, 2) as FormatVersion
}
