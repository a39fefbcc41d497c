import type { JsonObject } from '@keyturn/primitives'
import type { ServerContext } from '../context.ts'
import type { JsonValue } from '@keyturn/primitives'
import { ServerError } from '../errors.ts'

/** One line of the adoption figures. */
export interface ReportCount {
  readonly product: string
  readonly channel: string
  readonly day: string
  readonly version: string
  readonly result: string
  readonly code: string
  readonly count: number
  readonly duration_ms: number
}

interface Line {
  count: number
  duration_ms: number
}

const mostLines = 20_000
const flushMs = 2000

function text(body: JsonObject, name: string, pattern: RegExp, preset: string): string {
  const value = body[name] ?? preset
  if (typeof value !== 'string' || !pattern.test(value))
    throw new ServerError('SRV_REQUEST', `Cannot count the report: ${name} is malformed`)
  return value
}

/**
 * Counts what launchers report, by day, version and result. Nothing else is kept: no address, no id, no time of day.
 * Counts gather in memory and are stored every two seconds.
 */
export class Reports {
  readonly #context: ServerContext
  readonly #lines = new Map<string, Line>()
  #timer: NodeJS.Timeout | undefined

  constructor(context: ServerContext) {
    this.#context = context
  }

  /** Counts one report: the reference's body, or the original's (`format`, `version`, `timestamp`). */
  async add(body: JsonValue): Promise<void> {
    if (typeof body !== 'object' || body === null || Array.isArray(body))
      throw new ServerError('SRV_REQUEST', 'Cannot count the report: an object is due')
    const product = await this.#context.directory.get(
      body['product'] === undefined ? undefined : text(body, 'product', /^[a-z0-9-]{1,64}$/, ''),
    )
    if (product === undefined) return
    const day = new Date(this.#context.clock()).toISOString().slice(0, 10)
    const parts = [
      product.slug,
      text(body, 'channel', /^[a-z0-9-]{1,64}$/, product.defaultChannel),
      day,
      text(body, 'version', /^[A-Za-z0-9][A-Za-z0-9._+-]{0,127}$/, ''),
      text(body, 'result', /^[a-z][a-z_-]{0,31}$/, 'updated'),
      text(body, 'code', /^[A-Z0-9_]{0,64}$/, ''),
    ]
    const duration = body['duration_ms'] ?? 0
    if (typeof duration !== 'number' || duration < 0 || duration > 86_400_000)
      throw new ServerError('SRV_REQUEST', 'Cannot count the report: duration_ms is malformed')
    const key = parts.join('/')
    const line = this.#lines.get(key)
    if (line === undefined && this.#lines.size >= mostLines) return
    this.#lines.set(key, { count: (line?.count ?? 0) + 1, duration_ms: (line?.duration_ms ?? 0) + duration })
    this.#timer ??= setTimeout(
      () =>
        void this.flush().catch((error: unknown) =>
          this.#context.log.warn({ err: String(error) }, 'reports could not be stored'),
        ),
      flushMs,
    ).unref()
  }

  /** Stores what was counted. */
  async flush(): Promise<void> {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const lines = [...this.#lines]
    this.#lines.clear()
    if (lines.length === 0) return
    await this.#context.metadata.transaction(['reports'], async (records) => {
      const old = new Map(
        (
          await records.getMany(
            'reports',
            lines.map(([key]) => key),
          )
        ).map(({ key, value }) => [key, value as unknown as Line]),
      )
      await records.put(
        'reports',
        ...lines.map(([key, line]) => ({
          key,
          value: {
            count: line.count + (old.get(key)?.count ?? 0),
            duration_ms: line.duration_ms + (old.get(key)?.duration_ms ?? 0),
          },
        })),
      )
    })
  }

  /** Counts of a product since a day. Of those who report: nobody has to. */
  async list(product: string, since: string): Promise<ReportCount[]> {
    await this.flush()
    const records = await this.#context.metadata.list('reports', { prefix: `${product}/`, limit: 50_000 })
    return records
      .map(({ key, value }) => {
        const [slug = '', channel = '', day = '', version = '', result = '', code = ''] = key.split('/')
        return { product: slug, channel, day, version, result, code, ...(value as unknown as Line) }
      })
      .filter(({ day }) => day >= since)
  }
}
