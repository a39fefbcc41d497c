import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { findModeProblems, pathExists } from '@keyturn/primitives/node'
import { isStoredToken } from './access/tokens.ts'
import { findDamagedStates } from './head-signer/state.ts'
import { findStoreDamage } from './releases/check-records.ts'
import { openFolderBlobStore } from './storage/folder-blob-store.ts'
import type { MetadataStore } from './storage/metadata-store.ts'
import { findSqliteDamage, openSqliteMetadataStore } from './storage/sqlite-metadata-store.ts'
import { findLogDamage } from './tlog/check-log.ts'

/** One thing that is wrong with the folder of a server. */
export interface FolderProblem {
  /**
   * `modes`: permissions or the owner. `records`: the database; only a backup has it. `blobs`: files of releases; the
   * publisher has them. `token`: the file with the publisher's token. `head-signer`: what it remembers.
   */
  readonly part: 'modes' | 'records' | 'blobs' | 'token' | 'head-signer'
  readonly message: string
  /** The file, where it is one. */
  readonly path?: string | undefined
  /** The command that fixes it, where one of the system does. */
  readonly fix?: string | undefined
}

/** How a folder is looked at. */
export interface CheckFolderOptions {
  /** Read and hash every file of every release. */
  readonly deep: boolean
  readonly signal?: AbortSignal | undefined
}

const DATABASE = 'metadata.sqlite'
const SECRET = /^(?:metadata\.sqlite(?:-wal|-shm)?|publisher\.token|head-signer\/.*)$/

/**
 * Looks for damage in the folder of an embedded server, which may be running, and changes nothing in it.
 *
 * @param dataDir - The folder of `keyturn serve` or `keyturn-server --data`.
 * @param options - How far it goes.
 * @returns What is wrong; empty for a sound folder, and for one that no server has used.
 */
export async function checkServerFolder(dataDir: string, options: CheckFolderOptions): Promise<FolderProblem[]> {
  const database = join(dataDir, DATABASE)
  if (!(await pathExists(database))) {
    const isUsed = (await pathExists(join(dataDir, 'blobs'))) || (await pathExists(join(dataDir, 'publisher.token')))
    return isUsed ? [{ part: 'records', path: database, message: `"${database}" is missing` }] : []
  }
  const found = await checkModes(dataDir)
  const states = await findDamagedStates(join(dataDir, 'head-signer'))
  found.push(
    ...states.map(
      (path) =>
        ({ part: 'head-signer', path, message: `What the head signer remembers is damaged: "${path}"` }) as const,
    ),
  )
  const pages = findSqliteDamage(database)
  if (pages.length > 0)
    return [...found, { part: 'records', path: database, message: `"${database}" is damaged: ${pages[0] ?? ''}` }]
  return [...found, ...(await checkStoresOf(dataDir, options))]
}

async function checkModes(dataDir: string): Promise<FolderProblem[]> {
  const problems = await findModeProblems(dataDir, { isSecret: (path) => SECRET.test(path) })
  const words = {
    owner: 'belongs to another user',
    unreadable: 'cannot be used by its owner',
    open: 'is open to others',
  }
  return problems.map(({ path, problem, mode, fix }) => ({
    part: 'modes',
    path,
    message: `"${path}" ${words[problem]} (mode ${mode.toString(8)})`,
    fix,
  }))
}

async function checkStoresOf(dataDir: string, options: CheckFolderOptions): Promise<FolderProblem[]> {
  const metadata = openSqliteMetadataStore(join(dataDir, DATABASE))
  try {
    const blobs = await openFolderBlobStore(join(dataDir, 'blobs'))
    try {
      const damage: FolderProblem[] = [...(await findStoreDamage({ metadata, blobs }, options))]
      const logs = await findLogDamage(metadata).catch((error: unknown) => [String(error)])
      damage.push(...logs.map((message) => ({ part: 'records', message }) as const))
      return [...damage, ...(await checkToken(join(dataDir, 'publisher.token'), metadata))]
    } finally {
      await blobs.close()
    }
  } finally {
    await metadata.close()
  }
}

/** The file may be missing: the next start makes another. */
async function checkToken(path: string, metadata: MetadataStore): Promise<FolderProblem[]> {
  if (!(await pathExists(path))) return []
  const isKnown = await isStoredToken(metadata, (await readFile(path, 'utf8')).trim()).catch(() => true)
  return isKnown ? [] : [{ part: 'token', path, message: `"${path}" holds no token that the server knows` }]
}
