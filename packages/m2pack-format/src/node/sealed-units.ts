import { writeSync } from 'node:fs'
import type { SharedTable } from './shared-table.ts'
import { alignUp } from '../layout.ts'
import { UnitBuffer } from './unit-buffer.ts'

/** A unit that is sealed and waits for its place in the archive. */
interface SealedUnit {
  readonly unit: number
  readonly pieces: readonly SealedPiece[]
  readonly buffer: UnitBuffer
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
  #pendingBytes = 0
  /** Buffers of units that were written. */
  readonly #spare: UnitBuffer[] = []

  constructor(table: SharedTable, target: SealedUnitsTarget) {
    this.#table = table
    this.#target = target
  }

  /** Units that wait. */
  get count(): number {
    return this.#pending.length
  }

  /** Sealed bytes that wait. */
  get byteCount(): number {
    return this.#pendingBytes
  }

  /** A buffer for the next unit. */
  buffer(): UnitBuffer {
    return this.#spare.pop() ?? new UnitBuffer()
  }

  /** Lets a sealed unit wait. */
  add(unit: number, pieces: readonly SealedPiece[], buffer: UnitBuffer): void {
    this.#pending.push({ unit, pieces, buffer })
    this.#pendingBytes += buffer.bytes.length
  }

  /** Writes the units whose place is known. Places follow from path order alone, so bytes do not depend on threads. */
  flush(): void {
    for (let [unit] = this.#pending; unit !== undefined; [unit] = this.#pending) {
      const start = this.#table.start(unit.unit)
      if (start === undefined) return
      this.#pending.shift()
      this.#pendingBytes -= unit.buffer.bytes.length
      this.#write(unit, start)
      this.#spare.push(unit.buffer)
    }
  }

  #write({ unit, pieces, buffer }: SealedUnit, start: number): void {
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
    if (end - start === buffer.bytes.length) return writeAt(descriptor, buffer.bytes, start)
    // The file was empty: what is not written between aligned payloads is zero.
    for (const [index, { stored }] of pieces.entries()) writeAt(descriptor, stored, places[index] as number)
  }
}

/** Writes all of `bytes`: a full disk takes fewer and says nothing. */
export function writeAt(descriptor: number, bytes: Uint8Array, position: number): void {
  for (let done = 0; done < bytes.length;)
    done += writeSync(descriptor, bytes, done, bytes.length - done, position + done)
}
