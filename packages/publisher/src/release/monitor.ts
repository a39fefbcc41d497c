import { limits, parseHeadEnvelope, parseLogEntry } from '@keyturn/manifest'
import { offerDigest } from '@keyturn/manifest/publish'
import {
  collectBytes,
  sha256Hex,
  hexDecode,
  hexEncode,
  isRecord,
  parseStrictJson,
  utf8Encode,
} from '@keyturn/primitives'
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
  /**
   * Channels whose head, as everybody can fetch it, offered at two looks in a row something else than their newest
   * entry: somebody is shown what the log does not have.
   */
  readonly unlogged: readonly string[]
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

/** What is kept between two looks. */
interface MonitorState {
  readonly frontier: FrontierState | undefined
  /** Newest offer of each channel in the log. */
  readonly offers: Readonly<Record<string, string>>
  /** Offers of channels that were not their newest entry at the last look. */
  readonly unlogged: Readonly<Record<string, string>>
}

const isTexts = (value: unknown): value is Record<string, string> =>
  isRecord(value) && Object.values(value).every((text) => typeof text === 'string')

async function readState(file: string): Promise<MonitorState> {
  const bytes = await readIfThere(file)
  if (bytes === undefined) return { frontier: undefined, offers: {}, unlogged: {} }
  const value = parseStrictJson(bytes, { maxBytes: 1024 * 1024 })
  // A state of before has no offers.
  const { size, hashes, offers = {}, unlogged = {} } = isRecord(value) ? (value as Record<string, unknown>) : {}
  const isFrontier =
    typeof size === 'number' && Array.isArray(hashes) && hashes.every((hash) => typeof hash === 'string')
  if (!isFrontier || !isTexts(offers) || !isTexts(unlogged))
    throw new PublisherError('REL_NO_LOG', `Cannot read "${file}": it is not what a monitor keeps`, {
      hint: 'Delete it: the log is then read from its beginning',
    })
  return { frontier: { size, hashes: (hashes as string[]).map((hash) => hexDecode(hash)) }, offers, unlogged }
}

/** What channels offer now and the log does not have as their newest entry; without those that show no head. */
async function readUnlogged(
  prefix: string,
  offers: Readonly<Record<string, string>>,
  { fetch: send = fetch, signal }: TlogHttpOptions = {},
): Promise<Record<string, string>> {
  const found: Record<string, string> = {}
  for (const [channel, digest] of Object.entries(offers)) {
    const url = `${prefix.replace(/\/log$/, '')}/channels/${channel}/head.json`
    const answer = await send(url, { redirect: 'error', ...(signal === undefined ? {} : { signal }) }).catch(
      () => undefined,
    )
    // One with an access code answers nobody; one that is down says nothing.
    if (answer?.status !== 200 || answer.body === null) continue
    const tooLong = (): PublisherError => new PublisherError('REL_SERVER_FILE', `The head at ${url} is too long`)
    const shown = offerDigest(parseHeadEnvelope(await collectBytes(answer.body, limits.headBytes * 2, tooLong)).payload)
    if (shown !== digest) found[channel] = shown
  }
  return found
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
  const before = await readState(stateFile)
  const { entries, state } = await followLog(httpTileSource(prefix, http), shown, before.frontier)
  const parsed = entries.map((bytes) => parseLogEntry(bytes))
  const read = parsed.filter(({ type }) => type !== 'offer')
  const offers = { ...before.offers }
  for (const { type, channel, sha256 } of parsed) if (type === 'offer') offers[channel] = sha256
  const unlogged = await readUnlogged(prefix, offers, http)
  const own = await ownHashes(home, new Set(read.map(({ channel }) => channel).filter((channel) => channel !== '-')))
  const report = {
    origin: shown.origin,
    size: shown.size,
    read: entries.length,
    foreign: read.filter(({ sha256 }) => !own.has(sha256)),
    // A publish is in the log a moment later: what is still missing at the next look counts.
    unlogged: Object.keys(unlogged).filter((channel) => before.unlogged[channel] === unlogged[channel]),
    disputed: await disputingWitnesses(prefix, shown, policy, http),
    witnesses: shown.witnesses.map(({ name }) => name),
  }
  // What was found is found again until somebody has seen it.
  const isSeen = report.foreign.length === 0 || seen
  const frontier = isSeen ? state : (before.frontier ?? { size: 0, hashes: [] })
  const kept = {
    size: frontier.size,
    hashes: frontier.hashes.map((hash) => hexEncode(hash)),
    offers: isSeen ? offers : before.offers,
    unlogged,
  }
  await writeFileAtomic(stateFile, utf8Encode(`${JSON.stringify(kept)}\n`))
  return report
}
