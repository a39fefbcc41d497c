import { collectBytes, sha256Hex } from '@keyturn/primitives'
import type { BlobStore } from '../storage/blob-store.ts'
import { collection } from '../storage/collection.ts'
import type { Entry as StoredEntry, NewEntry } from '../storage/collection.ts'
import type { MetadataStore } from '../storage/metadata-store.ts'
import { object, text, whole } from '../storage/shape.ts'
import { ServerError } from '../errors.ts'

/** What is stored about a document of the public tree; small ones have their bytes beside it. */
export interface StoredDocument {
  readonly sha256: string
  readonly size: number
}

/** Documents of the public tree, by {@link documentKey}. */
export const documents = collection('documents', object<StoredDocument>({ sha256: text, size: whole }))

/** How long an answer may be cached: forever, a minute, or as short as a head. */
export type Freshness = 'immutable' | 'minute' | 'head'

/** One document of the public tree, ready to be sent. */
export interface PublicDocument {
  readonly sha256: string
  readonly size: number
  readonly etag: string
  readonly contentType: string
  readonly cacheControl: string
  /** Bytes, where they are small enough to be kept in memory. */
  readonly body: Uint8Array | undefined
}

/** Documents up to this size are in the metadata store, larger ones (manifests) in the blob store. */
const MAX_INLINE_DOCUMENT = 256 * 1024

const CACHE_CONTROLS: Readonly<Record<Freshness, string>> = {
  immutable: 'public, max-age=31536000, immutable',
  minute: 'public, max-age=60, must-revalidate',
  head: 'public, max-age=15, must-revalidate',
}

/** Freshness of a document by its name. */
export function freshnessOf(name: string): Freshness {
  if (name === 'head.json' || name === 'kills.json' || name === 'log/checkpoint') return 'head'
  if (name.startsWith('log/tile/')) return 'immutable'
  if (name.endsWith('.sigs.json') || name.startsWith('kel/')) return 'minute'
  if (name.startsWith('roles/')) return 'immutable'
  return name.startsWith('manifests/') && name.endsWith('.json') ? 'immutable' : 'minute'
}

function contentTypeOf(name: string): string {
  if (name.endsWith('.json')) return 'application/json'
  if (name.endsWith('.tlog-proof') || name === 'log/checkpoint' || name === 'log/key')
    return 'text/plain; charset=utf-8'
  return name.endsWith('.cesr') ? 'application/cesr' : 'application/octet-stream'
}

/** Key of a document in the metadata store. */
export function documentKey(product: string, channel: string | undefined, name: string): string {
  return channel === undefined ? `${product}/${name}` : `${product}/channels/${channel}/${name}`
}

/** Name within channel or product of a stored document. */
function nameOfKey(key: string): string {
  const rest = key.slice(key.indexOf('/') + 1)
  return rest.startsWith('channels/') ? rest.split('/').slice(2).join('/') : rest
}

/** Makes the record of a document; bytes above the limit must be in the blob store already. */
export function documentRecord(key: string, bytes: Uint8Array): NewEntry<StoredDocument> {
  const sha256 = sha256Hex(bytes)
  const inline = bytes.length <= MAX_INLINE_DOCUMENT
  return { key, value: { sha256, size: bytes.length }, ...(inline ? { body: bytes } : {}) }
}

/** Options of {@link DocumentCache}. */
export interface DocumentCacheOptions {
  /** Bytes of documents kept in memory; default 128 MiB. */
  readonly maxBytes?: number | undefined
  /** How long a document is used without looking it up again, even when no change was announced; default 5 s. */
  readonly maxAgeMs?: number | undefined
  readonly clock: () => number
}

interface Entry {
  readonly document: PublicDocument | undefined
  readonly loadedMs: number
}

/**
 * The public documents as readers see them: from memory, looked up again when a change is announced (by this or another
 * replica) or after a few seconds, in case an announcement gets lost.
 */
