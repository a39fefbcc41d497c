import { parseHeadEnvelope, parseLogEntry } from '@keyturn/manifest'
import { offerDigest } from '@keyturn/manifest/publish'
import { collectBytes, hexDecode, hexEncode, KeyturnError, OneAtATime } from '@keyturn/primitives'
import {
  checkCheckpoint,
  disputingWitnesses,
  fetchCheckpoint,
  followLog,
  httpTileSource,
  originHash,
  TlogError,
} from '@keyturn/tlog'
import type { Policy, TlogHttpOptions } from '@keyturn/tlog'
import type { ServerContext } from '../context.ts'
import { monitoredLogs, notSeenYet, readMonitored } from './monitored-logs.ts'
import type { MonitoredLog } from './monitored-logs.ts'

/** Which logs of others are watched. */
export interface LogMonitorSettings {
  /** Its log lines have addresses; its witnesses are asked what they have seen. */
  readonly policy: Policy
  /** Where findings are sent; default: they are logged only. */
  readonly webhook?: string | undefined
  readonly http?: TlogHttpOptions | undefined
  /** Pause between two looks, milliseconds; default one minute. */
  readonly everyMs?: number | undefined
}

const EVERY_MS = 60_000
/** A log that answers nothing for so long is a finding: that is how a thief keeps others from looking. */
const SILENT_MS = 3_600_000
const MAX_HEAD_BYTES = 256 * 1024
const ANSWER_WITHIN_MS = 15_000

/**
 * Watches logs of releases of others: that each only grows, that witnesses have seen the same, and that what its server
 * offers is in it. It knows nothing of what their publishers made: whether an entry is theirs, `keyturn release
 * monitor` says.
 */
export class LogMonitor {
  readonly #context: ServerContext
  readonly #settings: LogMonitorSettings
  readonly #queue = new OneAtATime()
  readonly #stopped = new AbortController()
  #timer: NodeJS.Timeout | undefined

  constructor(context: ServerContext, settings: LogMonitorSettings) {
    this.#context = context
    this.#settings = settings
  }

  /** Begins to look. */
  start(): void {
    this.#timer = setInterval(() => this.#soon(), this.#settings.everyMs ?? EVERY_MS).unref()
    this.#soon()
  }

  /** Stops, after the look that is under way. */
  async close(): Promise<void> {
    clearInterval(this.#timer)
    this.#stopped.abort()
    await this.#queue.idle()
  }

  #soon(): void {
    this.#queue
      .run(() => this.lookAtAll())
      .catch((error: unknown) => {
        if (!this.#stopped.signal.aborted) this.#context.log.error({ err: String(error) }, 'watching logs failed')
      })
  }

  /** Looks at every log once; one that another replica has just looked at is left alone. */
  async lookAtAll(): Promise<void> {
    for (const { key, url } of this.#settings.policy.logs) {
      if (url === undefined || this.#stopped.signal.aborted) continue
      const before = await this.#claim(key.name)
      if (before === undefined) continue
      const after = await this.#look(before, url.replace(/\/+$/, ''))
      if (this.#stopped.signal.aborted) return
      const sent = await this.#tell(before, after)
      await this.#store({ ...after, sent })
    }
  }

  get #http(): TlogHttpOptions {
    return { ...this.#settings.http, signal: this.#stopped.signal }
  }

  async #store(log: MonitoredLog): Promise<void> {
    const key = originHash(log.origin)
    await this.#context.metadata.transaction([`log-monitor:${key}`], async (records) => {
      await monitoredLogs.put(records, { key, value: log })
    })
  }

