import { ContentCutter, createSha256, sha256, utf8Decode } from '@keyturn/primitives'
import { closeSync } from 'node:fs'
import { crc32 } from 'node:zlib'
import { canCarry, cutLengths, placeFile } from '../build-plan.ts'
import { readEntry, segmentAt } from '../entries.ts'
import type { EntryRecord } from '../entries.ts'
import { M2pError } from '../errors.ts'
import type { SlotKey } from '../keys.ts'
import { holds, OldSegments } from '../old-segments.ts'
import type { OldSegment } from '../old-segments.ts'
import { compressIfWorthwhile, compressSegment, FileCipher, Scratch } from '../segment.ts'
import { BuildInput, changed } from './build-input.ts'
import type { BuildJob, PreviousPayloads } from './build-job.ts'
import type { Share, Turn } from './share.ts'
import { SealedUnits } from './sealed-units.ts'
import type { SealedPiece } from './sealed-units.ts'
import { SharedProgress, slotKeys } from './shared.ts'
import { FORM, SharedTable } from './shared-table.ts'
import { readAt } from './window-reader.ts'

/** Sealed bytes in flight, of all threads: then a thread waits for the one whose unit comes first. */
export const MAX_BYTES_IN_FLIGHT = 64 * 1024 * 1024

/** A thread's part of it: at least a unit that waits and one that is sealed meanwhile. */
export function bytesInFlightOf(threads: number, unitCapacity: number): number {
  return Math.max(Math.floor(MAX_BYTES_IN_FLIGHT / threads), 2 * unitCapacity)
}

/** A thread's share of packing files. */
export class BuildShare implements Share<undefined> {
  readonly #job: BuildJob
  readonly #table: SharedTable
  readonly #slots: Map<number, SlotKey>
  readonly #progress: SharedProgress
  readonly #sealed: SealedUnits
  readonly #scratch = new Scratch()
  readonly #input: BuildInput
  /** Segments of the file that was looked at last: its other segments come next. */
  #oldSegments: CutBefore | undefined

  constructor(job: BuildJob) {
    this.#job = job
    this.#table = new SharedTable(job.table)
    this.#input = new BuildInput({ root: job.root, paths: job.paths, sizes: job.table.sizes })
    this.#sealed = new SealedUnits(this.#table, job, bytesInFlightOf(job.threads, this.#table.unitCapacity))
    this.#slots = slotKeys(job.slots)
    this.#progress = new SharedProgress(job.progress)
  }

  turn(): Turn {
    if (this.#hashNext()) return 'more'
    this.#sealed.flush()
    if (!this.#sealed.arena.hasRoom(this.#table.unitCapacity)) return 'blocked'
    const unit = this.#table.takeUnit()
    if (unit !== undefined) {
      this.#seal(unit)
      this.#sealed.flush()
      return 'more'
    }
    return this.#sealed.count > 0 ? 'blocked' : 'done'
  }

  result(): undefined {
    return undefined
  }

  close(): void {
    for (const slot of this.#slots.values()) slot.wipe()
  }

  /** Bytes that are sealed and not yet written. */
  get bytesInFlight(): number {
    return this.#sealed.arena.bytesInFlight
  }

  get #segmentSize(): number {
    return this.#job.table.segmentSize
  }

  /** Hashes one file of several segments; whether there was one left. */
  #hashNext(): boolean {
    const file = this.#table.takeLarge()
    if (file === undefined) return false
    const descriptor = this.#input.openLarge(file)
    try {
      this.#table.setDigest(file, this.#isVersion2 ? this.#cutFile(descriptor, file) : this.#hashFile(descriptor, file))
    } finally {
      closeSync(descriptor)
    }
    this.#table.raiseHashed(file)
    return true
  }

  get #isVersion2(): boolean {
    return this.#job.table.version === 2
  }

