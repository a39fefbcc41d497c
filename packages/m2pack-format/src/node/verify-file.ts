import { requireMembers, requireText } from '@keyturn/primitives'
import { nodeFileSystem } from '@keyturn/primitives/node'
import { m2pErrors } from '../errors.ts'
import type { Archive } from '../archive.ts'
import { verifyGaps } from '../verify.ts'
import type { VerifyOptions, VerifyReport } from '../verify.ts'
import { withArchiveFile } from './archive-file.ts'
import type { OpenFileOptions } from './archive-file.ts'
import { Crew } from './crew.ts'
import { descriptorOf } from './file-source.ts'
import { openEntries } from './open-entries.ts'

/** Options of {@link verifyArchiveFile}. */
export interface VerifyFileOptions extends OpenFileOptions, VerifyOptions {
  /** Threads; default: as many as the machine has cores. */
  readonly jobs?: number
}

/**
 * Verifies an archive file: with a content key everything in it, without one header, manifest and signature.
 *
 * @throws As `openArchive`; what is wrong with single files is in the report.
 */
export async function verifyArchiveFile(path: string, options: VerifyFileOptions): Promise<VerifyReport> {
  requireText(path, 'path')
  requireMembers(options, 'options', [])
  const { jobs, fs = nodeFileSystem } = options
  if (options.contentKey === undefined || fs !== nodeFileSystem)
    return withArchiveFile(path, options, (archive) => archive.verify(options))
  const crew = new Crew(jobs)
  try {
    return await withArchiveFile(path, options, (archive) => verifyOnThreads(archive, crew, options))
  } finally {
    await crew.close()
  }
}

async function verifyOnThreads(
  archive: Archive,
  crew: Crew,
  { onProgress, signal }: VerifyFileOptions,
): Promise<VerifyReport> {
  const { entries, signatureChecked } = archive
  const gaps = await verifyGaps(archive)
  const descriptor = descriptorOf(archive.source) as number
  const found = await openEntries(archive, entries, { crew, descriptor, target: undefined, onProgress, signal })
  const failures = [...gaps, ...found.map((failure) => ({ ...failure, kind: m2pErrors[failure.code].kind }))]
  failures.sort((left, right) => (left.path < right.path ? -1 : left.path > right.path ? 1 : 0))
  return {
    ok: failures.length === 0,
    signatureChecked,
    payloadsChecked: true,
    filesChecked: entries.length,
    bytesChecked: entries.reduce((sum, entry) => sum + entry.size, 0),
    failures,
  }
}
