import { createSha256, equalBytes, printable, sha256 } from '@keyturn/primitives'
import { zstd } from '#zstd'
import type { Archive } from './archive.ts'
import type { BuildResult } from './build-result.ts'
import { alignUp, canCarry, placeFile, planFiles, releaseSlots, resolveFormat, resolveSlots } from './build-plan.ts'
import type {
  BuildFile,
  BuildFormatOptions,
  BuildKeys,
  PlannedFile,
  ResolvedFormat,
  WriterSlots,
} from './build-plan.ts'
import { SEGMENT_RECORD_BYTES, segmentAt, segmentBytes, segmentCountOf } from './entries.ts'
import type { ArchiveEntry, EntryRecord } from './entries.ts'
import { M2pError } from './errors.ts'
import { finishArchive } from './finish.ts'
import { SlotKey } from './keys.ts'
import { HEADER_BYTES } from './limits.ts'
import { segmentRecord } from './segment-record.ts'
import { compressFirstSegment, compressSegment, FileCipher } from './segment.ts'
import type { ByteSink } from './source.ts'
import type { Progress } from './verify.ts'

/** Options of {@link buildArchive}. */
export interface BuildOptions extends BuildKeys, BuildFormatOptions {
  /**
   * The archive this one follows, opened with its verifier: unchanged files keep their slot and, where its payloads are
   * there and segment sizes equal, their stored bytes.
   */
  readonly previous?: Archive | undefined
  /** Called after every file. */
  readonly onProgress?: ((progress: Progress) => void) | undefined
  /** Stops between two segments, with the signal's reason. */
  readonly signal?: AbortSignal | undefined
}

/** Refuses a file that had another length when it was read again. */
export function inputChanged(path: string): M2pError {
  return new M2pError('M2P_INPUT_CHANGED', `File "${printable(path)}" changed while it was being packed`, {
    details: { path: printable(path) },
  })
}

/**
 * Builds an archive. Equal files, keys, slots and options give equal bytes on any machine with the same zstd.
 *
 * @param files - In any order.
 * @param sink - Gets payloads, manifest, then the header at position 0.
 * @throws {@link M2pError} `M2P_PATH`, `M2P_PATH_COLLISION`, `M2P_LIMIT`, `M2P_INPUT_CHANGED`, `M2P_SLOT_UNKNOWN`.
 */
export async function buildArchive(
  files: Iterable<BuildFile>,
  sink: ByteSink,
  options: BuildOptions,
): Promise<BuildResult> {
  if (typeof (sink as Partial<ByteSink> | undefined)?.write !== 'function')
    throw new TypeError('sink must have write(bytes, position)')
  const format = resolveFormat(options)
  const planned = planFiles(files, format.ymirPrefix)
  const slots = resolveSlots(options, options.previous)
  try {
    await zstd.ready()
    return await new ArchiveBuilder(sink, options, format, slots).build(planned)
  } finally {
    releaseSlots(slots, options.slots)
  }
}

class ArchiveBuilder {
  readonly #sink: ByteSink
  readonly #options: BuildOptions
  readonly #format: ResolvedFormat
  readonly #slots: WriterSlots
  readonly #records: EntryRecord[] = []
  readonly #slotKeys = new Map<number, SlotKey>()
  #offset = HEADER_BYTES
  #carriedFiles = 0
  #keptFiles = 0

  constructor(sink: ByteSink, options: BuildOptions, format: ResolvedFormat, slots: WriterSlots) {
    this.#sink = sink
    this.#options = options
    this.#format = format
    this.#slots = slots
  }

