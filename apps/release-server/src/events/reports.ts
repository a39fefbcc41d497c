import { isRecord } from '@keyturn/primitives'
import type { JsonObject, JsonValue } from '@keyturn/primitives'
import type { ReportCount } from '@keyturn/release-client'
import type { ServerContext } from '../context.ts'
import { ServerError } from '../errors.ts'
import { findRelease } from '../releases/releases.ts'
import { collection } from '../storage/collection.ts'
import { numeric, object, whole } from '../storage/shape.ts'
import { Gathered } from './gathered.ts'
import { reportMember } from './report-member.ts'

interface Line {
  readonly count: number
  readonly duration_ms: number
}

const lines = collection('reports', object<Line>({ count: whole, duration_ms: numeric }))

const NOTHING: Line = { count: 0, duration_ms: 0 }
const DAY_MS = 86_400_000
/**
 * Lines of one product, channel and day: results and codes come from anonymous callers, so they are few or summed up.
 */
const MAX_LINES_OF_DAY = 500
/** Days for which figures are kept. */
const KEPT_DAYS = 400
/** Releases that are known to exist; a report about any other is not counted. */
const MAX_KNOWN = 10_000
const FORGET_UNKNOWN_MS = 60_000
/** What a line beyond the limit is counted under. */
const OTHER = { result: 'other', code: '' }

function addLines(one: Line, other: Line): Line {
  return { count: one.count + other.count, duration_ms: one.duration_ms + other.duration_ms }
}

function dayOf(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10)
}

/**
 * Counts what launchers report, by day, version and result. Nothing else is kept: no address, no id, no time of day.
 * Anybody may send a report, so only those about a release of a channel count, and a day has a bounded number of lines.
 * Counts gather in memory and are stored every two seconds.
 */
export class Reports {
  readonly #context: ServerContext
  readonly #gathered: Gathered<Line>
  /** Whether a release exists; the time is when a release that did not exist is looked up again. */
  readonly #known = new Map<string, { readonly exists: boolean; readonly untilMs: number }>()
  /** Lines of each product, channel and day that this process has counted under or found stored. */
  readonly #linesOfDay = new Map<string, Set<string>>()

  constructor(context: ServerContext) {
    this.#context = context
    this.#gathered = new Gathered(context, { lines, nothing: NOTHING, add: addLines })
  }

  /** Counts one report: the reference's body, or the original's (`format`, `version`, `timestamp`). */
  async add(body: JsonValue): Promise<void> {
    if (!isRecord(body)) throw new ServerError('SRV_REQUEST', 'Cannot count the report: it is not an object')
    const fields = body as JsonObject
    const product = await this.#context.directory.get(
      fields['product'] === undefined ? undefined : reportMember(fields, 'product', /^[a-z0-9-]{1,64}$/, ''),
    )
    if (product === undefined) return
    const channel = reportMember(fields, 'channel', /^[a-z0-9-]{1,64}$/, product.defaultChannel)
    const version = reportMember(fields, 'version', /^[A-Za-z0-9][A-Za-z0-9._+-]{0,127}$/, '')
    const result = reportMember(fields, 'result', /^[a-z][a-z_-]{0,31}$/, 'updated')
    const code = reportMember(fields, 'code', /^[A-Z0-9_]{0,64}$/, '')
    const duration = fields['duration_ms'] ?? 0
    if (typeof duration !== 'number' || duration < 0 || duration > DAY_MS)
      throw new ServerError('SRV_REQUEST', 'Cannot count the report: duration_ms is malformed')
    if (!(await this.#exists(product.slug, channel, version))) return
    const day = `${product.slug}/${channel}/${dayOf(this.#context.clock())}`
    await this.#count(day, `${version}/${result}/${code}`, `${version}/${OTHER.result}/${OTHER.code}`, duration)
  }

  async #count(day: string, line: string, other: string, duration: number): Promise<void> {
    const ofDay = await this.#linesOf(day)
    const fits = ofDay.has(line) || ofDay.size < MAX_LINES_OF_DAY
    if (fits) ofDay.add(line)
    this.#gathered.count(`${day}/${fits ? line : other}`, { count: 1, duration_ms: duration })
  }

  async #linesOf(day: string): Promise<Set<string>> {
    const known = this.#linesOfDay.get(day)
    if (known !== undefined) return known
    const stored = await lines.list(this.#context.metadata, { prefix: `${day}/`, limit: MAX_LINES_OF_DAY })
    const raced = this.#linesOfDay.get(day)
    if (raced !== undefined) return raced
    const fresh = new Set(stored.map(({ key }) => key.slice(day.length + 1)))
    if (this.#linesOfDay.size >= MAX_KNOWN) this.#linesOfDay.clear()
    this.#linesOfDay.set(day, fresh)
    return fresh
  }

  async #exists(product: string, channel: string, version: string): Promise<boolean> {
    const key = `${product}/${channel}/${version}`
    const now = this.#context.clock()
    const known = this.#known.get(key)
    if (known !== undefined && (known.exists || now < known.untilMs)) return known.exists
    const exists = (await findRelease(this.#context.metadata, product, channel, version)) !== undefined
    if (this.#known.size >= MAX_KNOWN) this.#known.clear()
    this.#known.set(key, { exists, untilMs: now + FORGET_UNKNOWN_MS })
    return exists
  }

  /** Stores what was counted. */
  async flush(): Promise<void> {
    await this.#gathered.flush()
  }

  /** Counts of a product since a day, on the channels that the caller may see. Of those who report: nobody has to. */
  async list(product: string, since: string, maySee: (channel: string) => boolean): Promise<ReportCount[]> {
    await this.flush()
    return (await lines.all(this.#context.metadata, { prefix: `${product}/` }))
      .map(({ key, value }) => {
        const [slug = '', channel = '', day = '', version = '', result = '', code = ''] = key.split('/')
        return { product: slug, channel, day, version, result, code, ...value }
      })
      .filter(({ day, channel }) => day >= since && maySee(channel))
  }
}

/** Forgets figures that are older than 400 days. */
export async function sweepReports(context: ServerContext): Promise<void> {
  const oldest = dayOf(context.clock() - KEPT_DAYS * DAY_MS)
  for await (const page of lines.pages(context.metadata)) {
    const old = page.filter(({ key }) => (key.split('/')[2] ?? '') < oldest).map(({ key }) => key)
    if (old.length > 0) await context.metadata.transaction(['reports'], (writer) => lines.delete(writer, ...old))
  }
}