export class DocumentCache {
  readonly #metadata: MetadataStore
  readonly #blobs: BlobStore
  readonly #options: DocumentCacheOptions
  readonly #entries = new Map<string, Entry>()
  readonly #loading = new Map<string, Promise<PublicDocument | undefined>>()
  readonly #unsubscribe: () => void
  #bytes = 0
  #generation = 0

  constructor(metadata: MetadataStore, blobs: BlobStore, options: DocumentCacheOptions) {
    this.#metadata = metadata
    this.#blobs = blobs
    this.#options = options
    this.#unsubscribe = metadata.subscribe((topic) => {
      if (topic === 'documents') this.clear()
    })
  }

  /** Changes whenever everything is forgotten: what was made from a document before is stale. */
  get generation(): number {
    return this.#generation
  }

  /** Forgets everything; the next readers look it up. */
  clear(): void {
    this.#generation += 1
    this.#entries.clear()
    this.#loading.clear()
    this.#bytes = 0
  }

  /**
   * A document that is in memory and fresh, `null` when it is known to be absent, `undefined` when it must be loaded.
   */
  peek(key: string): PublicDocument | null | undefined {
    const entry = this.#entries.get(key)
    if (entry === undefined || this.#options.clock() - entry.loadedMs > (this.#options.maxAgeMs ?? 5000))
      return undefined
    return entry.document ?? null
  }

  /** A document, from memory or from the stores. */
  async get(key: string): Promise<PublicDocument | undefined> {
    const known = this.peek(key)
    if (known !== undefined) return known ?? undefined
    let loading = this.#loading.get(key)
    if (loading === undefined) {
      loading = this.#load(key).finally(() => this.#loading.delete(key))
      this.#loading.set(key, loading)
    }
    return loading
  }

  /** Ends the subscription. */
  close(): void {
    this.#unsubscribe()
    this.clear()
  }

  async #load(key: string): Promise<PublicDocument | undefined> {
    const generation = this.#generation
    const stored = await documents.find(this.#metadata, key)
    const old = this.#entries.get(key)
    const document = stored === undefined ? undefined : await this.#prepare(key, stored, old?.document)
    // A change that was announced while we read wins: then the next reader looks again.
    if (generation === this.#generation) this.#keep(key, document)
    return document
  }

  async #prepare(
    key: string,
    stored: StoredEntry<StoredDocument>,
    old: PublicDocument | undefined,
  ): Promise<PublicDocument> {
    const { sha256, size } = stored.value
    const kept = old?.sha256 === sha256 ? old.body : undefined
    const body = stored.body ?? kept ?? (size <= this.#maxBytes() / 4 ? await this.#readBlob(sha256, size) : undefined)
    const name = nameOfKey(key)
    return {
      sha256,
      size,
      body,
      etag: `"sha256-${sha256}"`,
      contentType: contentTypeOf(name),
      cacheControl: CACHE_CONTROLS[freshnessOf(name)],
    }
  }

  async #readBlob(sha256: string, size: number): Promise<Uint8Array> {
    const damaged = (): ServerError =>
      new ServerError('BLOB_CORRUPT', `Cannot send document: blob ${sha256} is damaged`)
    const bytes = await collectBytes(await this.#blobs.read(sha256), size, damaged)
    if (sha256Hex(bytes) !== sha256) throw damaged()
    return bytes
  }

  #maxBytes(): number {
    return this.#options.maxBytes ?? 128 * 1024 * 1024
  }

  #keep(key: string, document: PublicDocument | undefined): void {
    const size = (document?.body?.length ?? 0) + 512
    const old = this.#entries.get(key)
    if (old !== undefined) this.#bytes -= (old.document?.body?.length ?? 0) + 512
    if (this.#bytes + size > this.#maxBytes()) {
      this.#entries.clear()
      this.#bytes = 0
    }
    this.#entries.set(key, { document, loadedMs: this.#options.clock() })
    this.#bytes += size
  }
}
