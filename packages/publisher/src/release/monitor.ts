import { parseLogEntry } from '@keyturn/manifest'
import { sha256Hex, hexDecode, hexEncode, isRecord, parseStrictJson, utf8Encode } from '@keyturn/primitives'
import type { LogEntry } from '@keyturn/manifest'
import { writeFileAtomic } from '@keyturn/primitives/node'
import {
  checkCheckpoint,
  disputingWitnesses,
  fetchCheckpoint,
  followLog,
  httpTileSource,
  parsePolicy,
} from '@keyturn/tlog'
import type { FrontierState, Policy, TlogHttpOptions } from '@keyturn/tlog'
import { PublisherError } from '../errors.ts'
import type { HomeSession } from '../home-session.ts'
import { readIfThere, readReleases, readRoles, rolesInForce } from '../records/store.ts'

/** Where the log of releases is read, and what is kept in between. */
export interface MonitorOptions {
  /** Address of the log: `https://updates.example.org/p/game/log`. */
  readonly prefix: string
  /** File that remembers what was read. */
  readonly stateFile: string
  /** Remember what is found as seen; default: it is found again the next time. */
  readonly seen?: boolean | undefined
  readonly http?: TlogHttpOptions | undefined
}

/** What a look at the log found. */
export interface MonitorReport {
  readonly origin: string
  readonly size: number
  /** Entries that were new. */
  readonly read: number
  /** Releases and role documents in the log that this home has not made. */
  readonly foreign: readonly LogEntry[]
  /** Witnesses that have seen another or a longer log than was shown here. */
  readonly disputed: readonly string[]
  /** Witnesses that have signed what was shown. */
  readonly witnesses: readonly string[]
}

/**
 * The policy that launchers hold releases to.
 *
 * @throws {@link PublisherError} `REL_NO_LOG` when the role document in force has none.
 */
export async function logPolicyInForce({ paths, description }: HomeSession): Promise<Policy> {
  const { document } = await rolesInForce(paths, description.identity.prefix)
  if (document.log === undefined)
    throw new PublisherError('REL_NO_LOG', `Role document ${document.version} has no log policy`, {
      hint: 'Seal one: keyturn roles propose --log-policy FILE',
    })
  return parsePolicy(utf8Encode(document.log.policy))
}

async function readState(file: string): Promise<FrontierState | undefined> {
  const bytes = await readIfThere(file)
  if (bytes === undefined) return undefined
  const value = parseStrictJson(bytes, { maxBytes: 64 * 1024 })
  const { size, hashes } = isRecord(value) ? (value as Record<string, unknown>) : {}
  if (typeof size !== 'number' || !Array.isArray(hashes) || hashes.some((hash) => typeof hash !== 'string'))
    throw new PublisherError('REL_NO_LOG', `Cannot read "${file}": it is not what a monitor keeps`, {
      hint: 'Delete it: the log is then read from its beginning',
    })
  return { size, hashes: (hashes as string[]).map((hash) => hexDecode(hash)) }
}

/** Hashes of everything that this home may have published. */
async function ownHashes({ paths, description }: HomeSession, channels: Iterable<string>): Promise<Set<string>> {
  const own = new Set((await readRoles(paths, description.identity.prefix)).map(({ bytes }) => sha256Hex(bytes)))
  for (const channel of channels) for (const { sha256 } of await readReleases(paths, channel)) own.add(sha256)
  return own
}

/**
 * Reads what is new in the log of releases and compares it with what this home has made.
 *
 * @throws TlogError `TLOG_CONSISTENCY` when the log was rewritten; `TLOG_SIGNATURE`, `TLOG_UNAVAILABLE`.
 */
export async function monitorLog(home: HomeSession, policy: Policy, options: MonitorOptions): Promise<MonitorReport> {
  const { prefix, stateFile, seen = false, http } = options
  const shown = checkCheckpoint(await fetchCheckpoint(prefix, http), policy)
  const { entries, state } = await followLog(httpTileSource(prefix, http), shown, await readState(stateFile))
  const read = entries.map((bytes) => parseLogEntry(bytes)).filter(({ type }) => type !== 'offer')
  const own = await ownHashes(home, new Set(read.map(({ channel }) => channel).filter((channel) => channel !== '-')))
  const kept = { size: state.size, hashes: state.hashes.map((hash) => hexEncode(hash)) }
  const report = {
    origin: shown.origin,
    size: shown.size,
    read: entries.length,
    foreign: read.filter(({ sha256 }) => !own.has(sha256)),
    disputed: await disputingWitnesses(prefix, shown, policy, http),
    witnesses: shown.witnesses.map(({ name }) => name),
  }
  // What was found is found again until somebody has seen it.
  if (report.foreign.length === 0 || seen) await writeFileAtomic(stateFile, utf8Encode(`${JSON.stringify(kept)}\n`))
  return report
}
