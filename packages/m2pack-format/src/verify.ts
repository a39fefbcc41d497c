import { createSha256, printable } from '@keyturn/primitives'
import type { ErrorKind } from '@keyturn/primitives'
import type { ArchiveEntry } from './entries.ts'
import { M2pError } from './errors.ts'
import type { M2pErrorCode } from './errors.ts'
import type { Gap } from './layout.ts'
import { checkHash } from './segment.ts'
import { readExactly } from './source.ts'
import type { ByteSource } from './source.ts'

/** Reported while an archive is built, verified or extracted. */
export interface Progress {
  /** Files done. */
  readonly files: number
  /** Files there are. */
  readonly totalFiles: number
  /** Bytes of plaintext done. */
  readonly bytes: number
  /** Bytes of plaintext there are. */
  readonly totalBytes: number
}

/** Options of a verification. */
export interface VerifyOptions {
  /** Called after every file. */
  readonly onProgress?: ((progress: Progress) => void) | undefined
  /** Stops between two files or segments, with the signal's reason. */
  readonly signal?: AbortSignal | undefined
}

/** What of an `Archive` a verification reads. */
interface VerifiableArchive {
  readonly entries: readonly ArchiveEntry[]
  readonly gaps: readonly Gap[]
  readonly source: ByteSource
  readonly readable: boolean
  readonly signatureChecked: boolean
  segments(entry: ArchiveEntry, range: SegmentRange): AsyncIterable<Uint8Array>
}

/** Which segments of a file are opened. */
export interface SegmentRange {
  readonly first: number
  /** One more than the last. */
  readonly behind: number
  /** The SHA-256 of the whole file is checked by the caller, so single nonces need not be. */
  readonly hashed: boolean
  readonly signal?: AbortSignal | undefined
}

/** One file that did not verify. */
export interface VerifyFailure {
  /** As stored in the archive. */
  readonly path: string
  readonly code: M2pErrorCode
  readonly kind: ErrorKind
  readonly message: string
}

/** What a verification found. */
export interface VerifyReport {
  /** Whether nothing failed. */
  readonly ok: boolean
  /** Whether the signature was checked; it held, or opening would have thrown. */
  readonly signatureChecked: boolean
  /** Whether payloads were checked, which takes a content key. */
  readonly payloadsChecked: boolean
  readonly filesChecked: number
  readonly bytesChecked: number
  readonly failures: readonly VerifyFailure[]
}

/** Turns what one file threw into a line of the report; anything but an error of ours is thrown on. */
export function asFailure(path: string, error: unknown): VerifyFailure {
  if (!(error instanceof M2pError)) throw error
  return { path, code: error.code, kind: error.kind, message: error.message }
}

async function verifyEntry(
  archive: VerifiableArchive,
  entry: ArchiveEntry,
  signal: AbortSignal | undefined,
): Promise<void> {
  const hash = createSha256()
  const range = { first: 0, behind: entry.segmentCount, hashed: true, signal }
  for await (const part of archive.segments(entry, range)) hash.update(part)
  checkHash(hash.digest(), entry.sha256, printable(entry.path))
}

/** @throws {@link M2pError} `M2P_PADDING`. */
export function checkPadding(zeros: Uint8Array, offset: number): void {
  if (zeros.some((byte) => byte !== 0)) {
    throw new M2pError('M2P_PADDING', `The ${zeros.length} bytes at offset ${offset} are padding and must be zero`, {
      details: { offset },
    })
  }
}

/** Checks that padding is zero. */
export async function verifyGaps(archive: VerifiableArchive): Promise<VerifyFailure[]> {
  const failures: VerifyFailure[] = []
  for (const { offset, length, path } of archive.gaps) {
    try {
      checkPadding(await readExactly(archive.source, offset, length, 'padding'), offset)
    } catch (error) {
      failures.push(asFailure(path, error))
    }
  }
  return failures
}

/** What `Archive.verify()` does. */
export async function verifyEntries(
  archive: VerifiableArchive,
  { onProgress, signal }: VerifyOptions,
): Promise<VerifyReport> {
  const { entries, signatureChecked } = archive
  if (!archive.readable) {
    return { ok: true, signatureChecked, payloadsChecked: false, filesChecked: 0, bytesChecked: 0, failures: [] }
  }
  const failures = await verifyGaps(archive)
  const totalBytes = entries.reduce((sum, entry) => sum + entry.size, 0)
  let bytes = 0
  for (const [index, entry] of entries.entries()) {
    signal?.throwIfAborted()
    try {
      await verifyEntry(archive, entry, signal)
    } catch (error) {
      failures.push(asFailure(entry.path, error))
    }
    bytes += entry.size
    onProgress?.({ files: index + 1, totalFiles: entries.length, bytes, totalBytes })
  }
  return {
    ok: failures.length === 0,
    signatureChecked,
    payloadsChecked: true,
    filesChecked: entries.length,
    bytesChecked: bytes,
    failures,
  }
}
