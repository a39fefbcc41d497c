import type { StorageView } from '@keyturn/release-client'
import type { ServerContext } from '../context.ts'
import { timestamp } from '../time.ts'
import { blobs as blobRecords } from '../uploads/blobs.ts'
import { uploads as uploadRecords } from '../uploads/uploads.ts'

/** How long the same figures are returned: counting reads every record. */
const FRESH_MS = 30_000

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
    if (this.#last === undefined || now - this.#last.atMs >= FRESH_MS || now < this.#last.atMs) {
      const view = this.#count()
      // A failure is not kept: the next caller asks again.
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
    for await (const page of blobRecords.pages(metadata)) {
      for (const { value } of page) {
        tally.blobs += 1
        tally.bytes += value.size
        if (value.marked_ms === null && value.going !== true) continue
        tally.marked_blobs += 1
        tally.marked_bytes += value.size
      }
    }
    const uploads = (await uploadRecords.all(metadata))
      .map(({ value }) => value)
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
