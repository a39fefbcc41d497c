import { join } from 'node:path'
import { lockFile, nodeFileSystem, syncFolder, writeAll, writeFileAtomic } from '@keyturn/primitives/node'
import type { FileHandle, FileSystem, Lock } from '@keyturn/primitives/node'
import { VaultError } from '../errors.ts'
import type { RecordId } from '../place.ts'
import { RecordTable } from '../record-table.ts'
import type { TableRow } from '../record-table.ts'
import type {
  CensusRow,
  DocumentWrite,
  Fence,
  ScanQuery,
  StoreChange,
  StoreOutcome,
  StoredRecord,
  VaultStore,
} from '../store.ts'
import { ROWS_PER_FRAME, rowBytes, takeGroup } from './folder-rows.ts'
import type { Body, Waiting } from './folder-rows.ts'
import { frameHeaderBytes, frameHolds, maxFrameBytes, parsePayload, segmentMagic, writeFrame } from './segment.ts'
import type { SegmentEntry } from './segment.ts'
import { named, newestSegment, readAt, segmentName, segmentNumber } from './segment-files.ts'

/** Options of {@link FolderStore.open}. */
export interface FolderStoreOptions {
  /** The segment is rewritten when this share of it is dead and it has `compactMinBytes`; default 0.5. */
  compactGarbage?: number | undefined
  /** Default 8 MiB. */
  compactMinBytes?: number | undefined
  /** How long to wait for another process that has the folder, milliseconds; default 0. */
  lockWaitMs?: number | undefined
  /** Default: the real disk. */
  fs?: FileSystem | undefined
}

/** The newest segment, open and locked. */
interface OpenSegment {
  readonly lock: Lock
  readonly handle: FileHandle
  readonly number: number
}

/**
 * A store in a folder, for one process at a time: one append-only segment of checked frames and an index in memory.
 * A batch is one frame, so it is wholly there or not at all; batches that come in together share one fsync; a torn
 * tail is cut off at the next opening; dead bytes are shed by writing the next segment and removing the last.
 */
export class FolderStore implements VaultStore {
  readonly #folder: string
  readonly #fs: FileSystem
  readonly #lock: Lock
  readonly #options: FolderStoreOptions
  readonly #table = new RecordTable<Body>()
  #handle: FileHandle
  #number: number
  #size = 0
  #liveBytes = 0
  #waiting: Waiting[] = []
  #writing: Promise<void> | undefined
  #broken: unknown
  #reads = new Set<Promise<unknown>>()

  private constructor(folder: string, { lock, handle, number }: OpenSegment, options: FolderStoreOptions) {
    this.#folder = folder
    this.#fs = options.fs ?? nodeFileSystem
    this.#lock = lock
    this.#handle = handle
    this.#number = number
    this.#options = options
  }

  /**
   * Opens or makes a store; the folder is created (mode 0700).
   *
   * @throws VaultError `VK_STORE_BUSY` when another process has it, `VK_STORE_DAMAGED`, `VK_STORE_IO`.
   */
  static async open(folder: string, options: FolderStoreOptions = {}): Promise<FolderStore> {
    const { fs = nodeFileSystem, lockWaitMs = 0 } = options
    return named(async () => {
      await fs.mkdir(folder, { recursive: true, mode: 0o700 })
      const lock = await lockFile(join(folder, 'lock'), { waitMs: lockWaitMs, fs })
      try {
        const number = await newestSegment(folder, fs)
        if (number === 0) await writeFileAtomic(join(folder, segmentName(1)), segmentMagic, { mode: 0o600, fs })
        const handle = await fs.open(join(folder, segmentName(Math.max(1, number))), 'r+')
        const store = new FolderStore(folder, { lock, handle, number: Math.max(1, number) }, options)
        try {
          await store.#load()
        } catch (error) {
          await handle.close()
          throw error
        }
        return store
      } catch (error) {
        await lock.release()
        throw error
      }
    })
  }

  /** See {@link VaultStore.get}. */
  async get(id: RecordId): Promise<StoredRecord | undefined> {
    const row = this.#table.row(id)
    return row === undefined ? undefined : this.#track(() => this.#readRow(row))
  }

