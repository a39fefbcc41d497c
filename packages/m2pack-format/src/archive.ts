import { createSha256, printable, requireMembers, requireText, wipe } from '@keyturn/primitives'
import { zstd } from '#zstd'
import { plainFormAt, segmentAt, spanOf } from './entries.ts'
import type { ArchiveEntry, EntryTable, TableForm } from './entries.ts'
import { M2pError } from './errors.ts'
import { parseHeader } from './header.ts'
import type { ArchiveHeader } from './header.ts'
import { checkContentKey, checkKeyOf, SlotKey, unwrapSlots } from './keys.ts'
import type { ContentKey } from './keys.ts'
import { checkLayout } from './layout.ts'
import type { Gap } from './layout.ts'
import { defaultLimits, HEADER_BYTES } from './limits.ts'
import type { ArchiveLimits } from './limits.ts'
import { parseManifest } from './manifest.ts'
import type { Manifest } from './manifest.ts'
import { foldPath } from './paths.ts'
import { checkHash, FileCipher } from './segment.ts'
import type { SegmentRange } from './verify.ts'
import { checkSource, readExactly } from './source.ts'
import type { ByteSource } from './source.ts'
import { checkManifest, checkVerifiers } from './verifiers.ts'
import type { TrustOptions } from './verifiers.ts'
import { verifyEntries } from './verify.ts'
import type { VerifyOptions, VerifyReport } from './verify.ts'
import type { FormatVersion } from './version.ts'
import type { ZstdOptions } from './zstd-codec.ts'

/** Options of {@link openArchive}. */
export interface OpenOptions extends TrustOptions, ZstdOptions {
  /** Needed to read or verify payloads; kept out of the archive, its slots are unwrapped at once. */
  readonly contentKey?: ContentKey | undefined
  /** Raised limits. */
  readonly limits?: Partial<ArchiveLimits>
  /** The source is a header directly followed by its manifest, without payloads: enough for `--previous` and `diff`. */
  readonly manifestOnly?: boolean
}

/** How a file is found. */
export interface LookUpOptions {
  /** Whether case does not count; default `false`. */
  readonly fold?: boolean
}

/** Options of {@link Archive.stream}. */
export interface StreamOptions extends LookUpOptions {
  /** First byte; default 0. */
  readonly start?: number
  /** The byte after the last; default the size of the file. */
  readonly end?: number
  /** Stops between two segments, with the signal's reason. */
  readonly signal?: AbortSignal | undefined
}

/**
 * Opens an archive: everything up to the slots is checked, in the order of docs/spec/m2pack.md §5; no payload is
 * touched.
 *
 * @param source - Read only where header, manifest and the requested files are; the caller closes it.
 * @throws {@link M2pError} for each check that fails.
 * @example `const archive = await openArchive(blobSource(file), { verifiers: new Map([[7, publicKey]]), contentKey })`
 */
export async function openArchive(source: ByteSource, options: OpenOptions): Promise<Archive> {
  checkSource(source)
  requireMembers(options, 'options', [])
  const { verifiers, contentKey, manifestOnly = false } = options
  checkVerifiers(verifiers)
  if (contentKey !== undefined) checkContentKey(contentKey)
  if (contentKey !== undefined && verifiers === 'unchecked') {
    throw new TypeError('A content key needs a verifier: nothing unauthenticated is decrypted')
  }
  const limits: ArchiveLimits = { ...defaultLimits, ...options.limits }
  const size = manifestOnly ? undefined : source.size
  const header = parseHeader(await source.read(0, Math.min(HEADER_BYTES, source.size)), size, limits)
  const manifestAt = manifestOnly ? HEADER_BYTES : header.manifestOffset
  const read = await readExactly(source, manifestAt, header.manifestSize, 'manifest')
  // A Buffer differs in more than its name (its slice() is a view): from here on there are plain arrays only.
  const bytes = new Uint8Array(read.buffer, read.byteOffset, read.byteLength)
  checkManifest(header, bytes, options)
  const manifest = parseManifest(bytes, header, limits, contentKey)
  const gaps = manifest.table === undefined ? [] : checkLayout(header, manifest.table.entries, size)
  const slots = contentKey === undefined ? undefined : unlock(manifest, contentKey)
  await zstd.ready(options.zstd)
  return new Archive({ source, header, manifestBytes: bytes, manifest, gaps, slots, options })
}

/**
 * Reads a header and nothing else; nothing of it is trusted. For choosing keys and for showing.
 *
 * @throws {@link M2pError} `M2P_TRUNCATED`, `M2P_MAGIC`, `M2P_VERSION`, `M2P_HEADER`, `M2P_LIMIT`.
 */
export async function readArchiveHeader(
  source: ByteSource,
  limits: Partial<ArchiveLimits> = {},
): Promise<ArchiveHeader> {
  checkSource(source)
  return parseHeader(await source.read(0, Math.min(HEADER_BYTES, source.size)), source.size, {
    ...defaultLimits,
    ...limits,
  })
}

/**
 * Whether a source is a header directly followed by its manifest, without the payloads in between: what `manifestOnly`
 * opens.
 *
 * @throws As {@link readArchiveHeader}.
 */
