import { readFile } from 'node:fs/promises'
import { basename } from 'node:path'
import { sha256 } from '@keyturn/primitives'
import type { StatementPurpose } from '@keyturn/kel'
import { CliError } from './errors.ts'
import { readCommit } from './commands/git-notes.ts'

export interface Subject {
  readonly purpose: StatementPurpose
  readonly digest: Uint8Array
  readonly name: string
}

export async function subjectOf(
  file: string | undefined,
  options: { commit?: string | undefined; repo: string },
): Promise<Subject> {
  if ((file === undefined) === (options.commit === undefined))
    throw new CliError('CLI_USAGE', 'Give either a file or --commit')
  if (options.commit !== undefined) {
    const { id, digest } = await readCommit(options.repo, options.commit)
    return { purpose: 'commit', digest, name: id }
  }
  return { purpose: 'file', digest: sha256(await readFile(file ?? '')), name: basename(file ?? '') }
}
