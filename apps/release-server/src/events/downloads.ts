import type { DownloadCount } from '@keyturn/release-client'
import type { ServerContext } from '../context.ts'
import { BlobDownloads } from './blob-downloads.ts'
import type { BlobTraffic } from './blob-downloads.ts'
import { readChannel } from '../releases/channels.ts'
import { collection } from '../storage/collection.ts'
import { object, preset, whole } from '../storage/shape.ts'

type Kind = 'offers' | 'manifests'

interface Line {
  readonly offers: number
  readonly manifests: number
  readonly blobs: number
  readonly bytes: number
}

const NOTHING: Line = { offers: 0, manifests: 0, blobs: 0, bytes: 0 }

/** Counts by `<product>/<channel>/<day>/<version>`. */
const lines = collection(
  'downloads',
  object<Line>({ offers: whole, manifests: whole, blobs: preset(whole, 0), bytes: preset(whole, 0) }),
)

const FLUSH_MS = 10_000
const DAY_MS = 86_400_000
/** Days for which counts are kept. */
const KEPT_DAYS = 400

/** One document that is counted, and how often it was read since the last flush. */
interface Cell {
  readonly product: string
  readonly channel: string
  readonly kind: Kind
  /** Undefined: the version that the channel offers. */
  readonly version: string | undefined
  count: number
}

/** Which document a name of a channel is; undefined for those that are not counted. */
function kindOf(name: string): { readonly kind: Kind; readonly version: string | undefined } | undefined {
  if (name === 'head.json') return { kind: 'offers', version: undefined }
  if (name === 'manifest.json') return { kind: 'manifests', version: undefined }
  const version = /^manifests\/(.+)\.json$/.exec(name)?.[1]
  return version === undefined || version.endsWith('.sigs') ? undefined : { kind: 'manifests', version }
}

function dayOf(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10)
}

/**
 * Counts what is read of each version, by day: adoption without any report, address or id. Only what exists is
 * counted, so there are no more lines than versions and days.
 */
export class Downloads {
  readonly #cells = new Map<string, Cell>()
  readonly #blobs = new BlobDownloads()
  #context: ServerContext | undefined
  #timer: NodeJS.Timeout | undefined

  /** Starts to store counts; until then they only gather. */
  start(context: ServerContext): void {
    this.#context = context
    this.#timer = setInterval(
      () =>
        void this.flush().catch((error: unknown) =>
          context.log.warn({ err: String(error) }, 'download counts could not be stored'),
        ),
      FLUSH_MS,
    ).unref()
  }

  /** The counter of a document of a channel; undefined for documents that are not counted. Made once, called often. */
  counter(product: string, channel: string, name: string): (() => void) | undefined {
    const counted = kindOf(name)
    if (counted === undefined) return undefined
    const key = `${product}/${channel}/${name}`
    let cell = this.#cells.get(key)
    if (cell === undefined) this.#cells.set(key, (cell = { product, channel, ...counted, count: 0 }))
    const counting = cell
    return () => {
      counting.count += 1
    }
  }

  /** Counts a request of a blob. */
  countBlob(sha256: string, bytes: number): void {
    this.#blobs.count(sha256, bytes)
  }

  /** Stores what was counted, under the version that each channel offers now. */
  async flush(): Promise<void> {
    const context = this.#context
    if (context === undefined) return
    const read = [...this.#cells.values()].filter(({ count }) => count > 0).map((cell) => ({ ...cell, cell }))
    await this.#blobs.flush(context, async (traffic) => {
      if (read.length + traffic.length > 0) await this.#store(context, read, traffic)
    })
    // What was read while we wrote stays for the next time.
    for (const { cell, count } of read) cell.count -= count
  }

  async #store(context: ServerContext, read: readonly Cell[], traffic: readonly BlobTraffic[]): Promise<void> {
    const day = dayOf(context.clock())
    await context.metadata.transaction(['downloads'], async (records) => {
      for (const { product, channel, kind, version, count } of read) {
        const named = version ?? (await readChannel(records, product, channel))?.manifest?.version
        if (named === undefined) continue
        const key = `${product}/${channel}/${day}/${named}`
        const old = (await lines.get(records, key)) ?? NOTHING
        await lines.put(records, { key, value: { ...old, [kind]: old[kind] + count } })
      }
      for (const { product, channel, version, blobs, bytes } of traffic) {
        const key = `${product}/${channel}/${day}/${version}`
        const old = (await lines.get(records, key)) ?? NOTHING
        await lines.put(records, { key, value: { ...old, blobs: old.blobs + blobs, bytes: old.bytes + bytes } })
      }
    })
  }

  /** Counts of a product since a day, on the channels that the caller may see. */
  async list(product: string, since: string, maySee: (channel: string) => boolean): Promise<DownloadCount[]> {
    await this.flush()
    if (this.#context === undefined) return []
    return (await lines.all(this.#context.metadata, { prefix: `${product}/` }))
      .map(({ key, value }) => {
        const [, channel = '', day = '', version = ''] = key.split('/')
        return { channel, day, version, ...value }
      })
      .filter(({ day, channel }) => day >= since && maySee(channel))
  }

  /** Stores the rest and stops. */
  async close(): Promise<void> {
    clearInterval(this.#timer)
    await this.flush()
  }
}

/** Forgets counts that are older than 400 days. */
export async function sweepDownloads(context: ServerContext): Promise<void> {
  const oldest = dayOf(context.clock() - KEPT_DAYS * DAY_MS)
  for await (const page of lines.pages(context.metadata)) {
    const old = page.filter(({ key }) => (key.split('/')[2] ?? '') < oldest).map(({ key }) => key)
    if (old.length > 0) await context.metadata.transaction(['downloads'], (writer) => lines.delete(writer, ...old))
  }
}