  /** See {@link VaultStore.scan}. */
  async scan(query: ScanQuery): Promise<readonly StoredRecord[]> {
    return this.#track(() => Promise.all(this.#table.scan(query).map((row) => this.#readRow(row))))
  }

  /** See {@link VaultStore.census}. */
  async census(): Promise<readonly CensusRow[]> {
    return this.#table.census()
  }

  /** See {@link VaultStore.readDocument}. */
  async readDocument(name: string): Promise<{ bytes: Uint8Array; revision: number } | undefined> {
    return this.#table.document(name)
  }

  /** See {@link VaultStore.readFence}. */
  async readFence(): Promise<Fence | undefined> {
    return this.#table.fence
  }

  /** See {@link VaultStore.apply}. */
  async apply(changes: readonly StoreChange[], document?: DocumentWrite): Promise<readonly StoreOutcome[]> {
    const { promise, resolve, reject } = Promise.withResolvers<readonly StoreOutcome[]>()
    this.#waiting.push({ changes, document, done: resolve, failed: reject })
    this.#writing ??= this.#drain()
    return promise
  }

  /** See {@link VaultStore.forgetOverwritten}: what is alive is written as the next segment, the others are removed. */
  async forgetOverwritten(): Promise<void> {
    while (this.#writing !== undefined) await this.#writing
    if (this.#broken !== undefined) throw this.#broken
    const work = named(() => this.#compact())
    // Batches that come in meanwhile wait in the queue, and are written after it.
    this.#writing = work
      .catch((error: unknown) => {
        if (!(error instanceof VaultError) || error.kind !== 'io') this.#broken = error
      })
      .then(() => {
        this.#writing = undefined
        if (this.#waiting.length > 0) this.#writing = this.#drain()
      })
    await work
  }

  /** Waits for writes, then gives the folder back. */
  async close(): Promise<void> {
    await this.#writing
    await Promise.allSettled(this.#reads)
    this.#broken ??= new VaultError('VK_STORE_IO', 'The store was closed')
    await this.#handle.close()
    await this.#lock.release()
  }

  /** Keeps the segment open while reads of it run. */
  async #track<T>(read: () => Promise<T>): Promise<T> {
    const work = named(read)
    const tracked = work.catch(() => undefined).finally(() => this.#reads.delete(tracked))
    this.#reads.add(tracked)
    return work
  }

  async #readRow(row: TableRow<Body>): Promise<StoredRecord> {
    if (this.#broken !== undefined) throw this.#broken
    const sidecar = row.body.sidecar === undefined ? {} : { sidecar: row.body.sidecar }
    if (row.body.pending !== undefined) return { ...row.record, ...sidecar, envelope: row.body.pending.slice() }
    const envelope = new Uint8Array(row.size)
    const handle = this.#handle // of the segment that the row's offset belongs to, whatever compaction does meanwhile
    for (let done = 0; done < envelope.length;) {
      const { bytesRead } = await handle.read(envelope, done, envelope.length - done, row.body.offset + done)
      if (bytesRead === 0) throw new VaultError('VK_STORE_DAMAGED', `Segment ${this.#number} ends inside a record`)
      done += bytesRead
    }
    return { ...row.record, ...sidecar, envelope }
  }

  async #drain(): Promise<void> {
    // A turn of the event loop lets the batches of one tick share a frame and its fsync.
    await new Promise<void>((resolve) => setImmediate(resolve))
    try {
      while (this.#waiting.length > 0) await this.#writeGroup(takeGroup(this.#waiting))
    } finally {
      this.#writing = undefined
    }
  }

  /**
   * Writes a group as one frame: what is torn by a crash is then always the last frame, and everything before it was
   * durable.
   */
  async #writeGroup(group: readonly Waiting[]): Promise<void> {
    const entries: SegmentEntry[] = []
    const settle = group.map((waiting) => this.#settle(waiting, entries))
    try {
      if (entries.length > 0) await named(() => this.#append(entries))
    } catch (error) {
      // After a failed write or fsync nobody knows what is on the disk: only opening the store again tells.
      this.#broken = error
      for (const { failed } of group) failed(error)
      return
    }
    for (const call of settle) call()
    if (entries.length > 0) await this.#compactIfWorthwhile()
  }

  /** Checks one batch on the table and takes it in; gives back what to tell its caller once it is durable. */
  #settle({ changes, document, done, failed }: Waiting, entries: SegmentEntry[]): () => void {
    try {
      if (this.#broken !== undefined) throw this.#broken
      const { outcomes, accepted } = this.#table.decide(changes, document)
      const mine = accepted.map((change): SegmentEntry =>
        'put' in change
          ? { kind: 'put', record: { ...change.put, revision: change.revision } }
          : { kind: 'remove', partition: change.remove.partition, cell: change.remove.cell, name: change.remove.name },
      )
      if (document !== undefined) {
        const revision = (this.#table.document(document.name)?.revision ?? 0) + 1
        mine.push({
          kind: 'document',
          name: document.name,
          bytes: new Uint8Array(document.bytes),
          revision,
          fence: document.fence,
        })
      }
      for (const entry of mine) this.#take(entry, undefined)
      entries.push(...mine)
      return () => done(outcomes)
    } catch (error) {
      return () => failed(error)
    }
  }

  async #append(entries: readonly SegmentEntry[]): Promise<void> {
    const { bytes, envelopeOffsets } = writeFrame(entries)
    const start = this.#size
    await writeAll(this.#handle, bytes, start)
    await this.#handle.sync()
    this.#size = start + bytes.length
    for (const [index, entry] of entries.entries()) {
      const row = entry.kind === 'put' ? this.#table.row(entry.record) : undefined
      if (row === undefined || entry.kind !== 'put' || row.record.revision !== entry.record.revision) continue
      const { pending: _durableNow, ...body } = row.body
      this.#table.put(row.record, row.size, { ...body, offset: start + (envelopeOffsets[index] ?? 0) })
    }
  }

  /** Takes an entry into the index; without an offset its bytes stay in memory until they are durable. */
  #take(entry: SegmentEntry, envelopeOffset: number | undefined): void {
    if (entry.kind === 'revision') return this.#table.raiseRevision(entry.revision)
    if (entry.kind === 'document') return this.#table.loadDocument(entry.name, entry.bytes, entry.revision, entry.fence)
    const old = this.#table.row(entry.kind === 'put' ? entry.record : entry)
    if (old !== undefined) this.#liveBytes -= rowBytes(old)
    if (entry.kind === 'remove') return void this.#table.remove(entry)
    const { envelope, sidecar, ...columns } = entry.record
    const place =
      envelopeOffset === undefined ? { offset: -1, pending: new Uint8Array(envelope) } : { offset: envelopeOffset }
    const row = {
      record: columns,
      size: envelope.length,
      body: { ...place, ...(sidecar === undefined ? {} : { sidecar }) },
    }
    this.#table.put(row.record, row.size, row.body)
    this.#liveBytes += rowBytes(row)
  }

  /** Reads the segment; a torn last frame is cut off, damage before it is reported. */
  async #load(): Promise<void> {
    const { size } = await this.#handle.stat()
    const magic = await readAt(this.#handle, 0, segmentMagic.length)
    if (!segmentMagic.every((byte, index) => magic[index] === byte)) throw this.#damaged(0)
    let offset = segmentMagic.length
    for (;;) {
      const frame = await this.#readFrame(offset, size)
      if (frame === undefined) break
      this.#takePayload(frame, offset)
      offset += frameHeaderBytes + frame.length
    }
    if (offset < size) await this.#cutTail(offset, size)
    this.#size = offset
    await this.#removeOthers()
  }

  /** The payload of a whole frame at this place. */
  async #readFrame(offset: number, size: number): Promise<Uint8Array | undefined> {
    const header = await readAt(this.#handle, offset, frameHeaderBytes)
    if (header.length < frameHeaderBytes) return undefined
    const length = new DataView(header.buffer).getUint32(0)
    if (length > maxFrameBytes || offset + frameHeaderBytes + length > size) return undefined
    const payload = await readAt(this.#handle, offset + frameHeaderBytes, length)
    return frameHolds(header, payload) ? payload : undefined
  }

  /**
   * Cuts a torn tail off. A whole frame behind the bad bytes shows that they are not a tail: something durable was
   * damaged, and cutting would lose what follows.
   */
  async #cutTail(offset: number, size: number): Promise<void> {
    const tail = await readAt(this.#handle, offset, Math.min(size - offset, maxFrameBytes))
    const view = new DataView(tail.buffer)
    for (let at = 1; at + frameHeaderBytes <= tail.length; at++) {
      const end = at + frameHeaderBytes + view.getUint32(at)
      if (end > tail.length) continue
      if (frameHolds(tail.subarray(at, at + frameHeaderBytes), tail.subarray(at + frameHeaderBytes, end)))
        throw this.#damaged(offset)
    }
    await this.#handle.truncate(offset)
    await this.#handle.sync()
  }

  #takePayload(payload: Uint8Array, frameOffset: number): void {
    try {
      for (const { entry, envelopeOffset } of parsePayload(payload))
        this.#take(entry, frameOffset + frameHeaderBytes + envelopeOffset)
    } catch (cause) {
      throw new VaultError(
        'VK_STORE_DAMAGED',
        `A frame of segment ${this.#number} at offset ${frameOffset} cannot be read`,
        { cause },
      )
    }
  }

  #damaged(offset: number): VaultError {
    return new VaultError('VK_STORE_DAMAGED', `Segment ${this.#number} is damaged at offset ${offset}`, {
      details: { segment: this.#number, offset },
    })
  }

  async #compactIfWorthwhile(): Promise<void> {
    const { compactGarbage = 0.5, compactMinBytes = 8 * 1024 * 1024 } = this.#options
    if (this.#size < compactMinBytes || this.#size - this.#liveBytes < compactGarbage * this.#size) return
    try {
      await named(() => this.#compact())
    } catch (error) {
      // After an I/O error the present segment is still whole, and the next write tries again.
      if (!(error instanceof VaultError) || error.kind !== 'io') this.#broken = error
    }
  }

  /** Writes what is alive as the next segment; its name appears when it is whole and durable. */
  async #compact(): Promise<void> {
    const next = this.#number + 1
    const placed: { row: TableRow<Body>; offset: number }[] = []
    await writeFileAtomic(join(this.#folder, segmentName(next)), this.#snapshot(placed), { mode: 0o600, fs: this.#fs })
    const handle = await this.#fs.open(join(this.#folder, segmentName(next)), 'r+')
    const size = (await handle.stat()).size
    const before = this.#handle
    const reads = [...this.#reads] // of the old segment, by its offsets
    this.#handle = handle
    this.#number = next
    this.#size = size
    for (const { row, offset } of placed) this.#table.put(row.record, row.size, { ...row.body, offset })
    await Promise.allSettled(reads)
    await before.close()
    await this.#removeOthers()
  }

  async *#snapshot(placed: { row: TableRow<Body>; offset: number }[]): AsyncIterable<Uint8Array> {
    yield segmentMagic
    let position = segmentMagic.length
    const documents = [...this.#table.documents()].map(([name, { bytes, revision }], index): SegmentEntry => ({
      kind: 'document',
      name,
      bytes,
      revision,
      fence: index === 0 ? this.#table.fence : undefined,
    }))
    const head = writeFrame([{ kind: 'revision', revision: this.#table.revision }, ...documents]).bytes
    yield head
    position += head.length
    const rows = [...this.#table.rows()]
    for (let start = 0; start < rows.length; start += ROWS_PER_FRAME) {
      const page = rows.slice(start, start + ROWS_PER_FRAME)
      const records = await Promise.all(page.map((row) => this.#readRow(row)))
      const { bytes, envelopeOffsets } = writeFrame(records.map((record) => ({ kind: 'put', record })))
      for (const [index, row] of page.entries()) placed.push({ row, offset: position + (envelopeOffsets[index] ?? 0) })
      yield bytes
      position += bytes.length
    }
  }

  /** Removes older segments and half-written ones. */
  async #removeOthers(): Promise<void> {
    for (const name of await this.#fs.readdir(this.#folder)) {
      const number = segmentNumber(name)
      const leftover = name.startsWith('.segment-') && name.endsWith('.tmp')
      if ((number !== undefined && number < this.#number) || leftover)
        await this.#fs.rm(join(this.#folder, name), { force: true })
    }
    await syncFolder(this.#folder, this.#fs)
  }
}
