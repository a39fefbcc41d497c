import {
  concatBytes,
  ContentCutter,
  createSha256,
  equalBytes,
  printable,
  requireIterable,
  sha256,
} from '@keyturn/primitives'
import { zstd } from '#zstd'
import type { Archive } from './archive.ts'
import type { BuildResult } from './build-result.ts'
import {
  canCarry,
  cutLengths,
  placeFile,
  planFiles,
  releaseSlots,
  resolveFormat,
  resolveSlots,
  storableTime,
} from './build-plan.ts'
import type {
  BuildFile,
  BuildFormatOptions,
  BuildKeys,
  PlannedFile,
  ResolvedFormat,
  WriterSlots,
} from './build-plan.ts'
import { segmentAt, segmentBytes, segmentCountOf, SEGMENT_RECORD_BYTES } from './entries.ts'
import type { ArchiveEntry, Compression, EntryRecord } from './entries.ts'
import { M2pError } from './errors.ts'
import { finishArchive } from './finish.ts'
import { checkKeys, SlotKey } from './keys.ts'
import { alignUp } from './layout.ts'
import { HEADER_BYTES, TAG_BYTES } from './limits.ts'
import { holds, OldSegments } from './old-segments.ts'
import { segmentRecord, segmentRecord2 } from './segment-record.ts'
import { compressIfWorthwhile, compressSegment, FileCipher } from './segment.ts'
import type { SealedSegment } from './segment.ts'
import { checkSink } from './source.ts'
import type { ByteSink } from './source.ts'
import type { Progress } from './verify.ts'
import type { ZstdOptions } from './zstd-codec.ts'

/** Options of {@link buildArchive}. */
export interface BuildOptions extends BuildKeys, BuildFormatOptions, ZstdOptions {
  /**
   * The archive this one follows, opened with its verifier: unchanged files keep their slot and, where its payloads are
   * there, version and segment sizes equal, their stored bytes; in version 2 so do unchanged segments.
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
  requireIterable(files, 'files')
  checkSink(sink)
  checkKeys(options)
  const format = resolveFormat(options)
  const planned = planFiles(files, format.ymirPrefix)
  const slots = resolveSlots(options, options.previous)
  try {
    await zstd.ready(options.zstd)
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
      ...this.#format,
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

  async #read({ path, source }: PlannedFile, start: number, length: number): Promise<Uint8Array> {
    this.#options.signal?.throwIfAborted()
    const bytes = await source.read(start, length)
    if (bytes.length !== length) throw inputChanged(path)
    return bytes
  }

  /** Reads a file once, to learn its SHA-256 and where its segments end. */
  async #cut(file: PlannedFile): Promise<CutFile> {
    const { version, segmentSize } = this.#format
    const { size } = file.source
    if (size <= segmentSize) {
      const only = Uint8Array.from(await this.#read(file, 0, size))
      return { digest: sha256(only), lengths: [size], only }
    }
    const hash = createSha256()
    const cutter = new ContentCutter(cutLengths(segmentSize))
    const lengths: number[] = []
    for (let at = 0; at < size; at += segmentSize) {
      const bytes = await this.#read(file, at, Math.min(segmentSize, size - at))
      hash.update(bytes)
      if (version === 1) continue
      for (let from = 0, end = 0; end >= 0 && from < bytes.length; from = end) {
        end = cutter.find(bytes, from, bytes.length)
        if (end < 0) break
        lengths.push(cutter.pieceBytes)
        cutter.reset()
      }
    }
    if (cutter.pieceBytes > 0) lengths.push(cutter.pieceBytes)
    if (version === 2) return { digest: hash.digest(), lengths }
    const count = segmentCountOf(size, segmentSize)
    const equal = Array.from({ length: count }, (_, index) => segmentBytes(size, segmentSize, index))
    return { digest: hash.digest(), lengths: equal }
  }

