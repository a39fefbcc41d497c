import type { Command } from 'commander'
import { openIdentity } from '@keyturn/publisher/identity'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { CliError } from '../../errors.ts'
import { collect } from '../../flags/values.ts'
import { runRotation } from '../rotate/run-rotation.ts'
import { keyRotationCommand } from './key-rotation.ts'
import { withNewPassphrase } from './new-passphrase.ts'
import { withNextKeys } from './rotation-terms.ts'
import type { RotateOptions } from './rotation-terms.ts'

/** Registers `keyturn id rotate`. */
export function registerIdRotate(id: Command, cli: Cli): void {
  const command = withNextKeys(
    id
      .command('rotate')
      .description('put the promised next key into force and promise a new one')
      .option('--alias <name>', 'alias of the current key')
      .option('--current-key-alias <name>', 'the same as --alias')
      .option('--next-key-alias <name>', 'alias of the key that comes into force')
      .option('--add-witness <prefix>', 'add a witness, repeatable', collect)
      .option('--remove-witness <prefix>', 'remove a witness, repeatable', collect)
      .option('--witnesses-required <n>', 'how many witnesses must sign from now on')
      .option(
        '--seal-tip <repo>',
        'seal the tip of a git repository: proves the place of every commit before it, repeatable',
        collect,
      )
      .option('--abandon', 'give up an interrupted rotation that is not in force yet'),
  )
  cli.define<RotateOptions>(command, {
    example: [
      'keyturn id rotate --next-key-file /media/usb/next.keystore',
      'keyturn id rotate --alias laptop --next-key-alias laptop-v2 --dry-run',
    ],
    dryRun: true,
    run: runRotate,
  })
}

async function runRotate(context: Context, options: RotateOptions): Promise<CommandResult> {
  const identity = await openIdentity(context, {
    alias: currentAlias(options),
    write: !context.dryRun,
    nextPassphraseFile: options.nextPassphraseFile,
  })
  const result = await withNewPassphrase(context, identity, options, () =>
    runRotation(context, keyRotationCommand(context, identity, options), options),
  )
  const isDone = identity.kind === 'release' && options.abandon !== true && !context.dryRun
  return isDone
    ? {
        ...result,
        text:
          `${result.text ?? ''}\n\nPublish the log: keyturn release publish. What is installed stays; nothing ` +
          'has to be downloaded again.',
      }
    : result
}

/** The alias that was asked for: two flags, one meaning. */
function currentAlias({ alias, currentKeyAlias }: RotateOptions): string | undefined {
  if (alias !== undefined && currentKeyAlias !== undefined)
    throw new CliError('CLI_USAGE', '--alias and --current-key-alias mean the same: give only one')
  return alias ?? currentKeyAlias
}
