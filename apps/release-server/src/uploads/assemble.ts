import { OneAtATime, sha256Hex, utf8Encode } from '@keyturn/primitives'
import type { ServerContext } from '../context.ts'
import { ServerError } from '../errors.ts'
import { MAX_BLOB_BYTES } from '../limits.ts'
import type { Piece } from '../storage/blob-store.ts'
import { recordBlob, storedSize } from './blobs.ts'

/** A blob made of pieces of others. */
export interface Assembly {
  /** Of the new blob: it decides whether the pieces were the right ones. */
  readonly sha256: string
  readonly size: number
  /** In order, without gaps. */
  readonly pieces: readonly Piece[]
}

/** Most assemblies of one process that wait or run: each reads and writes as much as its blob is large. */
const MAX_OPEN = 16

interface Workshop {
  readonly queue: OneAtATime
  /**
   * By all that was asked for: a request that is repeated, since its answer was lost, waits for the first. One that
   * names the same blob and other pieces is answered for itself, so that nobody fails with the mistakes of another.
   */
  readonly open: Map<string, Promise<{ created: boolean; size: number }>>
}

const workshops = new WeakMap<ServerContext, Workshop>()

/**
 * Stores a blob that is put together from pieces of stored blobs, and returns whether it was new. As with any blob,
 * nothing is stored unless all of its bytes have the hash that is its name.
 *
 * @throws {@link ServerError} `BLOB_UNKNOWN` when a piece is of a blob that is not stored, `UP_LENGTH` when pieces do
 *   not add up or end beyond their blob, `UP_HASH` when they are not the right ones, `SRV_UNAVAILABLE` when too many
 *   wait.
 */
export async function assembleBlob(
  context: ServerContext,
  assembly: Assembly,
): Promise<{ created: boolean; size: number }> {
  const stored = await storedSize(context, assembly.sha256)
  if (stored === assembly.size) return { created: false, size: stored }
  checkLengths(assembly)
  const workshop = workshops.get(context) ?? { queue: new OneAtATime(), open: new Map() }
  workshops.set(context, workshop)
  const asked = sha256Hex(utf8Encode(JSON.stringify(assembly)))
  const running = workshop.open.get(asked)
  if (running !== undefined) return running
  if (workshop.open.size >= MAX_OPEN)
    throw new ServerError('SRV_UNAVAILABLE', `Cannot assemble blob ${assembly.sha256}: ${MAX_OPEN} others wait`)
  const work = workshop.queue.run(() => assemble(context, assembly)).finally(() => workshop.open.delete(asked))
  workshop.open.set(asked, work)
  return work
}

function checkLengths({ sha256, size, pieces }: Assembly): void {
  let sum = 0
  for (const { length } of pieces) sum += length
  if (sum !== size || size > MAX_BLOB_BYTES)
    throw new ServerError('UP_LENGTH', `Cannot assemble blob ${sha256}: its pieces have ${sum} bytes, expected ${size}`)
}

async function assemble(context: ServerContext, assembly: Assembly): Promise<{ created: boolean; size: number }> {
  const { sha256, size, pieces } = assembly
  // Another list of pieces may have made it while this one waited; its sources may be gone since.
  if ((await storedSize(context, sha256)) === size) return { created: false, size }
  for (const source of new Set(pieces.map((piece) => piece.sha256))) {
    // Renews the lease, too: garbage collection takes no source away while it is read.
    const bytes = await storedSize(context, source, { asSource: true })
    if (bytes === undefined) {
      // Made meanwhile by another process on the same stores.
      if ((await storedSize(context, sha256)) === size) return { created: false, size }
      throw new ServerError('BLOB_UNKNOWN', `Cannot assemble blob ${sha256}: ${source} is not stored`, {
        details: { sha256: source },
      })
    }
    const beyond = pieces.find((piece) => piece.sha256 === source && piece.start + piece.length > bytes)
    if (beyond !== undefined)
      throw new ServerError(
        'UP_LENGTH',
        `Cannot assemble blob ${sha256}: a piece ends at ${beyond.start + beyond.length}, ${source} at ${bytes}`,
      )
  }
  const written = await context.blobs.assemble(sha256, size, pieces)
  await recordBlob(context, sha256, written.size)
  return { created: true, size: written.size }
}