  async #add(file: PlannedFile): Promise<void> {
    const { size } = file.source
    const cut = await this.#cut(file)
    const { digest, lengths } = cut
    const { previous } = this.#options
    const old = this.#format.full ? undefined : previous?.find(file.path)
    const { newest, secrets } = this.#slots
    const { slot, carried } = placeFile(file.path, digest, old, { newest, known: secrets })
    if (slot !== this.#slots.newest) this.#keptFiles++
    const start = await this.#pad()
    const { version } = this.#format
    const whole = version === 1 ? { sha256: digest, segmentCount: lengths.length } : undefined
    const cipher = new FileCipher(this.#slotKey(slot), file.pathBytes, whole)
    try {
      const target = { ...cut, file, cipher }
      const stored =
        version === 1
          ? ((await this.#carry(target, carried)) ?? (await this.#seal(target)))
          : await this.#store2(target, old?.slot === slot ? old : undefined)
      const { executable, mtimeMs = 0 } = file
      const attributes = version === 1 ? {} : { executable, mtimeMs: storableTime(mtimeMs) }
      const record = { version, pathBytes: file.pathBytes, offset: start, size, slot, sha256: digest }
      this.#records.push({ ...record, ...attributes, ...stored })
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
    if (previous.manifestOnly || !canCarry(previous, this.#format)) return undefined
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

  /** Seals the segments of a file of version 1. */
  async #seal(target: SealTarget): Promise<StoredForm> {
    const { lengths, cipher } = target
    const segments = new Uint8Array(lengths.length * SEGMENT_RECORD_BYTES)
    let isCompressed = false
    await this.#eachSegment(target, async (plain, index) => {
      const { level } = this.#format
      const compressed =
        index === 0 ? compressIfWorthwhile(plain, level) : isCompressed ? compressSegment(plain, level) : undefined
      if (index === 0) isCompressed = compressed !== undefined
      const { nonce, stored } = cipher.seal(index, compressed ?? plain)
      segments.set(segmentRecord(stored.length, nonce), index * SEGMENT_RECORD_BYTES)
      await this.#write(stored)
    })
    return { compression: isCompressed ? 'zstd' : 'none', segments }
  }

  /**
   * Stores the segments of a file of version 2, each for itself: taken over from the previous archive when it has
   * them, sealed otherwise.
   */
  async #store2(target: SealTarget, old: ArchiveEntry | undefined): Promise<StoredForm> {
    const { cipher } = target
    const before = this.#oldSegments(old)
    const records: Uint8Array[] = []
    let [compression, carriedCount]: [Compression, number] = ['none', 0]
    await this.#eachSegment(target, async (plain, index) => {
      const carried = await this.#carrySegment(cipher, before, { plain, index })
      if (carried !== undefined) carriedCount++
      const { nonce, stored } = carried ?? cipher.seal(index, compressIfWorthwhile(plain, this.#format.level) ?? plain)
      if (stored.length < plain.length + TAG_BYTES) compression = 'zstd'
      records.push(segmentRecord2(plain.length, stored.length, nonce))
      await this.#write(stored)
    })
    if (carriedCount === records.length) this.#carriedFiles++
    return { compression, segments: concatBytes(...records) }
  }

  #oldSegments(old: ArchiveEntry | undefined): OldSegments | undefined {
    const { previous } = this.#options
    if (old === undefined || previous === undefined || previous.manifestOnly) return undefined
    return canCarry(previous, this.#format) ? new OldSegments(old, previous.segmentSize) : undefined
  }

  async #carrySegment(
    cipher: FileCipher,
    before: OldSegments | undefined,
    { plain, index }: { readonly plain: Uint8Array; readonly index: number },
  ): Promise<SealedSegment | undefined> {
    const { previous } = this.#options
    if (before === undefined || previous === undefined) return undefined
    for (const old of before.near(index, plain.length)) {
      const stored = await previous.source.read(old.offset, old.record.storedSize)
      if (holds(cipher, stored, old, plain)) return { nonce: old.record.nonce, stored }
    }
    return undefined
  }

  /** Reads the segments of a file again, and notices when they are not what was hashed. */
  async #eachSegment(
    { file, lengths, digest, only }: SealTarget,
    use: (plain: Uint8Array, index: number) => Promise<void>,
  ): Promise<void> {
    if (only !== undefined) return use(only, 0)
    const hash = createSha256()
    let at = 0
    for (const [index, length] of lengths.entries()) {
      const plain = await this.#read(file, at, length)
      hash.update(plain)
      await use(plain, index)
      at += length
    }
    if (!equalBytes(hash.digest(), digest)) throw inputChanged(file.path)
  }
}

/** What the first reading of a file says. */
interface CutFile {
  readonly digest: Uint8Array
  /** Bytes of plaintext in each segment. */
  readonly lengths: readonly number[]
  /** The one segment of a short file. */
  readonly only?: Uint8Array
}

interface SealTarget extends CutFile {
  readonly file: PlannedFile
  readonly cipher: FileCipher
}

type StoredForm = Pick<EntryRecord, 'compression' | 'segments'>
