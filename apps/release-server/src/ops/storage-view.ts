import { timestamp } from '../time.ts'
import type { StorageView } from '@keyturn/release-client'
import { storedBlob } from '../uploads/blobs.ts'
import type { ServerContext } from '../context.ts'
import type { Upload } from '../uploads/uploads.ts'

const pageSize = 10_000
/** How long the figures are given again: counting reads every record. */
const freshMs = 30_000

/** Counts what the stores hold, for the dashboard; at most twice a minute. */
export class StorageFigures {
  readonly #context: ServerContext
  #last: { readonly atMs: number; readonly view: Promise<StorageView> } | undefined

  constructor(context: ServerContext) {
    this.#context = context
  }

  /** The figures, at most half a minute old. */
  view(): Promise<StorageView> {
    const now = this.#context.clock()
    if (this.#last === undefined || now - this.#last.atMs >= freshMs || now < this.#last.atMs) {
      const view = this.#count()
      // A failure is not kept: the next one asks again.
      view.catch(() => {
        this.#last = undefined
      })
      this.#last = { atMs: now, view }
    }
    return this.#last.view
  }

  async #count(): Promise<StorageView> {
    const { blobs, metadata, clock } = this.#context
    const tally = { blobs: 0, bytes: 0, marked_blobs: 0, marked_bytes: 0 }
    for (let after: string | undefined; ;) {
      const page = await metadata.list('blobs', { limit: pageSize, ...(after === undefined ? {} : { after }) })
      for (const { value } of page) {
        const { size, marked_ms: marked, going } = storedBlob(value)
        tally.blobs += 1
        tally.bytes += size
        if (marked === null && going !== true) continue
        tally.marked_blobs += 1
        tally.marked_bytes += size
      }
      after = page.at(-1)?.key
      if (page.length < pageSize) break
    }
    const uploads = (await metadata.list('uploads', { limit: pageSize }))
      .map(({ value }) => value as unknown as Upload)
      .filter(({ done, expires_ms: end }) => !done && end > clock())
    return {
      blob_store: blobs.kind,
      metadata_store: metadata.kind,
      ...tally,
      open_uploads: uploads.length,
      open_upload_bytes: uploads.reduce((sum, { offset }) => sum + offset, 0),
      free_bytes: (await blobs.freeBytes?.()) ?? null,
      counted_at: timestamp(clock()),
    }
  }
}
