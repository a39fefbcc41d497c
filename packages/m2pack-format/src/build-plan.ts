import { compareBytes, equalBytes, printable, utf8Encode, wipe } from '@keyturn/primitives'
import type { PieceLengths } from '@keyturn/primitives'
import type { Archive } from './archive.ts'
import { checkCollisions } from './collisions.ts'
import type { EntryRecord } from './entries.ts'
import { M2pError } from './errors.ts'
import { checkContentKey, checkSlots, deriveFirstSlot } from './keys.ts'
import type { ContentKey, SlotSecrets } from './keys.ts'
import { DEFAULT_LEVEL, DEFAULT_SEGMENT_BYTES, MAX_MTIME_MS, MAX_PATH_BYTES } from './limits.ts'
import { isAlignment, isSegmentSize, maxSegmentSize } from './manifest.ts'
import { checkPath, YMIR_PREFIX, ymirPath } from './paths.ts'
import { plainPathKind } from './plain-path.ts'
import { checkSource } from './source.ts'
import type { ByteSource } from './source.ts'
import { DEFAULT_FORMAT_VERSION, isFormatVersion } from './version.ts'
import type { FormatVersion } from './version.ts'

/** One file to be packed. */
export interface BuildFile {
  /** Relative, forward slashes, NFC. */
  readonly path: string
  /** Its bytes; files of several segments are read twice. */
  readonly source: ByteSource
  /** Whether its owner may execute it; default `false`. Version 1 does not keep it. */
  readonly executable?: boolean | undefined
  /** Milliseconds since 1970 of its last change, for archives with `mtimes`; default 0, as are times before 1970. */
  readonly mtimeMs?: number | undefined
}

/** Options that decide the bytes of an archive. */
export interface BuildFormatOptions {
  /**
   * Version of the format: 1, which is the default, or 2, in which a small change of a large file costs a segment.
   * Players download an archive whole when its version changes, and a client must have a reader of version 2.
   */
  readonly version?: FormatVersion | undefined
  /** Keeps times of modification; version 2 only, default `false`: each time that differs changes the archive. */
  readonly mtimes?: boolean | undefined
  /** zstd level, 1 to 22; default 12. */
  readonly level?: number
  /** Bytes of plaintext in a segment, a power of two from 64 KiB to 16 MiB (version 2: 4 MiB); default 1 MiB. */
  readonly segmentSize?: number
  /** Puts payloads at multiples of this power of two, up to 1 MiB; default 1. */
  readonly align?: number
  /** Stores a leading `ymir work/` as `d:/ymir work/`; default `false`. */
  readonly ymirPrefix?: boolean
  /** Encrypts everything under the newest slot, whatever `previous` says; default `false`. */
  readonly full?: boolean
  /** Encrypts the entry table too: without the content key nobody can list the files; default `false`. */
  readonly sealTable?: boolean
}

/** The keys a writer needs. */
export interface BuildKeys {
  /** Wraps the slots. */
  readonly contentKey: ContentKey
  /** Ed25519 seed of the archive signing key, 32 bytes, secret. It signs nothing else. */
  readonly signingSeed: Uint8Array
  /** New and changed files go under the highest number. Without slots: slot 1, derived from the content key. */
  readonly slots?: SlotSecrets | undefined
}

/** Format options with their defaults, checked. */
export type ResolvedFormat = { readonly [Name in keyof BuildFormatOptions]-?: NonNullable<BuildFormatOptions[Name]> }

/** Fills in defaults and refuses what the format does not know. */
export function resolveFormat(options: BuildFormatOptions): ResolvedFormat {
  const {
    version = DEFAULT_FORMAT_VERSION,
    mtimes = false,
    level = DEFAULT_LEVEL,
    segmentSize = DEFAULT_SEGMENT_BYTES,
    align = 1,
    ymirPrefix = false,
    full = false,
    sealTable = false,
  } = options
  if (!Number.isInteger(level) || level < 1 || level > 22) throw new RangeError('level must be an integer from 1 to 22')
  if (!isFormatVersion(version)) throw new RangeError('version must be 1 or 2')
  if (!isSegmentSize(segmentSize, version)) {
    const most = maxSegmentSize(version) / (1024 * 1024)
    throw new RangeError(`segmentSize must be a power of two from 64 KiB to ${most} MiB`)
  }
  if (!isAlignment(align)) throw new RangeError('align must be a power of two up to 1 MiB')
  if (mtimes && version === 1) throw new RangeError('Format version 1 has no room for times of modification')
  return { version, mtimes, level, segmentSize, align, ymirPrefix, full, sealTable }
}

/** The path a file is stored under. @throws {@link M2pError} `M2P_PATH`, `M2P_LIMIT`. */
export function storedPath(path: string, ymirPrefix: boolean): string {
  const stored = ymirPrefix ? ymirPath(path) : path
  if (!ymirPrefix && path.startsWith(YMIR_PREFIX)) {
    throw new M2pError('M2P_PATH', `Cannot use path "${printable(path)}": its prefix takes the option for it`, {
      details: { path: printable(path) },
    })
  }
  if (!isPlain(stored)) checkPath(stored)
  return stored
}

const scratch = new Uint8Array(MAX_PATH_BYTES)

