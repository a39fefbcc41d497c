import { equalBytes } from '@keyturn/primitives'
import type { TreeHead } from './checkpoint.ts'
import { parseEntries } from './entries.ts'
import { TlogError } from './errors.ts'
import { Frontier } from './frontier.ts'
import type { FrontierState } from './frontier.ts'
import { TILE_WIDTH } from './limits.ts'
import { hashLeaf } from './merkle.ts'
import { tileAt } from './tile.ts'
import type { Tile } from './tile.ts'
import type { TileSource } from './tree.ts'

/** What is new in a log since it was read last. */
export interface Followed {
  /** The new entries, in order. */
  readonly entries: readonly Uint8Array[]
  /** Keep it, to go on from here. */
  readonly state: FrontierState
}

/** Entries of a bundle that may have come wider than it was asked for. */
function atLeast(tile: Tile, bytes: Uint8Array): Uint8Array[] {
  try {
    return parseEntries(tile, bytes)
  } catch (error) {
    if (tile.width === TILE_WIDTH) throw error
    return parseEntries({ ...tile, width: TILE_WIDTH }, bytes).slice(0, tile.width)
  }
}

/**
 * Reads all entries of a log that are new since `state`, and proves that they, and nothing else, were appended: their
 * hashes after the old tree must give the root of the new one.
 *
 * @param head - Size and root of a checkpoint that was verified.
 * @param state - What was kept the last time. Default: nothing was read yet.
 * @throws {@link TlogError} `TLOG_CONSISTENCY` when the log was rewritten or shows another tree than before;
 *   `TLOG_TILE` for a malformed bundle.
 */
export async function followLog(source: TileSource, head: TreeHead, state?: FrontierState): Promise<Followed> {
  const frontier = new Frontier(state)
  const start = frontier.size
  if (head.size < start) {
    throw new TlogError('TLOG_CONSISTENCY', `Log has ${head.size} entries and had ${start} before`)
  }
  const entries: Uint8Array[] = []
  while (frontier.size < head.size) {
    const index = Math.floor(frontier.size / TILE_WIDTH)
    const tile = tileAt('entries', index, head.size) as Tile
    const bundle = atLeast(tile, await source.read(tile))
    for (const entry of bundle.slice(frontier.size - index * TILE_WIDTH)) {
      entries.push(entry)
      frontier.append(hashLeaf(entry))
    }
  }
  if (!equalBytes(frontier.root(), head.root)) {
    throw new TlogError(
      'TLOG_CONSISTENCY',
      `The ${head.size} entries of the log do not give the root of its checkpoint`,
    )
  }
  return { entries, state: frontier.state }
}
