import { collection } from '../storage/collection.ts'
import { channelAccess } from './channel-access.ts'
import type { MetadataStore } from '../storage/metadata-store.ts'
import { flag, object, text } from '../storage/shape.ts'

/** What the public tree must know about a product. */
export interface DirectoryEntry {
  readonly slug: string
  readonly defaultChannel: string
  /** Protected channels: the SHA-256 of their access code, hex. */
  readonly access: ReadonlyMap<string, string>
}

/** The members of a product that addresses depend on; the rest belongs to the room of releases. */
const products = collection(
  'products',
  object<{ readonly slug: string; readonly default_channel: string; readonly is_default: boolean }>({
    slug: text,
    default_channel: text,
    is_default: flag,
  }),
)

const FRESH_MS = 5000

interface Snapshot {
  readonly bySlug: ReadonlyMap<string, DirectoryEntry>
  readonly main: DirectoryEntry | undefined
  readonly loadedMs: number
}

/** Products by name and the one that answers at the root, from memory; looked up again as documents are. */
export class ProductDirectory {
  readonly #metadata: MetadataStore
  readonly #clock: () => number
  readonly #unsubscribe: () => void
  #snapshot: Snapshot | undefined
  #loading: Promise<Snapshot> | undefined
  #generation = 0

  constructor(metadata: MetadataStore, clock: () => number) {
    this.#metadata = metadata
    this.#clock = clock
    this.#unsubscribe = metadata.subscribe((topic) => {
      if (topic === 'products') this.#forget()
    })
  }

  /** Changes whenever a product changes. */
  get generation(): number {
    return this.#generation
  }

  /** The product of this name, or the default one; `null` when there is none, `undefined` when it must be loaded. */
  peek(slug: string | undefined): DirectoryEntry | null | undefined {
    const snapshot = this.#snapshot
    if (snapshot === undefined || this.#clock() - snapshot.loadedMs > FRESH_MS) return undefined
    return (slug === undefined ? snapshot.main : snapshot.bySlug.get(slug)) ?? null
  }

  /** The product of this name, or the default one. */
  async get(slug: string | undefined): Promise<DirectoryEntry | undefined> {
    const known = this.peek(slug)
    if (known !== undefined) return known ?? undefined
    this.#loading ??= this.#load().finally(() => {
      this.#loading = undefined
    })
    const snapshot = await this.#loading
    return slug === undefined ? snapshot.main : snapshot.bySlug.get(slug)
  }

  /** Ends the subscription. */
  close(): void {
    this.#unsubscribe()
  }

  #forget(): void {
    this.#generation += 1
    this.#snapshot = undefined
    this.#loading = undefined
  }

  async #load(): Promise<Snapshot> {
    const codes = await channelAccess.all(this.#metadata)
    const entries = (await products.all(this.#metadata)).map(({ value }) => ({
      slug: value.slug,
      defaultChannel: value.default_channel,
      isDefault: value.is_default,
      access: new Map(
        codes
          .filter(({ key }) => key.startsWith(`${value.slug}/`))
          .map(({ key, value: { code_sha256: code } }) => [key.slice(value.slug.length + 1), code]),
      ),
    }))
    const bySlug = new Map(entries.map((entry) => [entry.slug, entry]))
    this.#snapshot = { bySlug, main: entries.find((entry) => entry.isDefault), loadedMs: this.#clock() }
    return this.#snapshot
  }
}
