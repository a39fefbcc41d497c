import { M2pError } from '../errors.ts'
import { maxStoredSize, recordBytesOf, segmentBytes, segmentCountOf } from '../entries.ts'
import { HEADER_BYTES } from '../limits.ts'
import { segmentRecord, segmentRecord2 } from '../segment-record.ts'
import type { FormatVersion } from '../version.ts'
import type { SegmentRecord } from '../entries.ts'
import type { StopFlag } from './share.ts'
import { shareNumbers } from './shared.ts'

// What the threads of one build share: the plan of the work, which nobody changes, and its results, each of which one
// thread writes and others read.
//
// How threads wait for each other. A result that others wait for has a flag of its own, 0 until it is there: whether a
// large file is hashed, how a file is stored (FORM), where a unit ends. The thread that produces the result writes it
// first, then sets the flag (Atomics.store) and wakes those who wait (Atomics.notify); a thread that has seen the flag
// therefore sees the result. Nobody waits in a circle: hashing waits for nothing, the first segment of a file waits for
// its hash only, a later segment for the first, and the place of a unit for the unit before it. Large files are all
// taken to be hashed before the first unit is, and units are taken in order, so whatever a thread waits for is in the
// hands of another one. Every wait ends when `stop` is set.

/** How a file of version 1 is stored. */
export const FORM = { undecided: 0, plain: 1, compressed: 2, carriedPlain: 3, carriedCompressed: 4 } as const

const UNIT_FIELDS = 3
const DIGEST_BYTES = 32
/** A segment of version 2 is at most so many times the average. */
const LONGEST_SEGMENT = 4
/** A wait is only ever this long, so that a stop is noticed. */
const WAIT_MS = 20

/** The memory behind a {@link SharedTable}: what goes to the other threads. */
export interface SharedTableMemory {
  readonly version: FormatVersion
  readonly segmentSize: number
  readonly sizes: Float64Array<SharedArrayBuffer>
  /** Index of each file's first segment among all, with as much room as the file may need. */
  readonly firstSegments: Float64Array<SharedArrayBuffer>
  /** Files of several segments, largest first. */
  readonly large: Float64Array<SharedArrayBuffer>
  /** First file, file after the last, and segment of a large file or -1, of each unit. */
  readonly units: Float64Array<SharedArrayBuffer>
  /** Most bytes that any unit takes when it is sealed. */
  readonly unitCapacity: number
  /** The next large file to be hashed, and the next unit. */
  readonly next: Int32Array<SharedArrayBuffer>
  /** Where each unit's payload ends, 0 until known. */
  readonly ends: BigInt64Array<SharedArrayBuffer>
  readonly offsets: Float64Array<SharedArrayBuffer>
  readonly slots: Float64Array<SharedArrayBuffer>
  readonly forms: Int32Array<SharedArrayBuffer>
  /** How many segments each file has; of a large file of version 2 only when it is hashed. */
  readonly counts: Float64Array<SharedArrayBuffer>
  /** Where in its file each segment of version 2 starts. */
  readonly plainStarts: Float64Array<SharedArrayBuffer>
  /** How many segments of each file of version 2 were taken over from the previous archive. */
  readonly carried: Int32Array<SharedArrayBuffer>
  readonly digests: Uint8Array<SharedArrayBuffer>
  /** Records of every segment, file after file. */
  readonly segments: Uint8Array<SharedArrayBuffer>
  readonly checks: Uint32Array<SharedArrayBuffer>
  readonly hashed: Int32Array<SharedArrayBuffer>
  readonly stop: StopFlag
}

/**
 * A piece of work: some small files side by side, or one segment of a large file. In version 2 nobody knows how many
 * segments there will be: the last units of a file may turn out to have nothing to do.
 */
export interface Unit {
  readonly first: number
  /** The file after the last one. */
  readonly end: number
  /** Undefined for small files. */
  readonly segment: number | undefined
}

/** Plaintext of small files that one thread takes at a time. */
const UNIT_BYTES = 1024 * 1024
const UNIT_FILES = 64

/** How a table is planned. */
export interface TablePlan {
  readonly version: FormatVersion
  readonly segmentSize: number
  readonly stop: StopFlag
}

/** Most segments that a file can have. */
function mostSegments(size: number, { version, segmentSize }: TablePlan): number {
  if (version === 1 || size <= segmentSize) return segmentCountOf(size, segmentSize)
  return Math.ceil(size / (segmentSize / 4))
}

/** Units of work in archive order. */
function planUnits(sizes: readonly number[], plan: TablePlan): number[] {
  const units: number[] = []
  let first = 0
  let bytes = 0
  const close = (end: number): void => {
    if (end > first) units.push(first, end, -1)
    first = end
    bytes = 0
  }
  for (const [file, size] of sizes.entries()) {
    const count = mostSegments(size, plan)
    if (count > 1 || bytes + size > UNIT_BYTES || file - first >= UNIT_FILES) close(file)
    bytes += size
    if (count === 1) continue
    for (let segment = 0; segment < count; segment++) units.push(file, file + 1, segment)
    first = file + 1
    bytes = 0
  }
  close(sizes.length)
  return units
}

