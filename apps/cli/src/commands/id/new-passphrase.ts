import { wipe } from '@keyturn/primitives'
import { changePassphrases, protectedFiles, protectedFilesOf } from '@keyturn/publisher/keys'
import type { Identity } from '@keyturn/publisher/identity'
import { aliasFlag } from '@keyturn/publisher/identity'
import { askAgent } from '../../agent/ask-agent.ts'
import type { CommandResult, Context } from '../../command.ts'
import { CliError } from '../../errors.ts'
import { formatTable } from '../../output.ts'
import { OUTCOMES } from '../passphrase.ts'
import type { RotateOptions } from './rotation-terms.ts'

/**
 * Rotates, and puts what the present passphrase opens under a new one: the keys of a named identity, or the whole home
 * for the release identity. The new passphrase is asked for before anything is rotated; it replaces the old one
 *   after the
 * rotation, so that an interrupted rotation is finished with the passphrase it began with.
 */
export async function withNewPassphrase(
  context: Context,
  identity: Identity,
  options: RotateOptions,
  rotate: () => Promise<CommandResult>,
): Promise<CommandResult> {
  const { newPassphrase, newPassphraseFile } = options
  if (newPassphrase !== true && newPassphraseFile === undefined) return await rotate()
  if (options.abandon === true)
    throw new CliError('CLI_USAGE', '--abandon gives a rotation up: it takes no new passphrase')
  // A wrong present passphrase is found before a new one is asked for.
  await identity.keys()
  if (context.dryRun) return await rotate()
  const from = await context.ask.passphrase('Passphrase')
  try {
    const to = await context.ask.newPassphrase('New passphrase', newPassphraseFile)
    try {
      const result = await rotate()
      return await change(context, identity, result, { from, to })
    } finally {
      wipe(to)
    }
  } finally {
    wipe(from)
  }
}

async function change(
  context: Context,
  identity: Identity,
  result: CommandResult,
  { from, to }: { readonly from: Uint8Array; readonly to: Uint8Array },
): Promise<CommandResult> {
  const files =
    identity.kind === 'named' ? await protectedFilesOf(context, identity.prefix) : await protectedFiles(context)
  const changed = await changePassphrases(files ?? [], from, to)
  await askAgent(context, 'lock')
  const rows = changed.map(({ what, path, outcome }) => [what, OUTCOMES[outcome], path])
  return {
    ...result,
    data: {
      ...result.data,
      passphrases: changed.map(({ kind, what, path, outcome }) => ({ kind, what, path, outcome })),
    },
    text: [
      result.text ?? '',
      '',
      formatTable(rows),
      `For what was not changed: keyturn passphrase${aliasFlag(identity)}. ` +
        'Backups made before open under the passphrase they were made with.',
    ].join('\n'),
  }
}
