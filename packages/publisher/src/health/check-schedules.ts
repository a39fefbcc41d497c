import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { keyCommitment } from '@keyturn/m2pack-format'
import { verifyManifestSignatures } from '@keyturn/manifest'
import type { ManifestFile } from '@keyturn/manifest'
import { hexEncode, printable } from '@keyturn/primitives'
import { isMissing } from '@keyturn/primitives/node'
import { keyAlias } from '../home.ts'
import type { SealedKey } from '../home.ts'
import type { HomeSession } from '../home-session.ts'
import { openSealedArchive } from '../tree/archives.ts'
import { readPublishedHead, readWaitingHead } from '../records/heads.ts'
import { sealedKeyOf } from '../records/sealed.ts'
import { readReleases, rolesInForce } from '../records/store.ts'
import type { StoredRelease } from '../records/store.ts'
import type { RestFinding } from './check-rest.ts'

/** How far the files of a scheduled release are looked at. */
interface ScheduleCheck {
  /** Read every byte. */
  readonly deep: boolean
  readonly signal: AbortSignal
}

/**
 * Releases that are scheduled: their key and slot are in the keystore, the release is there and signed, a head pins it,
 * and its sealed files open with the key. Whatever is lost here shows at the hour, when it is too late.
 */
export async function checkSchedules(home: HomeSession, options: ScheduleCheck): Promise<RestFinding[]> {
  const findings: RestFinding[] = []
  for (const sealed of home.description.sealedKeys ?? []) {
    if (sealed.at === undefined) continue
    options.signal.throwIfAborted()
    const { channel, version, at } = sealed
    const name = `release ${printable(version)} on ${channel}, which opens at ${at}`
    const problems = await problemsOf(home, sealed, options)
    findings.push(
      ...problems.map(({ message, fix }) => ({ level: 'error', message: `${name}: ${message}`, fix }) as const),
    )
    if (problems.length === 0)
      findings.push({ level: 'ok', message: `${name}: its key is here, and its sealed files open with it`, fix: '' })
  }
  return findings
}

interface Problem {
  readonly message: string
  readonly fix: string
}

async function problemsOf(home: HomeSession, sealed: SealedKey, options: ScheduleCheck): Promise<Problem[]> {
  const { channel, version } = sealed
  const cancel = `keyturn release schedule ${printable(version)} --cancel --channel ${channel}`
  const key = await problemOfKey(home, sealed)
  if (key !== undefined) return [{ message: key, fix: 'keyturn restore FILE, or else ' + cancel }]
  const release = (await readReleases(home.paths, channel)).find(({ manifest }) => manifest.version === version)
  if (release === undefined) return [{ message: 'the release is not in this home', fix: cancel }]
  if (sealedKeyOf(home.description, release.manifest)?.keyId !== sealed.keyId)
    return [{ message: 'its manifest does not name the sealed key', fix: cancel }]
  const problems: Problem[] = []
  const files = await findDamagedFile(home, release, sealed, options)
  if (files !== undefined) problems.push({ message: files, fix: cancel })
  const heads = [await readPublishedHead(home.paths, channel), await readWaitingHead(home.paths, channel)]
  const pinned = heads.filter((head) => head !== undefined).map(({ head }) => head.preload)
  if (!pinned.some((pin) => pin?.version === version))
    problems.push({
      message: 'no head of this home names it',
      fix: `keyturn release schedule ${printable(version)} --at ${sealed.at ?? ''} --channel ${channel}`,
    })
  else if (!pinned.some((pin) => pin?.sha256 === release.sha256))
    problems.push({ message: 'its manifest is not the one that the head names', fix: cancel })
  else if (!(await isSigned(home, release)))
    problems.push({
      message: 'its signatures are lost or damaged',
      fix: `keyturn release sign ${printable(version)} --channel ${channel}`,
    })
  return problems
}

async function problemOfKey(home: HomeSession, { keyId, slot, commitment }: SealedKey): Promise<string | undefined> {
  const keys = await home.keys()
  const alias = keyAlias.content(keyId)
  if (!keys.has(alias) || !keys.has(keyAlias.slot(slot))) return `its key ${keyId} is not in the keystore`
  const found = await keys.lend(alias, (key) => hexEncode(keyCommitment({ keyId, key })))
  return found === commitment ? undefined : `its key ${keyId} has another commitment`
}

async function isSigned({ paths, description }: HomeSession, release: StoredRelease): Promise<boolean> {
  const { document } = await rolesInForce(paths, description.identity.prefix)
  if (release.signatures === undefined) return false
  try {
    const { revokedKeys } = document
    verifyManifestSignatures(release.bytes, release.signatures, { ...document.roles.release, revokedKeys })
    return true
  } catch {
    return false
  }
}

async function findDamagedFile(
  home: HomeSession,
  { manifest, tree }: StoredRelease,
  sealed: SealedKey,
  { deep, signal }: ScheduleCheck,
): Promise<string | undefined> {
  for (const file of manifest.files) {
    signal.throwIfAborted()
    const path = join(tree, file.path)
    if (!(await isWhole(path, file, deep))) return `"${path}" is missing or damaged`
    if (file.keyId === undefined) continue
    const { close } = await openSealedArchive(home, path, sealed)
    await close()
  }
  return undefined
}

/** Whether a file of a tree is the one of its manifest; without `deep` its size is. */
export async function isWhole(
  path: string,
  { size, sha256 }: Pick<ManifestFile, 'size' | 'sha256'>,
  deep: boolean,
): Promise<boolean> {
  try {
    const found = await stat(path)
    if (!found.isFile() || found.size !== size) return false
    if (!deep) return true
    const hash = createHash('sha256')
    for await (const piece of createReadStream(path) as AsyncIterable<Uint8Array>) hash.update(piece)
    return hash.digest('hex') === sha256
  } catch (error) {
    if (isMissing(error)) return false
    throw error
  }
}