  async #claim(origin: string): Promise<MonitoredLog | undefined> {
    const key = originHash(origin)
    const now = this.#context.clock()
    return await this.#context.metadata.transaction([`log-monitor:${key}`], async (records) => {
      const known = (await readMonitored(records, origin)) ?? notSeenYet(origin, now)
      if (now - known.checkedMs < (this.#settings.everyMs ?? EVERY_MS) / 2) return undefined
      await monitoredLogs.put(records, { key, value: { ...known, checkedMs: now } })
      return { ...known, checkedMs: now }
    })
  }

  async #look(before: MonitoredLog, prefix: string): Promise<MonitoredLog> {
    try {
      const { log, findings } = await this.#follow(before, prefix)
      return { ...log, answeredMs: before.checkedMs, findings }
    } catch (error) {
      if (!(error instanceof KeyturnError)) throw error
      if (error instanceof TlogError && error.code === 'TLOG_UNAVAILABLE') return silent(before)
      return { ...before, answeredMs: before.checkedMs, findings: [error.message] }
    }
  }

  /** Reads what is new, and compares it with what witnesses have seen and with what is on offer. */
  async #follow(before: MonitoredLog, prefix: string): Promise<{ log: MonitoredLog; findings: string[] }> {
    const { policy } = this.#settings
    const shown = checkCheckpoint(await fetchCheckpoint(prefix, this.#http), policy)
    const state = { size: before.size, hashes: before.hashes.map((hash) => hexDecode(hash)) }
    const followed = await followLog(httpTileSource(prefix, this.#http), shown, state)
    const read = withEntries(before, followed.entries)
    const disputing = await disputingWitnesses(prefix, shown, policy, this.#http)
    const unlogged = await this.#unlogged(read.log, prefix)
    const findings = [
      ...read.findings,
      ...disputing.map((name) => `Witness "${name}" has seen another or a longer log than is shown here`),
      // A publish is in the log a moment later: what is still missing at the next look counts.
      ...Object.entries(unlogged)
        .filter(([channel, digest]) => before.unlogged[channel] === digest)
        .map(([channel, digest]) => `Channel ${channel} offers what is not the newest in the log (${digest})`),
    ]
    const hashes = followed.state.hashes.map((hash) => hexEncode(hash))
    return { log: { ...read.log, size: followed.state.size, hashes, unlogged }, findings }
  }

  /** Channels whose head, as everybody can fetch it, offers something else than their newest entry. */
  async #unlogged(log: MonitoredLog, prefix: string): Promise<Record<string, string>> {
    const found: Record<string, string> = {}
    for (const [channel, digest] of Object.entries(log.offers)) {
      const head = await this.#fetchHead(`${prefix.replace(/\/log$/, '')}/channels/${channel}/head.json`)
      if (head === undefined) continue
      const shown = offerDigest(parseHeadEnvelope(head).payload)
      if (shown !== digest) found[channel] = shown
    }
    return found
  }

  /** Undefined for a channel with an access code, and for one that does not answer. */
  async #fetchHead(url: string): Promise<Uint8Array | undefined> {
    const signal = AbortSignal.any([AbortSignal.timeout(ANSWER_WITHIN_MS), this.#stopped.signal])
    const answer = await fetch(url, { redirect: 'error', signal }).catch(() => undefined)
    if (answer?.status !== 200) return undefined
    const tooLong = (): TlogError => new TlogError('TLOG_LIMIT', `The head at ${url} has over ${MAX_HEAD_BYTES} bytes`)
    return await collectBytes(answer.body, MAX_HEAD_BYTES, tooLong)
  }

  /** Sends findings that were not sent before; what could not be sent is tried again at the next look. */
  async #tell(before: MonitoredLog, { origin, size, findings }: MonitoredLog): Promise<readonly string[]> {
    const fresh = findings.filter((finding) => !before.sent.includes(finding))
    const still = findings.filter((finding) => before.sent.includes(finding))
    if (fresh.length === 0) return still
    this.#context.log.error({ origin, size, findings: fresh }, 'a watched log of releases has findings')
    const { webhook } = this.#settings
    if (webhook === undefined) return findings
    const signal = AbortSignal.any([AbortSignal.timeout(ANSWER_WITHIN_MS), this.#stopped.signal])
    const answer = await fetch(webhook, {
      method: 'POST',
      redirect: 'error',
      signal,
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ origin, size, findings: fresh }),
    }).catch(() => undefined)
    if (answer?.ok === true) return findings
    this.#context.log.warn({ origin, status: answer?.status }, 'findings could not be sent')
    return still
  }
}

function silent(before: MonitoredLog): MonitoredLog {
  const isLong = before.checkedMs - before.answeredMs > SILENT_MS
  const since = new Date(before.answeredMs).toISOString()
  return { ...before, findings: isLong ? [`The log has not answered since ${since}`] : before.findings }
}

/**
 * What new entries say: the newest offer of each channel, and offers of releases that are not in the log before them.
 */
function withEntries(before: MonitoredLog, entries: readonly Uint8Array[]): { log: MonitoredLog; findings: string[] } {
  const [offers, releases] = [{ ...before.offers }, { ...before.releases }]
  const findings: string[] = []
  for (const bytes of entries) {
    const { type, channel, number, sha256 } = parseLogEntry(bytes)
    if (type === 'release') releases[channel] = Math.max(number, releases[channel] ?? 0)
    if (type !== 'offer') continue
    offers[channel] = sha256
    if (number > (releases[channel] ?? 0))
      findings.push(`Channel ${channel} offers release ${number}, which was not in the log by then`)
  }
  return { log: { ...before, offers, releases }, findings }
}
