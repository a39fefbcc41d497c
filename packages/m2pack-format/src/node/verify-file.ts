import type { VerifyOptions, VerifyReport } from '../verify.ts'
import { type OpenFileOptions, withArchiveFile } from './archive-file.ts'

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
  return withArchiveFile(path, options, (archive) => archive.verify(options))
}