  async build(files: readonly PlannedFile[]): Promise<BuildResult> {
    try {
      return await this.#build(files)
    } finally {
      for (const slot of this.#slotKeys.values()) slot.wipe()
    }
  }

  async #build(files: readonly PlannedFile[]): Promise<BuildResult> {
    const totalBytes = files.reduce((sum, file) => sum + file.source.size, 0)
    let bytes = 0
    for (const [index, file] of files.entries()) {
      await this.#add(file)
      bytes += file.source.size
      this.#options.onProgress?.({ files: index + 1, totalFiles: files.length, bytes, totalBytes })
    }
    const finished = finishArchive(this.#records, this.#offset, this.#options, {
      segmentSize: this.#format.segmentSize,
      slots: this.#slots,
    })
    await this.#sink.write(finished.manifest, this.#offset)
    await this.#sink.write(finished.header, 0)
    return {
      ...finished.result,
      originalBytes: bytes,
      carriedFiles: this.#carriedFiles,
      keptFiles: this.#keptFiles,
    }
  }

  async #readSegment({ path, source }: PlannedFile, index: number): Promise<Uint8Array> {
    this.#options.signal?.throwIfAborted()
    const expected = segmentBytes(source.size, this.#format.segmentSize, index)
    const bytes = await source.read(index * this.#format.segmentSize, expected)
    if (bytes.length !== expected) throw inputChanged(path)
    return bytes
  }

  async #hash(file: PlannedFile, first: Uint8Array, count: number): Promise<Uint8Array> {
    if (count === 1) return sha256(first)
    const hash = createSha256().update(first)
    for (let index = 1; index < count; index++) hash.update(await this.#readSegment(file, index))
    return hash.digest()
  }

  async #add(file: PlannedFile): Promise<void> {
    const { size } = file.source
    const count = segmentCountOf(size, this.#format.segmentSize)
    const first = Uint8Array.from(await this.#readSegment(file, 0))
    const digest = await this.#hash(file, first, count)
    const { previous } = this.#options
    const old = this.#format.full ? undefined : previous?.find(file.path)
    const { newest, secrets } = this.#slots
    const { slot, carried } = placeFile(file.path, digest, old, { newest, known: secrets })
    if (slot !== this.#slots.newest) this.#keptFiles++
    const start = await this.#pad()
    const cipher = new FileCipher(this.#slotKey(slot), file.pathBytes, digest, count)
    try {
      const target = { file, first, count, digest, cipher }
      const stored = (await this.#carry(target, carried)) ?? (await this.#seal(target))
      this.#records.push({ pathBytes: file.pathBytes, offset: start, size, slot, sha256: digest, ...stored })
    } finally {
      cipher.wipe()
    }
  }

  #slotKey(slot: number): SlotKey {
    let key = this.#slotKeys.get(slot)
    if (key === undefined) this.#slotKeys.set(slot, (key = new SlotKey(this.#slots.secrets.get(slot) as Uint8Array)))
    return key
  }

  async #pad(): Promise<number> {
    const start = alignUp(this.#offset, this.#format.align)
    if (start > this.#offset) await this.#sink.write(new Uint8Array(start - this.#offset), this.#offset)
    this.#offset = start
    return start
  }

  async #write(bytes: Uint8Array): Promise<void> {
    await this.#sink.write(bytes, this.#offset)
    this.#offset += bytes.length
  }

  /** Takes over the stored bytes of an unchanged file, once every segment is proved to be the publisher's own. */
  async #carry({ cipher }: SealTarget, old: ArchiveEntry | undefined): Promise<StoredForm | undefined> {
    const { previous } = this.#options
    if (old === undefined || previous === undefined) return undefined
    const { segmentSize, manifestOnly } = previous
    if (!canCarry({ segmentSize, hasPayloads: !manifestOnly }, this.#format.segmentSize)) return undefined
    const start = this.#offset
    let offset = old.offset
    for (let index = 0; index < old.segmentCount; index++) {
      const record = segmentAt(old, index)
      const stored = await previous.source.read(offset, record.storedSize)
      if (!cipher.isGenuine(index, stored, record.nonce)) {
        this.#offset = start
        return undefined
      }
      await this.#write(stored)
      offset += record.storedSize
    }
    this.#carriedFiles++
    return { compression: old.compression, segments: Uint8Array.from(old.segments) }
  }

  async #seal({ file, first, count, digest, cipher }: SealTarget): Promise<StoredForm> {
    const compressedFirst = compressFirstSegment(first, this.#format.level)
    const segments = new Uint8Array(count * SEGMENT_RECORD_BYTES)
    const hash = count === 1 ? undefined : createSha256()
    for (let index = 0; index < count; index++) {
      const plain = index === 0 ? first : await this.#readSegment(file, index)
      hash?.update(plain)
      const compressed = index === 0 ? compressedFirst : compressedFirst && compressSegment(plain, this.#format.level)
      const { nonce, stored } = cipher.seal(index, compressed ?? plain)
      segments.set(segmentRecord(stored.length, nonce), index * SEGMENT_RECORD_BYTES)
      await this.#write(stored)
    }
    if (hash !== undefined && !equalBytes(hash.digest(), digest)) throw inputChanged(file.path)
    return { compression: compressedFirst === undefined ? 'none' : 'zstd', segments }
  }
}

interface SealTarget {
  readonly file: PlannedFile
  readonly first: Uint8Array
  readonly count: number
  readonly digest: Uint8Array
  readonly cipher: FileCipher
}

type StoredForm = Pick<EntryRecord, 'compression' | 'segments'>