export async function holdsManifestOnly(source: ByteSource): Promise<boolean> {
  checkSource(source)
  const header = parseHeader(await source.read(0, Math.min(HEADER_BYTES, source.size)), undefined, defaultLimits)
  return header.manifestOffset !== HEADER_BYTES && source.size === HEADER_BYTES + header.manifestSize
}

function unlock(manifest: Manifest, contentKey: ContentKey): Map<number, Uint8Array> {
  checkKeyOf(contentKey, manifest.keyId, manifest.commitment)
  return unwrapSlots(contentKey, manifest.slots)
}

interface ArchiveParts {
  readonly source: ByteSource
  readonly header: ArchiveHeader
  readonly manifestBytes: Uint8Array
  readonly manifest: Manifest
  readonly gaps: readonly Gap[]
  readonly slots: Map<number, Uint8Array> | undefined
  readonly options: OpenOptions
}

/** How an archive was written. */
export interface ArchiveFormat extends TableForm {
  /** Payloads start at multiples of it. */
  readonly align: number
}

/** An open archive. Holds the slots when it was opened with a content key: `dispose()` wipes them. */
export class Archive {
  /** Where the bytes come from. */
  readonly source: ByteSource
  /** As read; checked against the manifest. */
  readonly header: ArchiveHeader
  /** The literal manifest bytes that hash and signature cover. */
  readonly manifestBytes: Uint8Array
  /** Names the content key and the verifier. */
  readonly keyId: number
  /** Version of the format. */
  readonly version: FormatVersion
  /** Bytes of plaintext in a segment; in version 2 on average. */
  readonly segmentSize: number
  /** What the archive says about its content key; also named in the release manifest. */
  readonly keyCommitment: Uint8Array
  /** Whether the signature was checked, or only the hash. */
  readonly signatureChecked: boolean
  /** Zeros before payloads. */
  readonly gaps: readonly Gap[]
  readonly #table: EntryTable | undefined
  readonly #manifest: Manifest
  readonly #manifestOnly: boolean
  readonly #slotKeys = new Map<number, SlotKey>()
  #slots: Map<number, Uint8Array> | undefined
  #byFold: Map<string, ArchiveEntry> | undefined

  /** Use {@link openArchive}. */
  constructor(parts: ArchiveParts) {
    this.source = parts.source
    this.header = parts.header
    this.manifestBytes = parts.manifestBytes
    this.keyId = parts.manifest.keyId
    this.version = parts.manifest.version
    this.segmentSize = parts.manifest.segmentSize
    this.keyCommitment = parts.manifest.commitment
    this.signatureChecked = parts.options.verifiers !== 'unchecked'
    this.gaps = parts.gaps
    this.#table = parts.manifest.table
    this.#manifest = parts.manifest
    this.#manifestOnly = parts.options.manifestOnly === true
    this.#slots = parts.slots
  }

  /** Whether the entry table is encrypted in the archive; opening with the content key opens it. */
  get sealed(): boolean {
    return this.#manifest.sealed === true
  }

  /** Whether the files can be listed: always, unless the table is sealed and no content key was given. */
  get listable(): boolean {
    return this.#table !== undefined
  }

  /**
   * The files in order of their path bytes.
   *
   * @throws {@link M2pError} `M2P_SEALED` when the table is sealed and no content key was given.
   */
  get entries(): readonly ArchiveEntry[] {
    return this.#entryTable.entries
  }

  /** The manifest with its table in the clear: what entries are read from. @internal */
  get openedManifest(): Uint8Array {
    return this.#manifest.opened
  }

  /**
   * How the archive was written: give it to a writer that makes the next one. `align` is 1 for version 1, which does
   * not say it.
   */
  get format(): ArchiveFormat {
    const { version, segmentSize, mtimes, align = 1 } = this.#manifest
    return { version, segmentSize, mtimes, align }
  }

  get #entryTable(): EntryTable {
    if (this.#table !== undefined) return this.#table
    throw new M2pError('M2P_SEALED', 'The archive has a sealed table: listing its files needs the content key', {
      details: { key_id: this.keyId },
    })
  }

  /** Numbers of the slots that the archive carries, ascending. */
  get slotNumbers(): number[] {
    return this.#manifest.slots.map((slot) => slot.number)
  }

  /** Whether payloads can be read: a content key was given and the archive is whole. */
  get readable(): boolean {
    return this.#slots !== undefined && !this.#manifestOnly
  }

  /** Whether only header and manifest are there. */
  get manifestOnly(): boolean {
    return this.#manifestOnly
  }

  /** Finds a file, or `undefined`. */
  find(path: string, { fold = false }: LookUpOptions = {}): ArchiveEntry | undefined {
    requireText(path, 'path')
    if (!fold) return this.#entryTable.get(path)
    this.#byFold ??= new Map(this.entries.map((entry) => [foldPath(entry.path), entry]))
    return this.#byFold.get(foldPath(path))
  }

