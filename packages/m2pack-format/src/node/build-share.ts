import { createSha256, equalBytes, printable, sha256, utf8Decode } from '@keyturn/primitives'
import { closeSync } from 'node:fs'
import { crc32 } from 'node:zlib'
import { maxStoredSize, readEntry, SEGMENT_RECORD_BYTES, segmentAt, segmentBytes } from '../entries.ts'
import type { EntryRecord } from '../entries.ts'
import { M2pError } from '../errors.ts'
import type { SlotKey } from '../keys.ts'
import { segmentRecord } from '../segment-record.ts'
import { compressFirstSegment, compressSegment, FileCipher, opensAs } from '../segment.ts'
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
      const stored = this.#carry(cipher, file, 0, old, plain) ?? this.#sealPlain(cipher, file, 0, plain)
      this.#progress.add(1, plain.length)
      return { file, starts: true, stored }
    } finally {
      cipher.wipe()
    }
  }

  #sealSegment(file: number, segment: number): SealedPiece {
    const { sizes, segmentSize, table, firstSegments } = this.#job
    const size = sizes[file] as number
    this.#await(table.hashed, file)
    const digest = new Uint8Array(table.digests.slice(file * 32, file * 32 + 32))
    const count = Math.ceil(size / segmentSize)
    const descriptor = this.#input.openLarge(file)
    const { cipher, old } = this.#place(file, digest, count)
    try {
      const length = segmentBytes(size, segmentSize, segment)
      const plain = this.#input.read(descriptor, segment * segmentSize, length, this.#input.path(file))
      if (crc32(plain) !== table.checks[(firstSegments[file] as number) + segment])
        throw changed(this.#input.path(file))
      const stored = this.#carry(cipher, file, segment, old, plain) ?? this.#sealPlain(cipher, file, segment, plain)
      this.#progress.add(segment === count - 1 ? 1 : 0, length)
      return { file, starts: segment === 0, stored }
    } finally {
      closeSync(descriptor)
      cipher.wipe()
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

  /** Takes over the stored bytes of an unchanged file, after opening them. A file is carried whole or not at all. */
  #carry(
    cipher: FileCipher,
    file: number,
    segment: number,
    old: EntryRecord | undefined,
    plain: Uint8Array,
  ): Uint8Array | undefined {
    if (old === undefined || this.#job.previous === undefined) return undefined
    const { forms } = this.#job.table
    if (segment === 0) {
      const whole = this.#opensWhole(cipher, file, old, plain)
      const carried = old.compression === 'zstd' ? FORM.carriedCompressed : FORM.carriedPlain
      if (!whole) return undefined
      this.#decide(file, carried)
    } else {
      this.#await(forms, file)
      if ((forms[file] as number) < FORM.carriedPlain) return undefined
    }
    let { offset } = old
    for (let index = 0; index < segment; index++) offset += segmentAt(old, index).storedSize
    const record = segmentAt(old, segment)
    const stored = this.#buffer.take(record.storedSize)
    readAt(this.#job.previous.descriptor, stored, offset)
    if (!opensAs(cipher, segment, stored, old, plain)) throw changed(this.#input.path(file))
    this.#record(file, segment, stored.length, record.nonce)
    return stored
  }

  /** Whether every segment of the previous archive's file opens as what is to be packed now. */
  #opensWhole(cipher: FileCipher, file: number, old: EntryRecord, first: Uint8Array): boolean {
    const { previous, segmentSize } = this.#job
    const count = old.segments.length / SEGMENT_RECORD_BYTES
    let { offset } = old
    const hash = createSha256()
    for (let index = 0; index < count; index++) {
      const record = segmentAt(old, index)
      const stored = new Uint8Array(record.storedSize)
      try {
        readAt((previous as PreviousPayloads).descriptor, stored, offset)
        const size = segmentBytes(old.size, segmentSize, index)
        hash.update(cipher.open(index, stored, record, { compression: old.compression, size }, true))
      } catch (error) {
        if (error instanceof M2pError) return false
        throw error
      }
      offset += record.storedSize
    }
    if (count === 1) return equalBytes(hash.digest(), sha256(first))
    return equalBytes(hash.digest(), new Uint8Array(this.#job.table.digests.slice(file * 32, file * 32 + 32)))
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