/** Most bytes that small files take when they are sealed as one unit. */
function sealedBytes(sizes: ArrayLike<number>, first: number, end: number): number {
  let capacity = 0
  for (let file = first; file < end; file++) capacity += maxStoredSize(sizes[file] as number)
  return capacity
}

function capacityOf(units: readonly number[], sizes: readonly number[], { version, segmentSize }: TablePlan): number {
  const longest = version === 1 ? segmentSize : LONGEST_SEGMENT * segmentSize
  let capacity = 0
  for (let at = 0; at < units.length; at += UNIT_FIELDS) {
    const [first, end, segment] = units.slice(at, at + UNIT_FIELDS) as [number, number, number]
    const bytes =
      segment < 0 ? sealedBytes(sizes, first, end) : maxStoredSize(Math.min(longest, sizes[first] as number))
    capacity = Math.max(capacity, bytes)
  }
  return capacity
}

/** The plan and the results of one build, by name, in memory that all its threads see. */
export class SharedTable {
  readonly memory: SharedTableMemory

  /** @param memory - Of another thread's table. */
  constructor(memory: SharedTableMemory) {
    this.memory = memory
  }

  /** Plans the packing of files of these sizes, in archive order. */
  static plan(sizes: readonly number[], plan: TablePlan): SharedTable {
    const { version, segmentSize, stop } = plan
    const counts = sizes.map((size) => mostSegments(size, plan))
    const firstSegments: number[] = []
    let segmentTotal = 0
    for (const count of counts) {
      firstSegments.push(segmentTotal)
      segmentTotal += count
    }
    const large = [...sizes.keys()].filter((file) => (counts[file] as number) > 1)
    large.sort((left, right) => (sizes[right] as number) - (sizes[left] as number))
    const units = planUnits(sizes, plan)
    const ends = new BigInt64Array(new SharedArrayBuffer((units.length / UNIT_FIELDS + 1) * 8))
    ends[0] = BigInt(HEADER_BYTES)
    const files = sizes.length
    return new SharedTable({
      version,
      segmentSize,
      sizes: shareNumbers(sizes),
      firstSegments: shareNumbers(firstSegments),
      large: shareNumbers(large),
      units: shareNumbers(units),
      unitCapacity: capacityOf(units, sizes, plan),
      next: new Int32Array(new SharedArrayBuffer(8)),
      ends,
      offsets: new Float64Array(new SharedArrayBuffer(files * 8)),
      slots: new Float64Array(new SharedArrayBuffer(files * 8)),
      forms: new Int32Array(new SharedArrayBuffer(files * 4)),
      digests: new Uint8Array(new SharedArrayBuffer(files * DIGEST_BYTES)),
      counts: shareNumbers(counts),
      plainStarts: new Float64Array(new SharedArrayBuffer(version === 1 ? 0 : segmentTotal * 8)),
      carried: new Int32Array(new SharedArrayBuffer(version === 1 ? 0 : files * 4)),
      segments: new Uint8Array(new SharedArrayBuffer(segmentTotal * recordBytesOf(version))),
      checks: new Uint32Array(new SharedArrayBuffer(segmentTotal * 4)),
      hashed: new Int32Array(new SharedArrayBuffer(files * 4)),
      stop,
    })
  }

  /** Takes the next large file that has to be hashed. */
  takeLarge(): number | undefined {
    const { next, large } = this.memory
    if (Atomics.load(next, 0) >= large.length) return undefined
    return large[Atomics.add(next, 0, 1)]
  }

  /** Takes the number of the next unit. */
  takeUnit(): number | undefined {
    const { next, units } = this.memory
    const unit = Atomics.add(next, 1, 1)
    return unit * UNIT_FIELDS < units.length ? unit : undefined
  }

  unit(unit: number): Unit {
    const { units } = this.memory
    const at = unit * UNIT_FIELDS
    const segment = units[at + 2] as number
    return {
      first: units[at] as number,
      end: units[at + 1] as number,
      segment: segment < 0 ? undefined : segment,
    }
  }

  /** Most bytes that any unit takes when it is sealed. */
  get unitCapacity(): number {
    return this.memory.unitCapacity
  }

  /** Most bytes that a unit takes when it is sealed; of a large file only when it is hashed. */
  capacity({ first, end, segment }: Unit): number {
    if (segment === undefined) return sealedBytes(this.memory.sizes, first, end)
    return segment < this.segmentCount(first) ? maxStoredSize(this.plainBytes(first, segment)) : 0
  }

  size(file: number): number {
    return this.memory.sizes[file] as number
  }

  segmentCount(file: number): number {
    return this.memory.counts[file] as number
  }

  /** Notes how many segments a large file of version 2 has; before `raiseHashed`. */
  setSegmentCount(file: number, count: number): void {
    this.memory.counts[file] = count
  }

