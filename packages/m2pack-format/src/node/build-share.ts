import { createSha256, sha256, utf8Decode } from '@keyturn/primitives'
import { closeSync } from 'node:fs'
import { crc32 } from 'node:zlib'
import { canCarry, placeFile } from '../build-plan.ts'
import { maxStoredSize, readEntry, segmentAt, segmentBytes } from '../entries.ts'
import type { EntryRecord } from '../entries.ts'
import { M2pError } from '../errors.ts'
import type { SlotKey } from '../keys.ts'
import { compressFirstSegment, compressSegment, FileCipher, Scratch } from '../segment.ts'
import { BuildInput, changed } from './build-input.ts'
import type { BuildJob, PreviousPayloads } from './build-job.ts'
import type { Share, Turn } from './share.ts'
import { SealedUnits } from './sealed-units.ts'
import type { SealedPiece } from './sealed-units.ts'
import { SharedProgress, slotKeys } from './shared.ts'
import { FORM, SharedTable } from './shared-table.ts'
import type { Unit } from './shared-table.ts'
import { UnitBuffer } from './unit-buffer.ts'
import { readAt } from './window-reader.ts'

/** Sealed bytes that a thread keeps before it waits for the thread whose unit comes first. */
const MAX_PENDING_BYTES = 8 * 1024 * 1024

/** A thread's share of packing files. */
export class BuildShare implements Share<undefined> {
  readonly #job: BuildJob
  readonly #table: SharedTable
  readonly #slots: Map<number, SlotKey>
  readonly #progress: SharedProgress
  readonly #sealed: SealedUnits
  #buffer = new UnitBuffer()
  readonly #scratch = new Scratch()
  readonly #input: BuildInput

  constructor(job: BuildJob) {
    this.#job = job
    this.#table = new SharedTable(job.table)
    this.#input = new BuildInput({ root: job.root, paths: job.paths, sizes: job.table.sizes })
    this.#sealed = new SealedUnits(this.#table, job)
    this.#slots = slotKeys(job.slots)
    this.#progress = new SharedProgress(job.progress)
  }