/** Whether a look at its bytes is enough: short ASCII text only. */
function isPlain(path: string): boolean {
  if (path.length > scratch.length) return false
  for (let at = 0; at < path.length; at++) {
    const code = path.charCodeAt(at)
    if (code > 0x7e) return false
    scratch[at] = code
  }
  return plainPathKind(scratch, 0, path.length) !== 'other'
}

/** A path as it is stored. */
export interface PlannedPath {
  readonly path: string
  readonly pathBytes: Uint8Array
  /** Place of the path among those given. */
  readonly given: number
}

/** A file with the path it is stored under. */
export type PlannedFile = PlannedPath & Omit<BuildFile, 'path'>

/**
 * Puts paths into archive order and refuses those that cannot be in one archive.
 *
 * @param ymirPrefix - Whether `ymir work/` is stored as `d:/ymir work/`.
 * @throws {@link M2pError} `M2P_PATH`, `M2P_PATH_COLLISION`.
 */
export function planPaths(paths: readonly string[], ymirPrefix: boolean): PlannedPath[] {
  const planned = paths.map((given, index) => {
    const path = storedPath(given, ymirPrefix)
    const pathBytes = utf8Encode(path)
    const isFolded = plainPathKind(pathBytes, 0, pathBytes.length) === 'folded'
    return { path, pathBytes, given: index, isFolded }
  })
  planned.sort((left, right) => compareBytes(left.pathBytes, right.pathBytes))
  for (const [index, { path }] of planned.entries()) {
    if (path !== planned[index + 1]?.path) continue
    throw new M2pError('M2P_PATH_COLLISION', `Cannot use path "${printable(path)}": it is given twice`, {
      details: { path: printable(path) },
    })
  }
  checkCollisions(planned)
  return planned
}

/** The same for files. */
export function planFiles(files: Iterable<BuildFile>, ymirPrefix: boolean): PlannedFile[] {
  const given = [...files]
  for (const file of given) {
    if (typeof file?.path !== 'string') throw new TypeError('Each file must have a path and a source')
    checkSource(file.source)
  }
  const paths = given.map(({ path }) => path)
  return planPaths(paths, ymirPrefix).map((path) => ({ ...(given[path.given] as BuildFile), ...path }))
}

/** Slots of a writer, with the one that new files go under. */
export interface WriterSlots {
  readonly secrets: ReadonlyMap<number, Uint8Array>
  readonly newest: number
}

/** Takes the slots given, or derives the first one; `previous` adds those it could open. */
export function resolveSlots({ contentKey, slots }: BuildKeys, previous?: Archive): WriterSlots {
  checkContentKey(contentKey)
  if (slots !== undefined) checkSlots(slots)
  if (slots?.size === 0) throw new RangeError('slots must hold at least one slot')
  const own = new Map(slots ?? [[1, deriveFirstSlot(contentKey.key)]])
  const newest = Math.max(...own.keys())
  for (const [number, secret] of previous?.slotSecrets() ?? []) if (!own.has(number)) own.set(number, secret)
  return { secrets: own, newest }
}

/** What is known of a file in the previous archive. */
type PreviousFile = Pick<EntryRecord, 'sha256' | 'slot'>

/** The slot a file goes under, and its entry in the previous archive when it stays there unchanged. */
export interface Placement<Entry extends PreviousFile> {
  readonly slot: number
  readonly carried: Entry | undefined
}

/**
 * Decides under which slot a file goes: an unchanged one stays where it is, any other goes under the newest slot.
 *
 * @param old - Its entry in the previous archive; undefined when there is none, or nothing is to be kept.
 * @throws {@link M2pError} `M2P_SLOT_UNKNOWN`.
 */
export function placeFile<Entry extends PreviousFile>(
  path: string,
  digest: Uint8Array,
  old: Entry | undefined,
  slots: { readonly newest: number; readonly known: Pick<ReadonlyMap<number, unknown>, 'has'> },
): Placement<Entry> {
  if (old === undefined || !equalBytes(old.sha256, digest)) return { slot: slots.newest, carried: undefined }
  if (!slots.known.has(old.slot)) {
    throw new M2pError('M2P_SLOT_UNKNOWN', `File "${printable(path)}" is under slot ${old.slot}, which was not given`, {
      details: { slot: old.slot },
    })
  }
  return { slot: old.slot, carried: old }
}

/** Whether stored bytes of a previous archive can be in this one: same version, cut in the same places. */
export function canCarry(
  previous: Pick<ResolvedFormat, 'version' | 'segmentSize'>,
  { version, segmentSize }: Pick<ResolvedFormat, 'version' | 'segmentSize'>,
): boolean {
  return previous.version === version && previous.segmentSize === segmentSize
}

/** How long the segments of version 2 get: docs/spec/m2pack-v2.md §3.1. */
export function cutLengths(segmentSize: number): PieceLengths {
  return { minBytes: segmentSize / 4, averageBytes: segmentSize, maxBytes: segmentSize * 4 }
}

/** A time of modification as an archive can hold it. */
export function storableTime(mtimeMs: number): number {
  return Math.min(MAX_MTIME_MS, Math.max(0, Math.floor(mtimeMs)))
}

/** Wipes the slot that {@link resolveSlots} derived when none were given. */
export function releaseSlots(slots: WriterSlots, given: SlotSecrets | undefined): void {
  if (given === undefined) wipe(slots.secrets.get(1))
}