  /** Notes where in its file a segment of version 2 starts. */
  setPlainStart(file: number, segment: number, start: number): void {
    this.memory.plainStarts[this.#segmentIndex(file, segment)] = start
  }

  /** Where in its file a segment starts. */
  plainStart(file: number, segment: number): number {
    const { version, segmentSize, plainStarts } = this.memory
    return version === 1 ? segment * segmentSize : (plainStarts[this.#segmentIndex(file, segment)] as number)
  }

  /** Bytes of plaintext of a segment. */
  plainBytes(file: number, segment: number): number {
    const { version, segmentSize } = this.memory
    if (version === 1) return segmentBytes(this.size(file), segmentSize, segment)
    const isLast = segment === this.segmentCount(file) - 1
    return (isLast ? this.size(file) : this.plainStart(file, segment + 1)) - this.plainStart(file, segment)
  }

  /** Notes that a segment of version 2 was taken over from the previous archive. */
  addCarried(file: number): void {
    Atomics.add(this.memory.carried, file, 1)
  }

  /** Whether everything of a file was taken over from the previous archive. */
  isCarried(file: number): boolean {
    const { version, carried } = this.memory
    return version === 1 ? this.form(file) >= FORM.carriedPlain : carried[file] === this.segmentCount(file)
  }

  digest(file: number): Uint8Array {
    // A copy: hashing and comparing do not take shared memory everywhere.
    return new Uint8Array(this.memory.digests.slice(file * DIGEST_BYTES, (file + 1) * DIGEST_BYTES))
  }

  setDigest(file: number, digest: Uint8Array): void {
    this.memory.digests.set(digest, file * DIGEST_BYTES)
  }

  /** CRC-32 of a segment as it was hashed, to notice a file that changes before it is read again. */
  check(file: number, segment: number): number {
    return this.memory.checks[this.#segmentIndex(file, segment)] as number
  }

  setCheck(file: number, segment: number, check: number): void {
    this.memory.checks[this.#segmentIndex(file, segment)] = check
  }

  /** Says that a large file is hashed. */
  raiseHashed(file: number): void {
    this.#raise(this.memory.hashed, file, 1)
  }

  awaitHashed(file: number): void {
    this.#await(this.memory.hashed, file)
  }

  /** {@link FORM} of a file, as far as it is decided. */
  form(file: number): number {
    return Atomics.load(this.memory.forms, file)
  }

  raiseForm(file: number, form: number): void {
    this.#raise(this.memory.forms, file, form)
  }

  awaitForm(file: number): number {
    this.#await(this.memory.forms, file)
    return this.form(file)
  }

  setSlot(file: number, slot: number): void {
    this.memory.slots[file] = slot
  }

  slot(file: number): number {
    return this.memory.slots[file] as number
  }

  setOffset(file: number, offset: number): void {
    this.memory.offsets[file] = offset
  }

  offset(file: number): number {
    return this.memory.offsets[file] as number
  }

  /** Notes how a segment is stored. */
  setSegment(file: number, segment: number, { storedSize, nonce }: SegmentRecord): void {
    const { version, segments } = this.memory
    const at = this.#segmentIndex(file, segment) * recordBytesOf(version)
    const record =
      version === 1
        ? segmentRecord(storedSize, nonce)
        : segmentRecord2(this.plainBytes(file, segment), storedSize, nonce)
    segments.set(record, at)
  }

  /** Records of all segments of a file, as the manifest has them. */
  segmentRecords(file: number): Uint8Array {
    const recordBytes = recordBytesOf(this.memory.version)
    const first = this.#segmentIndex(file, 0) * recordBytes
    return this.memory.segments.subarray(first, first + this.segmentCount(file) * recordBytes)
  }

  /** Where a unit's payload starts; undefined until the unit before it has its place. */
  start(unit: number): number | undefined {
    const start = Atomics.load(this.memory.ends, unit)
    return start === 0n ? undefined : Number(start)
  }

  /** Notes where a unit's payload ends, which is where the next one starts. */
  setEnd(unit: number, end: number): void {
    Atomics.store(this.memory.ends, unit + 1, BigInt(end))
  }

  /** Where the last payload ends. */
  get payloadEnd(): number {
    return Number(this.memory.ends.at(-1))
  }

  #segmentIndex(file: number, segment: number): number {
    return (this.memory.firstSegments[file] as number) + segment
  }

  #raise(flags: Int32Array<SharedArrayBuffer>, index: number, value: number): void {
    Atomics.store(flags, index, value)
    Atomics.notify(flags, index)
  }

  #await(flags: Int32Array<SharedArrayBuffer>, index: number): void {
    while (Atomics.load(flags, index) === 0) {
      if (Atomics.load(this.memory.stop, 0) !== 0) throw new M2pError('M2P_INPUT_CHANGED', 'Stopped by another thread')
      Atomics.wait(flags, index, 0, WAIT_MS)
    }
  }
}
