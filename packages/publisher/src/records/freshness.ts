import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { KeyturnError, parseStrictJson, utf8Encode } from '@keyturn/primitives'
import { syncFolder, writeFileAtomic } from '@keyturn/primitives/node'
import type { ReleaseServerClient } from '@keyturn/release-client'
import { PublisherError } from '../errors.ts'
import type { HomeSession } from '../home-session.ts'
import type { PublisherHost } from '../session.ts'
import { readIdentityLog, readIfThere } from './store.ts'

const MARK = 'restored.json'

/** Notes that a home came out of a backup: it may be older than what was published since. */
export async function markRestored(folder: string, nowMs: number): Promise<void> {
  const text = `${JSON.stringify({ format: 'keyturn-restored', version: 1, restored_at: new Date(nowMs).toISOString() })}\n`
  await writeFileAtomic(join(folder, MARK), utf8Encode(text), { mode: 0o600 })
}

/** When a home was restored, ISO 8601; undefined once it was compared with the published log. */
export async function readRestored(folder: string): Promise<string | undefined> {
  const bytes = await readIfThere(join(folder, MARK))
  if (bytes === undefined) return undefined
  const value = parseStrictJson(bytes, { maxBytes: 65_536 })
  const at = typeof value === 'object' && value !== null && !Array.isArray(value) ? value['restored_at'] : undefined
  return typeof at === 'string' ? at : 'an unknown time'
}

async function clearRestored(folder: string): Promise<void> {
  await rm(join(folder, MARK), { force: true })
  await syncFolder(folder)
}

/** Whether the log that a server has is within ours; a server that never had one has nothing to compare. */
async function isUpToDate(home: HomeSession, client: ReleaseServerClient): Promise<boolean> {
  const { description, paths } = home
  const published = (await client.getProduct(description.product))?.log
  if (published === undefined || published === null) return true
  const { log } = await readIdentityLog(paths, description.identity.prefix)
  return log.events[published.sn]?.said === published.said
}

/** How strictly a home is compared with its server. */
export interface FreshnessOptions {
  /** Of the server of the home; undefined when none is known, or none is to be asked. */
  readonly client: ReleaseServerClient | undefined
  /** Warn of what would be refused: an emergency does not wait. */
  readonly warnOnly?: boolean | undefined
}

/**
 * Refuses to sign from a home that is older than its published log: a restored backup, or the copy of another machine.
 * What it signed would rival what was signed since. A home with a server is compared with it; one without gets a
 * warning as long as it is marked as restored.
 *
 * @throws {@link PublisherError} `CLI_HOME_STALE`; of a restored home also what the server answered instead.
 */
export async function requireFresh(
  host: PublisherHost,
  home: HomeSession,
  { client, warnOnly = false }: FreshnessOptions,
): Promise<void> {
  const { folder } = home.paths
  const restored = await readRestored(folder)
  if (client === undefined) {
    if (restored === undefined) return
    const message =
      `This home was restored from a backup at ${restored}, and was not compared with ` + 'the published log since'
    const hint = 'If anything was signed after that backup, import the newer log first: keyturn id import FILE'
    if (home.description.server === undefined || warnOnly) host.warn(`${message}. ${hint}`)
    else throw new PublisherError('CLI_HOME_STALE', message, { hint: `Run "keyturn doctor" with the server. ${hint}` })
    return
  }
  let fresh: boolean
  try {
    fresh = await isUpToDate(home, client)
  } catch (error) {
    // A server that does not answer stops only what may be stale.
    if (!(error instanceof KeyturnError) || (restored !== undefined && !warnOnly)) throw error
    if (restored !== undefined) host.warn(`The published log could not be compared: ${error.message}`)
    return
  }
  if (fresh) {
    if (restored !== undefined && !host.dryRun) await clearRestored(folder)
    return
  }
  const message = 'This home is older than the published log: its server has an event that is not in it'
  if (warnOnly) return host.warn(message)
  throw new PublisherError('CLI_HOME_STALE', message, {
    hint:
      'Nothing was signed. Restore the newest backup, or use the machine that signed last; "keyturn doctor" ' +
      'shows both logs',
  })
}
