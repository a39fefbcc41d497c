import { equalBytes } from '@keyturn/primitives'
import { plainFormAt, segmentAt, segmentTotal } from './entries.ts'
import type { EntryRecord, PlainForm, SegmentRecord } from './entries.ts'
import { M2pError } from './errors.ts'
import type { FileCipher } from './segment.ts'

/** One segment of the previous archive. */
export interface OldSegment {
  readonly index: number
  /** Of its stored bytes, in the archive. */
  readonly offset: number
  readonly record: SegmentRecord
  readonly form: PlainForm
}

/** Segments of one length that are compared: a file may repeat a length thousands of times. */
const MAX_CANDIDATES = 4

/**
 * The segments of a file in a previous archive of version 2, and which of them a segment of the new file may be:
 * docs/spec/m2pack-v2.md §3.3. Content decides where segments end, so length is a good guess at equal content.
 */
export class OldSegments {
  readonly #segments: readonly OldSegment[]
  readonly #byLength = new Map<number, OldSegment[]>()

  /** @param entry - Of the previous archive, which must be under the slot that the file stays under. */
  constructor(entry: EntryRecord, segmentSize: number) {
    let { offset } = entry
    this.#segments = Array.from({ length: segmentTotal(entry) }, (_, index) => {
      const record = segmentAt(entry, index)
      const segment = { index, offset, record, form: plainFormAt(entry, segmentSize, index) }
      offset += record.storedSize
      return segment
    })
    for (const segment of this.#segments) {
      const { size } = segment.form
      const known = this.#byLength.get(size)
      if (known === undefined) this.#byLength.set(size, [segment])
      else known.push(segment)
    }
  }

  /** How many there are. */
  get count(): number {
    return this.#segments.length
  }

  /** Segment `index`, when it has this length. */
  at(index: number, size: number): OldSegment | undefined {
    const segment = this.#segments[index]
    return segment?.form.size === size ? segment : undefined
  }

  /** Segments of this length, the nearest to `index` first; few of them. */
  near(index: number, size: number): readonly OldSegment[] {
    const known = this.#byLength.get(size) ?? []
    if (known.length <= 1) return known
    const distance = (segment: OldSegment): number => Math.abs(segment.index - index)
    return [...known].sort((left, right) => distance(left) - distance(right)).slice(0, MAX_CANDIDATES)
  }
}

/** Whether stored bytes are the publisher's own and hold exactly `plain`. */
export function holds(cipher: FileCipher, stored: Uint8Array, old: OldSegment, plain: Uint8Array): boolean {
  try {
    return equalBytes(cipher.open(old.index, stored, old.record, old.form), plain)
  } catch (error) {
    if (error instanceof M2pError) return false
    throw error
  }
}
