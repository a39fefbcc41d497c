import { createSha256, equalBytes, printable, sha256, utf8Decode } from '@keyturn/primitives'
import { closeSync } from 'node:fs'
import { crc32 } from 'node:zlib'
import { maxStoredSize, readEntry, SEGMENT_RECORD_BYTES, segmentAt, segmentBytes } from '../entries.ts'
import type { EntryRecord } from '../entries.ts'
import { M2pError } from '../errors.ts'
import type { SlotKey } from '../keys.ts'
import { segmentRecord } from '../segment-record.ts'
import { compressFirstSegment, compressSegment, FileCipher, Scratch } from '../segment.ts'
import { BuildInput, changed } from './build-input.ts'
import { FORM } from './build-job.ts'
import type { BuildJob, PreviousPayloads } from './build-job.ts'
import type { Share, Turn } from './share.ts'
import { SealedUnits } from './sealed-units.ts'
import type { SealedPiece } from './sealed-units.ts'
import { SharedProgress, slotKeys } from './shared.ts'
import { UnitBuffer } from './unit-buffer.ts'
import { readAt } from './window-reader.ts'

/** Sealed bytes a thread holds back before it waits for the one whose turn it is. */
const MAX_PENDING_BYTES = 8 * 1024 * 1024
/** A thread's share of packing files. */
export class BuildShare implements Share<undefined> {
  readonly #job: BuildJob
  readonly #slots: Map<number, SlotKey>
  readonly #progress: SharedProgress
  readonly #sealed: SealedUnits
  #buffer = new UnitBuffer()
  readonly #scratch = new Scratch()
  readonly #input: BuildInput

  constructor(job: BuildJob) {
    this.#job = job
    this.#input = new BuildInput(job)
    this.#sealed = new SealedUnits(job)
    this.#slots = slotKeys(job.slots)
    this.#progress = new SharedProgress(job.progress)
  }