  #hashFile(descriptor: number, file: number): Uint8Array {
    const hash = createSha256()
    for (let segment = 0; segment < this.#table.segmentCount(file); segment++) {
      const bytes = this.#readSegment(descriptor, file, segment)
      hash.update(bytes)
      this.#table.setCheck(file, segment, crc32(bytes))
    }
    return hash.digest()
  }

  /** Hashes a file of version 2 and finds where its segments end. */
  #cutFile(descriptor: number, file: number): Uint8Array {
    const hash = createSha256()
    const cutter = new ContentCutter(cutLengths(this.#segmentSize))
    const size = this.#table.size(file)
    let [segment, check] = [0, 0]
    for (let at = 0; at < size; at += this.#segmentSize) {
      const length = Math.min(this.#segmentSize, size - at)
      const bytes = this.#input.read(descriptor, at, length, this.#input.path(file))
      hash.update(bytes)
      for (let from = 0; from < length;) {
        const found = cutter.find(bytes, from, length)
        const end = found < 0 ? length : found
        check = crc32(bytes.subarray(from, end), check)
        from = end
        if (found < 0 && at + end < size) continue
        this.#table.setPlainStart(file, segment, at + end - cutter.pieceBytes)
        this.#table.setCheck(file, segment++, check)
        cutter.reset()
        check = 0
      }
    }
    this.#table.setSegmentCount(file, segment)
    return hash.digest()
  }

  #readSegment(descriptor: number, file: number, segment: number): Uint8Array {
    const [start, length] = [this.#table.plainStart(file, segment), this.#table.plainBytes(file, segment)]
    return this.#input.read(descriptor, start, length, this.#input.path(file))
  }

  #seal(number: number): void {
    const unit = this.#table.unit(number)
    if (unit.segment !== undefined) this.#table.awaitHashed(unit.first)
    const pieces: SealedPiece[] = []
    this.#sealed.arena.start(this.#table.capacity(unit))
    if (unit.segment !== undefined) pieces.push(...this.#sealSegment(unit.first, unit.segment))
    else for (let file = unit.first; file < unit.end; file++) pieces.push(this.#sealSmall(file))
    this.#sealed.add(number, pieces)
  }

  #sealSmall(file: number): SealedPiece {
    const plain = this.#input.readSmall(file)
    const digest = sha256(plain)
    this.#table.setDigest(file, digest)
    const { cipher, old } = this.#place(file, digest)
    try {
      const stored = this.#isVersion2
        ? this.#store2(cipher, { file, segment: 0, old }, () => plain)
        : (this.#carry(cipher, file, 0, old?.entry) ?? this.#sealPlain(cipher, file, 0, plain))
      this.#progress.add(1, plain.length)
      return { file, starts: true, stored }
    } finally {
      cipher.wipe()
    }
  }

  /** One piece, or none when the file turned out to have fewer segments. */
  #sealSegment(file: number, segment: number): readonly SealedPiece[] {
    if (segment >= this.#table.segmentCount(file)) return []
    const { cipher, old } = this.#place(file, this.#table.digest(file))
    try {
      const again = (): Uint8Array => this.#readAgain(file, segment)
      const stored = this.#isVersion2
        ? this.#store2(cipher, { file, segment, old }, again)
        : (this.#carry(cipher, file, segment, old?.entry) ?? this.#sealPlain(cipher, file, segment, again()))
      const isLast = segment === this.#table.segmentCount(file) - 1
      this.#progress.add(isLast ? 1 : 0, this.#table.plainBytes(file, segment))
      return [{ file, starts: segment === 0, stored }]
    } finally {
      cipher.wipe()
    }
  }

  /** Reads a segment that was hashed before, and notices when it is not the same any more. */
  #readAgain(file: number, segment: number): Uint8Array {
    const descriptor = this.#input.openLarge(file)
    try {
      const plain = this.#readSegment(descriptor, file, segment)
      if (crc32(plain) !== this.#table.check(file, segment)) throw changed(this.#input.path(file))
      return plain
    } finally {
      closeSync(descriptor)
    }
  }

  /** Decides the slot of a file, and whether its stored bytes can be carried over. */
  #place(file: number, digest: Uint8Array): { cipher: FileCipher; old: OldFile | undefined } {
    const { previous, newest, pathBytes, pathStarts } = this.#job
    const path = pathBytes.subarray(pathStarts[file], pathStarts[file + 1])
    const start = previous?.starts[file] ?? -1
    const entry =
      previous !== undefined && start >= 0
        ? readEntry(previous.manifest, { start, offset: previous.offsets[file] as number }, previous.form)
        : undefined
    const { slot, carried } = placeFile(utf8Decode(path), digest, entry, { newest, known: this.#slots })
    this.#table.setSlot(file, slot)
    const carries =
      previous !== undefined &&
      previous.descriptor >= 0 &&
      canCarry(previous.form, this.#job.table) &&
      entry !== undefined
    const whole = this.#isVersion2 ? undefined : { sha256: digest, segmentCount: this.#table.segmentCount(file) }
    const cipher = new FileCipher(this.#slots.get(slot) as SlotKey, path, whole).using(this.#scratch)
    const isUnchanged = carried !== undefined
    // In version 1 a file is carried whole or not at all; in version 2 a changed one may keep segments under its slot.
    const isUseful = isUnchanged || (this.#isVersion2 && entry?.slot === slot)
    return { cipher, old: carries && isUseful ? { entry, isUnchanged } : undefined }
  }

  /** The stored bytes of a segment of version 2: those of the previous archive where they are as good, else sealed. */
  #store2(cipher: FileCipher, part: FilePart, readPlain: () => Uint8Array): Uint8Array {
    const { file, segment } = part
    const carried = this.#carrySegment(cipher, part, readPlain)
    if (carried !== undefined) return carried
    const plain = readPlain()
    const bytes = compressIfWorthwhile(plain, this.#job.level) ?? plain
    const { nonce, stored } = cipher.seal(segment, bytes, this.#sealed.arena.room)
    this.#table.setSegment(file, segment, { storedSize: stored.length, nonce })
    return this.#sealed.arena.take(stored.length)
  }

  #carrySegment(cipher: FileCipher, part: FilePart, readPlain: () => Uint8Array): Uint8Array | undefined {
    const { file, segment, old } = part
    if (old === undefined) return undefined
    const { segments, sameCuts } = this.#segmentsOf(file, old.entry)
    const size = this.#table.plainBytes(file, segment)
    // Equal hash, equal cuts: what the publisher sealed there is what is here, and nothing has to be compared.
    const isSame = old.isUnchanged && sameCuts
    const candidates = isSame ? [segments.at(segment, size)] : segments.near(segment, size)
    for (const candidate of candidates) {
      if (candidate === undefined) continue
      const room = this.#readOld(candidate)
      const fits = isSame
        ? cipher.isGenuine(candidate.index, room, candidate.record.nonce)
        : holds(cipher, room, candidate, readPlain())
      if (!fits) continue
      this.#table.setSegment(file, segment, candidate.record)
      this.#table.addCarried(file)
      return this.#sealed.arena.take(room.length)
    }
    return undefined
  }

  #readOld({ offset, record }: OldSegment): Uint8Array {
    const room = this.#sealed.arena.room.subarray(0, record.storedSize)
    readAt((this.#job.previous as PreviousPayloads).descriptor, room, offset)
    return room
  }

  #segmentsOf(file: number, entry: EntryRecord): CutBefore {
    if (this.#oldSegments?.file === file) return this.#oldSegments
    const segments = new OldSegments(entry, this.#segmentSize)
    const count = this.#table.segmentCount(file)
    let sameCuts = segments.count === count
    for (let index = 0; sameCuts && index < count; index++)
      sameCuts = segments.at(index, this.#table.plainBytes(file, index)) !== undefined
    return (this.#oldSegments = { file, segments, sameCuts })
  }

  /**
   * Takes over the stored bytes of an unchanged file, once they are proved to be the publisher's own: each is read and
   * opened once, and the plaintext is not needed. A file is carried whole or not at all.
   */
  #carry(cipher: FileCipher, file: number, segment: number, old: EntryRecord | undefined): Uint8Array | undefined {
    const { previous } = this.#job
    if (old === undefined || previous === undefined) return undefined
    const count = this.#table.segmentCount(file)
    if (previous.checksWhole && count > 1 && !this.#isWholeGenuine(cipher, file, segment, old)) return undefined
    let { offset } = old
    for (let index = 0; index < segment; index++) offset += segmentAt(old, index).storedSize
    const record = segmentAt(old, segment)
    const room = this.#sealed.arena.room.subarray(0, record.storedSize)
    readAt(previous.descriptor, room, offset)
    if (!cipher.isGenuine(segment, room, record.nonce)) {
      if (count === 1) return undefined
      Atomics.store(previous.damaged, 0, 1)
      throw new M2pError('M2P_DECRYPT', `File "${this.#input.path(file)}" of the previous archive is damaged`)
    }
    if (segment === 0)
      this.#table.raiseForm(file, old.compression === 'zstd' ? FORM.carriedCompressed : FORM.carriedPlain)
    this.#table.setSegment(file, segment, record)
    return this.#sealed.arena.take(record.storedSize)
  }

  /** Whether every segment of a large file is genuine: found out with its first one, the others wait for the answer. */
  #isWholeGenuine(cipher: FileCipher, file: number, segment: number, old: EntryRecord): boolean {
    const { previous } = this.#job
    if (segment > 0) return this.#table.awaitForm(file) >= FORM.carriedPlain
    let { offset } = old
    for (let index = 0; index < this.#table.segmentCount(file); index++) {
      const record = segmentAt(old, index)
      const stored = new Uint8Array(record.storedSize)
      readAt((previous as PreviousPayloads).descriptor, stored, offset)
      if (!cipher.isGenuine(index, stored, record.nonce)) return false
      offset += record.storedSize
    }
    return true
  }

  #sealPlain(cipher: FileCipher, file: number, segment: number, plain: Uint8Array): Uint8Array {
    const { level } = this.#job
    const compressed = segment === 0 ? compressIfWorthwhile(plain, level) : this.#compressFurther(file, plain)
    if (segment === 0) this.#table.raiseForm(file, compressed === undefined ? FORM.plain : FORM.compressed)
    const { nonce, stored } = cipher.seal(segment, compressed ?? plain, this.#sealed.arena.room)
    this.#table.setSegment(file, segment, { storedSize: stored.length, nonce })
    return this.#sealed.arena.take(stored.length)
  }

  /** Compresses before it is known whether the file is compressed, rather than wait for the thread that finds out. */
  #compressFurther(file: number, plain: Uint8Array): Uint8Array | undefined {
    if (this.#table.form(file) === FORM.plain) return undefined
    const compressed = compressSegment(plain, this.#job.level)
    return this.#table.awaitForm(file) === FORM.plain ? undefined : compressed
  }
}

/** A file in the previous archive. */
interface OldFile {
  readonly entry: EntryRecord
  /** Whether its SHA-256 is the same. */
  readonly isUnchanged: boolean
}

/** One segment of a file, with what is known of the file before. */
interface FilePart {
  readonly file: number
  readonly segment: number
  readonly old: OldFile | undefined
}

/** How a file was cut in the previous archive. */
interface CutBefore {
  readonly file: number
  readonly segments: OldSegments
  /** Whether it is cut in the same places now. */
  readonly sameCuts: boolean
}
