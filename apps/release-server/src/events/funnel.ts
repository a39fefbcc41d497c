import { isRecord } from '@keyturn/primitives'
import type { JsonObject, JsonValue } from '@keyturn/primitives'
import { funnelFailures, funnelSteps } from '@keyturn/release-client'
import type { ChannelView, FunnelStep, FunnelView } from '@keyturn/release-client'
import type { ServerContext } from '../context.ts'
import { ServerError } from '../errors.ts'
import { readChannel } from '../releases/channels.ts'
import { collection } from '../storage/collection.ts'
import { mapOf, object, whole } from '../storage/shape.ts'
import { Gathered } from './gathered.ts'
import { reportMember } from './report-member.ts'
import { StartWeights } from './start-weights.ts'

/** All steps, in the order in which they are shown. */
const STEPS: readonly FunnelStep[] = [...funnelSteps, ...funnelFailures]

interface Line {
  /** Step to count. */
  readonly steps: Readonly<Record<string, number>>
  /** Code of a failure to count. */
  readonly codes: Readonly<Record<string, number>>
  /** Starts that lived and starts that did not; an address has one of each a day. */
  readonly lived: number
  readonly died: number
}

/** Counts by `<product>/<channel>/<version>/<hour>`; an hour is `YYYY-MM-DDTHH`, a day that is over `YYYY-MM-DD`. */
const lines = collection(
  'funnel',
  object<Line>({ steps: mapOf(whole), codes: mapOf(whole), lived: whole, died: whole }),
)

const NOTHING: Line = { steps: {}, codes: {}, lived: 0, died: 0 }
const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
/** Hours are kept for two weeks, then a day has one line. */
const KEPT_HOURS_MS = 14 * DAY_MS
const KEPT_DAYS_MS = 400 * DAY_MS
/** Codes of one line; anybody may make some up, so the others are one. */
const MAX_CODES = 20
const OTHER_CODE = 'OTHER'
/** How long the releases of a channel are known without another look. */
const CHANNEL_MS = 5000
const MAX_CHANNELS = 1000

/** What a launcher reports. */
interface Report {
  readonly product: string
  readonly channel: string
  readonly version: string
  readonly step: FunnelStep
  readonly code: string
}

function add(one: Readonly<Record<string, number>>, other: Readonly<Record<string, number>>): Record<string, number> {
  const sum: Record<string, number> = { ...one }
  for (const [name, count] of Object.entries(other)) sum[name] = (sum[name] ?? 0) + count
  return sum
}

function addCodes(one: Line['codes'], other: Line['codes']): Record<string, number> {
  const sum: Record<string, number> = { ...one }
  for (const [code, count] of Object.entries(other)) {
    const name = Object.hasOwn(sum, code) || Object.keys(sum).length < MAX_CODES ? code : OTHER_CODE
    sum[name] = (sum[name] ?? 0) + count
  }
  return sum
}

function addLines(one: Line, other: Line): Line {
  return {
    steps: add(one.steps, other.steps),
    codes: addCodes(one.codes, other.codes),
    lived: one.lived + other.lived,
    died: one.died + other.died,
  }
}

/** The confirm rate of a line, in percent with one digit; null without a start. */
export function confirmRate({ lived, died }: Pick<Line, 'lived' | 'died'>): number | null {
  return lived + died === 0 ? null : Math.floor((1000 * lived) / (lived + died)) / 10
}

/** Releases that a channel offers, or offered to everybody until now: others are not counted. */
function offered(view: ChannelView | undefined): ReadonlySet<string> {
  const pointers = [view?.manifest, view?.fallback, view?.before]
  return new Set(pointers.flatMap((pointer) => (pointer === null || pointer === undefined ? [] : [pointer.version])))
}

/**
 * Counts how far updates get: steps of launchers that report, by release and hour. No address and no id is stored.
 * Anybody may send a report, so only releases that a channel offers now have lines, and a line has a bounded size.
 */
export class Funnel {
  readonly #context: ServerContext
  readonly #weights: StartWeights
  readonly #gathered: Gathered<Line>
  readonly #offered = new Map<string, { readonly versions: ReadonlySet<string>; readonly untilMs: number }>()

  constructor(context: ServerContext) {
    this.#context = context
    this.#weights = new StartWeights(context.clock)
    this.#gathered = new Gathered(context, { lines, nothing: NOTHING, add: addLines })
  }