  turn(): Turn {
    if (this.#hashNext()) return 'more'
    this.#sealed.flush()
    if (this.#sealed.byteCount > MAX_PENDING_BYTES) return 'blocked'
    const unit = Atomics.add(this.#job.next, 1, 1)
    if (unit * 3 < this.#job.units.length) {
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

  /** Hashes one file of several segments; whether there was one left. */
  #hashNext(): boolean {
    const { large, next, table, sizes, segmentSize, firstSegments } = this.#job
    if (Atomics.load(next, 0) >= large.length) return false
    const index = Atomics.add(next, 0, 1)
    if (index >= large.length) return false
    const file = large[index] as number
    const size = sizes[file] as number
    const descriptor = this.#input.openLarge(file)
    const hash = createSha256()
    try {
      for (let segment = 0; segment * segmentSize < size; segment++) {
        const bytes = this.#input.read(
          descriptor,
          segment * segmentSize,
          segmentBytes(size, segmentSize, segment),
          this.#input.path(file),
        )
        hash.update(bytes)
        table.checks[(firstSegments[file] as number) + segment] = crc32(bytes)
      }
    } finally {
      closeSync(descriptor)
    }
    table.digests.set(hash.digest(), file * 32)
    Atomics.store(table.hashed, file, 1)
    Atomics.notify(table.hashed, file)
    return true
  }

  #seal(unit: number): void {
    const { units } = this.#job
    const first = units[unit * 3] as number
    const behind = units[unit * 3 + 1] as number
    const segment = units[unit * 3 + 2] as number
    const pieces: SealedPiece[] = []
    this.#buffer = this.#sealed.buffer()
    this.#buffer.start(this.#capacity(first, behind, segment))
    if (segment >= 0) pieces.push(this.#sealSegment(first, segment))
    else for (let file = first; file < behind; file++) pieces.push(this.#sealSmall(file))
    this.#sealed.add(unit, pieces, this.#buffer)
  }

  /** Most bytes that a unit can take when sealed. */
  #capacity(first: number, behind: number, segment: number): number {
    if (segment >= 0) return maxStoredSize(this.#job.segmentSize)
    let capacity = 0
    for (let file = first; file < behind; file++) capacity += maxStoredSize(this.#job.sizes[file] as number)
    return capacity
  }

  #sealSmall(file: number): SealedPiece {
    const plain = this.#input.readSmall(file)
    const digest = sha256(plain)
    this.#job.table.digests.set(digest, file * 32)
    const { cipher, old } = this.#place(file, digest, 1)
    try {
      const stored = this.#carry(cipher, file, 0, old) ?? this.#sealPlain(cipher, file, 0, plain)
      this.#progress.add(1, plain.length)
      return { file, starts: true, stored }
    } finally {
      cipher.wipe()
    }
  }

  #sealSegment(file: number, segment: number): SealedPiece {
    const { sizes, segmentSize, table } = this.#job
    const size = sizes[file] as number
    this.#await(table.hashed, file)
    const digest = new Uint8Array(table.digests.slice(file * 32, file * 32 + 32))
    const count = Math.ceil(size / segmentSize)
    const { cipher, old } = this.#place(file, digest, count)
    try {
      const length = segmentBytes(size, segmentSize, segment)
      const stored =
        this.#carry(cipher, file, segment, old) ??
        this.#sealPlain(cipher, file, segment, this.#readAgain(file, segment, length))
      this.#progress.add(segment === count - 1 ? 1 : 0, length)
      return { file, starts: segment === 0, stored }
    } finally {
      cipher.wipe()
    }
  }

  /** Reads a segment that was hashed before, and notices when it is not the same any more. */
  #readAgain(file: number, segment: number, length: number): Uint8Array {
    const { segmentSize, table, firstSegments } = this.#job
    const descriptor = this.#input.openLarge(file)
    try {
      const plain = this.#input.read(descriptor, segment * segmentSize, length, this.#input.path(file))
      if (crc32(plain) !== table.checks[(firstSegments[file] as number) + segment])
        throw changed(this.#input.path(file))
      return plain
    } finally {
      closeSync(descriptor)
    }
  }

  /** Waits until another thread has set a flag. Whoever is to set it never waits for us. */
  #await(flags: Int32Array<SharedArrayBuffer>, index: number): void {
    while (Atomics.load(flags, index) === 0) {
      if (Atomics.load(this.#job.stop, 0) !== 0) throw new M2pError('M2P_INPUT_CHANGED', 'Stopped')
      Atomics.wait(flags, index, 0, 20)
    }
  }

  #place(file: number, digest: Uint8Array, count: number): { cipher: FileCipher; old: EntryRecord | undefined } {
    const { table, previous, newest, pathBytes, pathStarts } = this.#job
    const path = pathBytes.subarray(pathStarts[file], pathStarts[file + 1])
    const start = previous?.starts[file] ?? -1
    const old =
      previous !== undefined && start >= 0 ? readEntry(previous.manifest, start, previous.segmentSize) : undefined
    const same = old !== undefined && equalBytes(old.sha256, digest) ? old : undefined
    const slot = same?.slot ?? newest
    const key = this.#slots.get(slot)
    if (key === undefined) {
      throw new M2pError(
        'M2P_SLOT_UNKNOWN',
        `File "${printable(utf8Decode(path))}" lies under slot ${slot}, which was not given`,
        { details: { slot } },
      )
    }
    table.slots[file] = slot
    const carries = previous !== undefined && previous.descriptor >= 0 && previous.segmentSize === this.#job.segmentSize
    return { cipher: new FileCipher(key, path, digest, count), old: carries ? same : undefined }
  }

  /**
   * Takes over the stored bytes of an unchanged file, once they are proved to be the publisher's own: each is read and
   * opened once, and the plaintext is not needed. A file is carried whole or not at all.
   */
  #carry(cipher: FileCipher, file: number, segment: number, old: EntryRecord | undefined): Uint8Array | undefined {
    const { previous, table } = this.#job
    if (old === undefined || previous === undefined) return undefined
    const count = old.segments.length / SEGMENT_RECORD_BYTES
    if (previous.checksWhole && count > 1 && !this.#isWholeGenuine(cipher, file, segment, old)) return undefined
    let { offset } = old
    for (let index = 0; index < segment; index++) offset += segmentAt(old, index).storedSize
    const record = segmentAt(old, segment)
    const room = this.#buffer.room.subarray(0, record.storedSize)
    readAt(previous.descriptor, room, offset)
    if (!cipher.isGenuine(segment, room, record.nonce, this.#scratch)) {
      if (count === 1) return undefined
      Atomics.store(previous.damaged, 0, 1)
      throw new M2pError('M2P_DECRYPT', `File "${this.#input.path(file)}" of the previous archive is damaged`)
    }
    if (segment === 0) this.#decide(file, old.compression === 'zstd' ? FORM.carriedCompressed : FORM.carriedPlain)
    // The record may lie in memory of the previous manifest, which all threads see.
    table.segments.set(
      segmentRecord(record.storedSize, record.nonce),
      ((this.#job.firstSegments[file] as number) + segment) * SEGMENT_RECORD_BYTES,
    )
    return this.#buffer.take(record.storedSize)
  }

  /** Whether every segment of a large file is genuine: found out with its first one, the others wait for the answer. */
  #isWholeGenuine(cipher: FileCipher, file: number, segment: number, old: EntryRecord): boolean {
    const { previous, table } = this.#job
    if (segment > 0) {
      this.#await(table.forms, file)
      return (table.forms[file] as number) >= FORM.carriedPlain
    }
    let { offset } = old
    const count = old.segments.length / SEGMENT_RECORD_BYTES
    for (let index = 0; index < count; index++) {
      const record = segmentAt(old, index)
      const stored = new Uint8Array(record.storedSize)
      readAt((previous as PreviousPayloads).descriptor, stored, offset)
      if (!cipher.isGenuine(index, stored, record.nonce, this.#scratch)) return false
      offset += record.storedSize
    }
    return true
  }

  #sealPlain(cipher: FileCipher, file: number, segment: number, plain: Uint8Array): Uint8Array {
    const { level } = this.#job
    const compressed = segment === 0 ? compressFirstSegment(plain, level) : this.#compressFurther(file, plain)
    if (segment === 0) this.#decide(file, compressed === undefined ? FORM.plain : FORM.compressed)
    const { nonce, stored } = cipher.seal(segment, compressed ?? plain, this.#buffer.room)
    this.#record(file, segment, stored.length, nonce)
    return this.#buffer.take(stored.length)
  }

  /** Compresses before it is known whether the file is compressed, rather than wait for the thread that finds out. */
  #compressFurther(file: number, plain: Uint8Array): Uint8Array | undefined {
    const { forms } = this.#job.table
    if (Atomics.load(forms, file) === FORM.plain) return undefined
    const compressed = compressSegment(plain, this.#job.level)
    this.#await(forms, file)
    return Atomics.load(forms, file) === FORM.plain ? undefined : compressed
  }

  #decide(file: number, form: number): void {
    Atomics.store(this.#job.table.forms, file, form)
    Atomics.notify(this.#job.table.forms, file)
  }

  #record(file: number, segment: number, storedSize: number, nonce: Uint8Array): void {
    const at = ((this.#job.firstSegments[file] as number) + segment) * SEGMENT_RECORD_BYTES
    this.#job.table.segments.set(segmentRecord(storedSize, nonce), at)
  }
}
