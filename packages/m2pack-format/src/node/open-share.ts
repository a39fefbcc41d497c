import { createSha256, equalBytes, printable, sha256, utf8Decode } from '@keyturn/primitives'
import { plainFormAt, readEntry, segmentAt, segmentTotal } from '../entries.ts'
import type { EntryRecord, TableForm } from '../entries.ts'
import { M2pError } from '../errors.ts'
import type { M2pErrorCode } from '../errors.ts'
import { logicalPath } from '../paths.ts'
import type { SlotKey } from '../keys.ts'
import { FileCipher, Scratch } from '../segment.ts'
import type { WholeFile } from '../segment.ts'
import type { Share, StopFlag, Turn } from './share.ts'
import { SafeFolder } from './safe-folder.ts'
import type { Placement } from './safe-folder.ts'
import { SharedProgress, slotKeys } from './shared.ts'
import type { SharedSecrets } from './shared.ts'
import { WindowReader } from './window-reader.ts'

/** One thread's share of verifying or extracting the files of an archive. */
export interface OpenJob {
  readonly kind: 'open'
  /** The archive, open; descriptors belong to the process, not to a thread. */
  readonly descriptor: number
  /** The verified manifest. */
  readonly manifest: Uint8Array<SharedArrayBuffer>
  /** Where in it the entry of each file starts. */
  readonly starts: Float64Array<SharedArrayBuffer>
  /** Where the payload of each file starts. */
  readonly offsets: Float64Array<SharedArrayBuffer>
  /** First file of each batch, and the one after the last. */
  readonly batches: Float64Array<SharedArrayBuffer>
  /** Batches taken in all, from the front, and from the back. */
  readonly next: Int32Array<SharedArrayBuffer>
  readonly form: TableForm
  readonly slots: SharedSecrets
  readonly stop: StopFlag
  readonly progress: BigInt64Array<SharedArrayBuffer>
  /** Where files are written; absent when they are only verified. */
  readonly target: { readonly root: string; readonly placement: Placement } | undefined
}

/** One file that did not verify. */
export interface OpenFailure {
  readonly path: string
  readonly code: M2pErrorCode
  readonly message: string
}

/** A thread's share of opening files. */
export class OpenShare implements Share<readonly OpenFailure[]> {
  readonly #job: OpenJob
  readonly #manifest: Uint8Array
  readonly #slots: Map<number, SlotKey>
  readonly #scratch = new Scratch()
  readonly #reader: WindowReader
  readonly #folder: SafeFolder | undefined
  readonly #progress: SharedProgress
  readonly #failures: OpenFailure[] = []
  readonly #fromBack: boolean

  /**
   * @param fromBack - Takes the smallest batches first: for the main thread, which must not be kept from listening to
   *   signals by a large file while another thread could have it.
   */
  constructor(job: OpenJob, fromBack = false) {
    this.#job = job
    this.#fromBack = fromBack
    this.#manifest = job.manifest
    this.#slots = slotKeys(job.slots)
    this.#reader = new WindowReader(job.descriptor)
    this.#folder = job.target === undefined ? undefined : new SafeFolder(job.target.root)
    this.#progress = new SharedProgress(job.progress)
  }

  turn(): Turn {
    const { next, batches } = this.#job
    const count = batches.length / 2
    if (Atomics.add(next, 0, 1) >= count) return 'done'
    const batch = this.#fromBack ? count - 1 - Atomics.add(next, 2, 1) : Atomics.add(next, 1, 1)
    const first = batches[batch * 2] as number
    const behind = batches[batch * 2 + 1] as number
    const end = this.#endOf(behind - 1)
    let bytes = 0
    for (let index = first; index < behind; index++) bytes += this.#file(index, end)
    this.#progress.add(behind - first, bytes)
    return 'more'
  }

  result(): readonly OpenFailure[] {
    return this.#failures
  }

  close(): void {
    for (const slot of this.#slots.values()) slot.wipe()
    this.#folder?.close()
  }

  #entry(index: number): EntryRecord {
    const { starts, offsets, form } = this.#job
    return readEntry(this.#manifest, { start: starts[index] as number, offset: offsets[index] as number }, form)
  }

  #endOf(index: number): number {
    const entry = this.#entry(index)
    let end = entry.offset
    for (let segment = 0; segment < segmentTotal(entry); segment++) end += segmentAt(entry, segment).storedSize
    return end
  }

  #file(index: number, end: number): number {
    const entry = this.#entry(index)
    try {
      this.#open(entry, end)
    } catch (error) {
      // While extracting the first bad file stops everything; while verifying each one is a line of the report.
      if (this.#folder !== undefined || !(error instanceof M2pError)) throw error
      this.#failures.push({ path: utf8Decode(entry.pathBytes), code: error.code, message: error.message })
    }
    return entry.size
  }

  #open(entry: EntryRecord, end: number): void {
    const count = segmentTotal(entry)
    const slot = this.#slots.get(entry.slot) as SlotKey
    const cipher = new FileCipher(slot, entry.pathBytes, this.#whole(entry, count)).using(this.#scratch)
    try {
      if (count === 1) this.#openSmall(entry, cipher, end)
      else this.#openLarge(entry, cipher, count)
    } finally {
      cipher.wipe()
    }
  }

  #whole({ sha256: digest }: EntryRecord, segmentCount: number): WholeFile | undefined {
    return this.#job.form.version === 1 ? { sha256: digest, segmentCount } : undefined
  }

  #openSmall(entry: EntryRecord, cipher: FileCipher, end: number): void {
    const record = segmentAt(entry, 0)
    const stored = this.#reader.read(entry.offset, record.storedSize, end)
    const plain = cipher.openHashed(0, stored, record, plainFormAt(entry, this.#job.form.segmentSize, 0))
    if (!equalBytes(sha256(plain), entry.sha256)) this.#refuseHash(entry)
    if (this.#folder === undefined) return
    const path = logicalPath(utf8Decode(entry.pathBytes))
    this.#folder.writeFile(path, this.#placement, (write) => write(plain), entry)
  }

  #openLarge(entry: EntryRecord, cipher: FileCipher, count: number): void {
    if (this.#folder === undefined) return this.#segments(entry, cipher, count, () => undefined)
    const path = logicalPath(utf8Decode(entry.pathBytes))
    this.#folder.writeFile(path, this.#placement, (write) => this.#segments(entry, cipher, count, write), entry)
  }

  #segments(entry: EntryRecord, cipher: FileCipher, count: number, take: (bytes: Uint8Array) => void): void {
    const hash = createSha256()
    let { offset } = entry
    for (let index = 0; index < count; index++) {
      if (Atomics.load(this.#job.stop, 0) !== 0) throw new M2pError('M2P_TRUNCATED', 'Stopped')
      const record = segmentAt(entry, index)
      const stored = this.#reader.read(offset, record.storedSize, offset + record.storedSize)
      const plain = cipher.openHashed(index, stored, record, plainFormAt(entry, this.#job.form.segmentSize, index))
      hash.update(plain)
      take(plain)
      offset += record.storedSize
    }
    if (!equalBytes(hash.digest(), entry.sha256)) this.#refuseHash(entry)
  }

  get #placement(): Placement {
    return this.#job.target?.placement ?? 'fresh'
  }

  #refuseHash(entry: EntryRecord): never {
    const path = printable(utf8Decode(entry.pathBytes))
    throw new M2pError('M2P_HASH', `The content of "${path}" does not have the SHA-256 that the manifest names`, {
      details: { path },
    })
  }
}
