import type { JsonObject } from '@keyturn/primitives'
import type { MetadataStore } from '../storage/metadata-store.ts'

/** What the public tree must know of a product. */
export interface DirectoryEntry {
  readonly slug: string
  readonly defaultChannel: string
}

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

  /** Changes whenever the products were changed. */
  get generation(): number {
    return this.#generation
  }

  /** The product of this name, or the default one; `null` when there is none, `undefined` when it must be loaded. */
  peek(slug: string | undefined): DirectoryEntry | null | undefined {
    const snapshot = this.#snapshot
    if (snapshot === undefined || this.#clock() - snapshot.loadedMs > 5000) return undefined
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
    const records = await this.#metadata.list('products')
    const entries = records.map(({ value }) => {
      const { slug, default_channel: defaultChannel, is_default: isDefault } = value as JsonObject
      return { slug: String(slug), defaultChannel: String(defaultChannel), isDefault: isDefault === true }
    })
    const bySlug = new Map(entries.map((entry) => [entry.slug, entry]))
    this.#snapshot = { bySlug, main: entries.find((entry) => entry.isDefault), loadedMs: this.#clock() }
    return this.#snapshot
  }
}