  /** @throws {@link M2pError} `M2P_ENTRY_UNKNOWN`. */
  entry(path: string, options: LookUpOptions = {}): ArchiveEntry {
    const entry = this.find(path, options)
    if (entry === undefined) {
      throw new M2pError('M2P_ENTRY_UNKNOWN', `The archive has no file "${printable(path)}"`, {
        details: { path: printable(path) },
      })
    }
    return entry
  }

  /** The slot secret of a file, lent. @internal */
  slotSecret(entry: ArchiveEntry): Uint8Array {
    if (this.#slots === undefined) throw new TypeError('The archive was opened without a content key, or disposed of')
    if (this.#manifestOnly) throw new TypeError('Only header and manifest are there, no payloads')
    return this.#slots.get(entry.slot) as Uint8Array
  }

  /** Lends every slot secret; empty without a content key. @internal */
  slotSecrets(): ReadonlyMap<number, Uint8Array> {
    return this.#slots ?? new Map()
  }

  /** Opens the segments of one file. @internal */
  cipher(entry: ArchiveEntry): FileCipher {
    const secret = this.slotSecret(entry)
    let slot = this.#slotKeys.get(entry.slot)
    if (slot === undefined) this.#slotKeys.set(entry.slot, (slot = new SlotKey(secret)))
    return new FileCipher(slot, entry.pathBytes, this.version === 1 ? entry : undefined)
  }

  /**
   * Reads a whole file; its SHA-256 is checked before anything is given out. Loads it into memory: use `stream` for
   * files that are too large for that.
   *
   * @throws {@link M2pError} `M2P_ENTRY_UNKNOWN`, `M2P_DECRYPT`, `M2P_ZSTD`, `M2P_SIZE`, `M2P_LIMIT`, `M2P_HASH`,
   *   `M2P_TRUNCATED`.
   */
  async read(path: string, options: LookUpOptions = {}): Promise<Uint8Array<ArrayBuffer>> {
    const entry = this.entry(path, options)
    this.slotSecret(entry)
    const whole = new Uint8Array(entry.size)
    const hash = createSha256()
    let at = 0
    for await (const part of this.segments(entry, { first: 0, behind: entry.segmentCount, hashed: true })) {
      hash.update(part)
      whole.set(part, at)
      at += part.length
    }
    checkHash(hash.digest(), entry.sha256, printable(entry.path))
    return whole
  }

  /**
   * Reads a file or a part of it, a segment at a time. Each segment's nonce is recomputed before its bytes are given
   * out, so they are the publisher's; of a whole file the SHA-256 is checked as well, before its last segment is given
   * out.
   *
   * @throws {@link M2pError} as `read`, and `M2P_NONCE`. RangeError for a range outside the file.
   */
  async *stream(path: string, options: StreamOptions = {}): AsyncGenerator<Uint8Array, void, undefined> {
    const entry = this.entry(path, options)
    const { start = 0, end = entry.size, signal } = options
    if (!Number.isInteger(start) || !Number.isInteger(end) || start < 0 || end < start || end > entry.size) {
      throw new RangeError(`Cannot read bytes ${start} to ${end} of a file of ${entry.size}`)
    }
    this.slotSecret(entry)
    const whole = start === 0 && end === entry.size
    if (start === end && !whole) return
    const hash = whole ? createSha256() : undefined
    const { first, behind, at: firstAt } = spanOf(entry, this.segmentSize, { start, end })
    let at = firstAt
    for await (const part of this.segments(entry, { first, behind, hashed: whole, signal })) {
      hash?.update(part)
      const wanted = part.subarray(Math.max(0, start - at), Math.min(part.length, end - at))
      at += part.length
      if (hash !== undefined && at === entry.size) checkHash(hash.digest(), entry.sha256, printable(entry.path))
      if (wanted.length > 0) yield wanted
    }
  }

  /** Opens segments `first` to `behind` of a file, one at a time. @internal */
  async *segments(
    entry: ArchiveEntry,
    { first, behind, hashed, signal }: SegmentRange,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    const cipher = this.cipher(entry)
    try {
      let offset = entry.offset
      for (let index = 0; index < behind; index++) {
        const record = segmentAt(entry, index)
        if (index >= first) {
          signal?.throwIfAborted()
          const stored = await readExactly(this.source, offset, record.storedSize, printable(entry.path))
          const form = plainFormAt(entry, this.segmentSize, index)
          yield hashed ? cipher.openHashed(index, stored, record, form) : cipher.open(index, stored, record, form)
        }
        offset += record.storedSize
      }
    } finally {
      cipher.wipe()
    }
  }

  /**
   * Checks every payload: tags, sizes, SHA-256, and that padding is zero. Without a content key it reports what opening
   * has checked already. Failures of single files are reported, not thrown.
   */
  verify(options: VerifyOptions = {}): Promise<VerifyReport> {
    return verifyEntries(this, options)
  }

  /** Wipes the slots. The source is the caller's to close. */
  dispose(): void {
    for (const slot of this.#slotKeys.values()) slot.wipe()
    this.#slotKeys.clear()
    wipe(...(this.#slots?.values() ?? []))
    this.#slots = undefined
  }
}
