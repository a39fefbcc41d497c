import { parseManifest } from '@keyturn/manifest'
import type { ManifestPointer } from '@keyturn/release-client'
import type { ServerContext } from '../context.ts'
import { channels } from '../releases/channels.ts'
import { readManifestBytes } from '../releases/releases.ts'

/** Blobs of which requests gather until the next flush; requests of further ones are not counted. */
const MAX_PENDING = 50_000
/** Files of all releases on offer together that are known; those of further releases are not counted. */
const MAX_KNOWN_FILES = 1_000_000
/** Hex digits by which a blob is known here: enough for counts. */
const NAME_LENGTH = 16

/** What was sent of the blobs of a release. */
export interface BlobTraffic {
  readonly product: string
  readonly channel: string
  readonly version: string
  readonly blobs: number
  readonly bytes: number
}

/** A release on offer and the blobs that it has. */
interface Offered {
  readonly product: string
  readonly channel: string
  readonly version: string
  readonly blobs: ReadonlySet<string>
}

interface Pending {
  count: number
  bytes: number
}

/**
 * Counts requests of blobs by release. A blob belongs to many releases: it counts for the first one on offer that has
 * it, the newest of a channel before its fallback. Releases are read when something was requested, not for each
 * request.
 */
export class BlobDownloads {
  readonly #pending = new Map<string, Pending>()
  #offered: readonly Offered[] = []
  #key = ''

  /** Counts a request; cheap, since it is called for each. */
  count(sha256: string, bytes: number): void {
    this.#add(sha256.slice(0, NAME_LENGTH), 1, bytes)
  }

  #add(name: string, count: number, bytes: number): void {
    const pending = this.#pending.get(name)
    if (pending !== undefined) {
      pending.count += count
      pending.bytes += bytes
    } else if (this.#pending.size < MAX_PENDING) this.#pending.set(name, { count, bytes })
  }

  /**
   * Stores what was counted since the last time; what belongs to no release on offer is dropped. What cannot be stored
   * is kept for the next time.
   */
  async flush(context: ServerContext, store: (traffic: readonly BlobTraffic[]) => Promise<void>): Promise<void> {
    const counted = [...this.#pending]
    this.#pending.clear()
    try {
      await store(counted.length === 0 ? [] : await this.#byRelease(context, counted))
    } catch (error) {
      for (const [name, { count, bytes }] of counted) this.#add(name, count, bytes)
      throw error
    }
  }

  async #byRelease(context: ServerContext, counted: readonly (readonly [string, Pending])[]): Promise<BlobTraffic[]> {
    await this.#refresh(context)
    const found = new Map<Offered, Pending>()
    for (const [name, { count, bytes }] of counted) {
      const release = this.#offered.find(({ blobs }) => blobs.has(name))
      if (release === undefined) continue
      const sum = found.get(release) ?? { count: 0, bytes: 0 }
      found.set(release, { count: sum.count + count, bytes: sum.bytes + bytes })
    }
    return [...found].map(([{ product, channel, version }, { count, bytes }]) => ({
      product,
      channel,
      version,
      blobs: count,
      bytes,
    }))
  }

  async #refresh(context: ServerContext): Promise<void> {
    const all = (await channels.all(context.metadata)).flatMap(({ value }) =>
      [value.manifest, value.fallback].flatMap((pointer) => (pointer === null ? [] : [{ ...value, pointer }])),
    )
    const key = all.map(({ pointer }) => pointer.sha256).join(' ')
    if (key === this.#key) return
    const known = new Map(
      this.#offered.map((release) => [`${release.product}/${release.channel}/${release.version}`, release]),
    )
    const offered: Offered[] = []
    let files = 0
    for (const { product, channel, pointer } of all) {
      const { version } = pointer
      const release = known.get(`${product}/${channel}/${version}`) ?? {
        product,
        channel,
        version,
        blobs: await blobsOf(context, pointer),
      }
      files += release.blobs.size
      if (files > MAX_KNOWN_FILES) break
      offered.push(release)
    }
    this.#offered = offered
    this.#key = key
  }
}

async function blobsOf(context: ServerContext, pointer: ManifestPointer): Promise<Set<string>> {
  try {
    const { files, launcher } = parseManifest(await readManifestBytes(context, pointer))
    const indexes = files.flatMap(({ index }) => (index === undefined ? [] : [index]))
    const hashes = [...files, ...indexes, ...(launcher === undefined ? [] : [launcher])].map(({ sha256 }) => sha256)
    return new Set(hashes.map((sha256) => sha256.slice(0, NAME_LENGTH)))
  } catch (error) {
    // Nothing of it is counted; fsck is what tells about damage.
    context.log.warn({ version: pointer.version, err: String(error) }, 'downloads of a release are not counted')
    return new Set()
  }
}
