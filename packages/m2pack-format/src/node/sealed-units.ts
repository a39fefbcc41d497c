import { writeSync } from 'node:fs'
import type { SharedTable } from './shared-table.ts'
import { alignUp } from '../layout.ts'
import { UnitArena } from './unit-arena.ts'

/** A unit that is sealed and waits for its place in the archive. */
interface SealedUnit {
  readonly unit: number
  readonly pieces: readonly SealedPiece[]
  /** All of them, one after the other. */
  readonly bytes: Uint8Array
}

/** The stored bytes of a file, or of a segment of it. */
export interface SealedPiece {
  readonly file: number
  /** Whether the file starts with this piece: it is aligned, and its offset noted. */
  readonly starts: boolean
  readonly stored: Uint8Array
}

/** Where sealed units are written. */
interface SealedUnitsTarget {
  readonly descriptor: number
  readonly align: number
}

/** Sealed units of one thread that wait until the place of the one before them is known. */
export class SealedUnits {
  readonly #table: SharedTable
  readonly #target: SealedUnitsTarget
  readonly #pending: SealedUnit[] = []
  /** Where the unit that is sealed now goes. */
  readonly arena: UnitArena

  /** @param maxBytes - Sealed bytes that may wait in this thread, with those of the unit that is sealed meanwhile. */
  constructor(table: SharedTable, target: SealedUnitsTarget, maxBytes: number) {
    this.#table = table
    this.#target = target
    this.arena = new UnitArena(maxBytes)
  }

  /** Units that wait. */
  get count(): number {
    return this.#pending.length
  }

  /** Lets the unit in the arena wait. */
  add(unit: number, pieces: readonly SealedPiece[]): void {
    this.#pending.push({ unit, pieces, bytes: this.arena.taken })
  }

  /** Writes the units whose place is known. Places follow from path order alone, so bytes do not depend on threads. */
  flush(): void {
    for (let [unit] = this.#pending; unit !== undefined; [unit] = this.#pending) {
      const start = this.#table.start(unit.unit)
      if (start === undefined) return
      this.#pending.shift()
      this.#write(unit, start)
      this.arena.leave()
    }
  }

  #write({ unit, pieces, bytes }: SealedUnit, start: number): void {
    const { align, descriptor } = this.#target
    let end = start
    const places = pieces.map((piece) => {
      if (piece.starts) {
        end = alignUp(end, align)
        this.#table.setOffset(piece.file, end)
      }
      end += piece.stored.length
      return end - piece.stored.length
    })
    this.#table.setEnd(unit, end)
    if (end - start === bytes.length) return writeAt(descriptor, bytes, start)
    // The file was empty: what is not written between aligned payloads is zero.
    for (const [index, { stored }] of pieces.entries()) writeAt(descriptor, stored, places[index] as number)
  }
}

/** Writes all of `bytes`: a full disk takes fewer and says nothing. */
export function writeAt(descriptor: number, bytes: Uint8Array, position: number): void {
  for (let done = 0; done < bytes.length;)
    done += writeSync(descriptor, bytes, done, bytes.length - done, position + done)
}