  /**
   * Counts one step.
   *
   * @param address - Who reports; it weighs starts in memory, and is not stored.
   * @throws ServerError `SRV_REQUEST` for a malformed report.
   */
  async add(body: JsonValue, address: string): Promise<void> {
    const report = await this.#parse(body)
    if (report === undefined || !(await this.#isOffered(report))) return
    const { product, channel, version, step, code } = report
    const release = `${product}/${channel}/${version}`
    const outcome = step === 'confirmed' ? 'lived' : step === 'start-failed' ? 'died' : undefined
    const weighs = outcome !== undefined && this.#weights.take(address, release, outcome)
    const key = `${release}/${new Date(this.#context.clock()).toISOString().slice(0, 13)}`
    this.#gathered.count(key, {
      steps: { [step]: 1 },
      codes: code === '' ? {} : { [code]: 1 },
      lived: weighs && outcome === 'lived' ? 1 : 0,
      died: weighs && outcome === 'died' ? 1 : 0,
    })
  }

  async #parse(body: JsonValue): Promise<Report | undefined> {
    if (!isRecord(body)) throw new ServerError('SRV_REQUEST', 'Cannot count the report: it is not an object')
    const fields = body as JsonObject
    const step = STEPS.find((known) => known === fields['step'])
    if (step === undefined) throw new ServerError('SRV_REQUEST', 'Cannot count the report: step is malformed')
    const named = fields['product'] === undefined ? undefined : reportMember(fields, 'product', /^[a-z0-9-]{1,64}$/, '')
    const product = await this.#context.directory.get(named)
    const channel = reportMember(fields, 'channel', /^[a-z0-9-]{1,64}$/, product?.defaultChannel ?? 'stable')
    const version = reportMember(fields, 'version', /^[A-Za-z0-9][A-Za-z0-9._+-]{0,127}$/, '')
    const code = reportMember(fields, 'code', /^[A-Z0-9_]{0,64}$/, '')
    const hasCode = step === 'failed' || step === 'start-failed'
    return product === undefined
      ? undefined
      : { product: product.slug, channel, version, step, code: hasCode ? code : '' }
  }

  async #isOffered({ product, channel, version }: Report): Promise<boolean> {
    const key = `${product}/${channel}`
    const now = this.#context.clock()
    const known = this.#offered.get(key)
    if (known !== undefined && now < known.untilMs) return known.versions.has(version)
    const versions = offered(await readChannel(this.#context.metadata, product, channel))
    if (this.#offered.size >= MAX_CHANNELS) this.#offered.clear()
    this.#offered.set(key, { versions, untilMs: now + CHANNEL_MS })
    return versions.has(version)
  }

  /** Stores what was counted. */
  async flush(): Promise<void> {
    await this.#gathered.flush()
  }

  /** Everything that was reported of a release. */
  async total(product: string, channel: string, version: string): Promise<Line> {
    await this.flush()
    const found = await lines.all(this.#context.metadata, { prefix: `${product}/${channel}/${version}/` })
    return found.reduce((sum, { value }) => addLines(sum, value), NOTHING)
  }

  /** What was reported of a release, as the dashboard shows it. */
  async view(product: string, channel: string, version: string): Promise<FunnelView> {
    const line = await this.total(product, channel, version)
    const counts = Object.fromEntries(STEPS.map((step) => [step, line.steps[step] ?? 0]))
    return {
      version,
      counts: counts as FunnelView['counts'],
      codes: line.codes,
      confirm_rate: confirmRate(line),
      confirm_sample: line.lived + line.died,
    }
  }
}

/** Puts the hours of a day together after two weeks, and forgets days after 400 days. */
export async function sweepFunnel(context: ServerContext): Promise<void> {
  const now = context.clock()
  const oldestHour = new Date(now - KEPT_HOURS_MS).toISOString().slice(0, 13)
  const oldestDay = new Date(now - KEPT_DAYS_MS).toISOString().slice(0, 10)
  for await (const page of lines.pages(context.metadata)) {
    const due = page.flatMap(({ key }) => {
      const time = key.slice(key.lastIndexOf('/') + 1)
      const isOld = time.length > 10 ? time < oldestHour : time < oldestDay
      return isOld ? [{ key, time }] : []
    })
    if (due.length === 0) continue
    await context.metadata.transaction(['funnel'], async (records) => {
      for (const { key, time } of due) {
        const line = await lines.get(records, key)
        if (line === undefined) continue
        await lines.delete(records, key)
        const day = time.slice(0, 10)
        if (day < oldestDay) continue
        const dayKey = `${key.slice(0, key.lastIndexOf('/'))}/${day}`
        await lines.put(records, { key: dayKey, value: addLines((await lines.get(records, dayKey)) ?? NOTHING, line) })
      }
    })
  }
}