  turn(): Turn {
    if (this.#hashNext()) return 'more'
    this.#sealed.flush()
    if (this.#sealed.byteCount > MAX_PENDING_BYTES) return 'blocked'
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

  get #segmentSize(): number {
    return this.#job.table.segmentSize
  }

  /** Hashes one file of several segments; whether there was one left. */
  #hashNext(): boolean {
    const file = this.#table.takeLarge()
    if (file === undefined) return false
    const size = this.#table.size(file)
    const descriptor = this.#input.openLarge(file)
    const hash = createSha256()
    try {
      for (let segment = 0; segment < this.#table.segmentCount(file); segment++) {
        const bytes = this.#readSegment(descriptor, file, segment, size)
        hash.update(bytes)
        this.#table.setCheck(file, segment, crc32(bytes))
      }
    } finally {
      closeSync(descriptor)
    }
    this.#table.setDigest(file, hash.digest())
    this.#table.raiseHashed(file)
    return true
  }

  #readSegment(descriptor: number, file: number, segment: number, size: number): Uint8Array {
    const length = segmentBytes(size, this.#segmentSize, segment)
    return this.#input.read(descriptor, segment * this.#segmentSize, length, this.#input.path(file))
  }

  #seal(number: number): void {
    const unit = this.#table.unit(number)
    const pieces: SealedPiece[] = []
    this.#buffer = this.#sealed.buffer()
    this.#buffer.start(this.#capacity(unit))
    if (unit.segment !== undefined) pieces.push(this.#sealSegment(unit.first, unit.segment))
    else for (let file = unit.first; file < unit.end; file++) pieces.push(this.#sealSmall(file))
    this.#sealed.add(number, pieces, this.#buffer)
  }

  /** Most bytes that a unit can take when sealed. */
  #capacity({ first, end, segment }: Unit): number {
    if (segment !== undefined) return maxStoredSize(this.#segmentSize)
    let capacity = 0
    for (let file = first; file < end; file++) capacity += maxStoredSize(this.#table.size(file))
    return capacity
  }

  #sealSmall(file: number): SealedPiece {
    const plain = this.#input.readSmall(file)
    const digest = sha256(plain)
    this.#table.setDigest(file, digest)
    const { cipher, old } = this.#place(file, digest)
    try {
      const stored = this.#carry(cipher, file, 0, old) ?? this.#sealPlain(cipher, file, 0, plain)
      this.#progress.add(1, plain.length)
      return { file, starts: true, stored }
    } finally {
      cipher.wipe()
    }
  }

  #sealSegment(file: number, segment: number): SealedPiece {
    this.#table.awaitHashed(file)
    const { cipher, old } = this.#place(file, this.#table.digest(file))
    try {
      const stored =
        this.#carry(cipher, file, segment, old) ??
        this.#sealPlain(cipher, file, segment, this.#readAgain(file, segment))
      const isLast = segment === this.#table.segmentCount(file) - 1
      this.#progress.add(isLast ? 1 : 0, segmentBytes(this.#table.size(file), this.#segmentSize, segment))
      return { file, starts: segment === 0, stored }
    } finally {
      cipher.wipe()
    }
  }

  /** Reads a segment that was hashed before, and notices when it is not the same any more. */
  #readAgain(file: number, segment: number): Uint8Array {
    const descriptor = this.#input.openLarge(file)
    try {
      const plain = this.#readSegment(descriptor, file, segment, this.#table.size(file))
      if (crc32(plain) !== this.#table.check(file, segment)) throw changed(this.#input.path(file))
      return plain
    } finally {
      closeSync(descriptor)
    }
  }

  /** Decides the slot of a file, and whether its stored bytes can be carried over. */
  #place(file: number, digest: Uint8Array): { cipher: FileCipher; old: EntryRecord | undefined } {
    const { previous, newest, pathBytes, pathStarts } = this.#job
    const path = pathBytes.subarray(pathStarts[file], pathStarts[file + 1])
    const start = previous?.starts[file] ?? -1
    const entry =
      previous !== undefined && start >= 0 ? readEntry(previous.manifest, start, previous.segmentSize) : undefined
    const { slot, carried } = placeFile(utf8Decode(path), digest, entry, { newest, known: this.#slots })
    this.#table.setSlot(file, slot)
    const carries =
      previous !== undefined &&
      canCarry({ segmentSize: previous.segmentSize, hasPayloads: previous.descriptor >= 0 }, this.#segmentSize)
    const count = this.#table.segmentCount(file)
    const cipher = new FileCipher(this.#slots.get(slot) as SlotKey, path, digest, count).using(this.#scratch)
    return { cipher, old: carries ? carried : undefined }
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
    const room = this.#buffer.room.subarray(0, record.storedSize)
    readAt(previous.descriptor, room, offset)
    if (!cipher.isGenuine(segment, room, record.nonce)) {
      if (count === 1) return undefined
      Atomics.store(previous.damaged, 0, 1)
      throw new M2pError('M2P_DECRYPT', `File "${this.#input.path(file)}" of the previous archive is damaged`)
    }
    if (segment === 0)
      this.#table.raiseForm(file, old.compression === 'zstd' ? FORM.carriedCompressed : FORM.carriedPlain)
    this.#table.setSegment(file, segment, record.storedSize, record.nonce)
    return this.#buffer.take(record.storedSize)
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
    const compressed = segment === 0 ? compressFirstSegment(plain, level) : this.#compressFurther(file, plain)
    if (segment === 0) this.#table.raiseForm(file, compressed === undefined ? FORM.plain : FORM.compressed)
    const { nonce, stored } = cipher.seal(segment, compressed ?? plain, this.#buffer.room)
    this.#table.setSegment(file, segment, stored.length, nonce)
    return this.#buffer.take(stored.length)
  }

  /** Compresses before it is known whether the file is compressed, rather than wait for the thread that finds out. */
  #compressFurther(file: number, plain: Uint8Array): Uint8Array | undefined {
    if (this.#table.form(file) === FORM.plain) return undefined
    const compressed = compressSegment(plain, this.#job.level)
    return this.#table.awaitForm(file) === FORM.plain ? undefined : compressed
  }
}
