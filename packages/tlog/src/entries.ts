import { concatBytes, Reader, Writer } from '@keyturn/primitives'
import { TlogError } from './errors.ts'
import { MAX_ENTRY_BYTES } from './limits.ts'
import { tilePath } from './tile.ts'
import type { Tile } from './tile.ts'

/**
 * The bytes of a bundle of entries: each is preceded by its length, u16 big-endian.
 *
 * @throws {@link TlogError} `TLOG_LIMIT` for an entry over 65,535 bytes.
 */
export function formatEntries(entries: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const parts = entries.flatMap((entry) => {
    if (entry.length > MAX_ENTRY_BYTES) {
      throw new TlogError('TLOG_LIMIT', `Entry has ${entry.length} bytes, limit ${MAX_ENTRY_BYTES}`)
    }
    return [new Writer(16).u16be(entry.length).finish(), entry]
  })
  return concatBytes(...parts)
}

/**
 * The entries of a bundle; the result are views.
 *
 * @param tile - Which bundle: its width says how many entries there must be.
 * @throws {@link TlogError} `TLOG_TILE`.
 */
export function parseEntries(tile: Tile, bytes: Uint8Array): Uint8Array[] {
  const reader = new Reader(bytes, ({ message }) => new TlogError('TLOG_TILE', `Bundle ${tilePath(tile)}: ${message}`))
  const entries = Array.from({ length: tile.width }, () => reader.bytes(reader.u16be('length of an entry'), 'entry'))
  reader.end()
  return entries
}
