import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { CliError } from '../../errors.ts'
import { openIdentity } from '@keyturn/publisher/identity'
import { readTurn } from '@keyturn/publisher/rotation'
import { rehearse, rotateNow, withNextKeys } from '../id/rotate.ts'
import type { RotateOptions } from '../id/rotate.ts'

interface RotateNowOptions extends Pick<RotateOptions, 'reason' | 'nextKeyFile' | 'nextPassphraseFile'> {
  readonly currentAlias?: string
  readonly nextAlias?: string
}

export function registerRotateNow(emergency: Command, cli: Cli): void {
  const command = withNextKeys(
    emergency
      .command('rotate-now')
      .description('put the promised next key into force at once, after everything was checked')
      .option('--current-alias <name>', 'alias of the key that may be stolen')
      .option('--next-alias <name>', 'alias of the key that comes into force'),
  )
  cli.define<RotateNowOptions>(command, {
    example: [
      'keyturn emergency rotate-now --dry-run',
      'keyturn emergency rotate-now --current-alias laptop --next-alias laptop-v2 --reason "laptop stolen" --yes',
    ],
    dryRun: true,
    run: runRotateNow,
  })
}

/** The aliases: from the flags, else asked for. With --yes nothing is asked: then the identity of the home is meant. */
async function askAliases(context: Context, options: RotateNowOptions, yes: boolean): Promise<RotateOptions> {
  const needed = async (flag: string, value: string | undefined, prompt: string): Promise<string | undefined> => {
    if (value !== undefined || yes) return value
    try {
      const answer = (await context.ask.line(prompt)).trim()
      return answer === '' ? undefined : answer
    } catch (cause) {
      throw new CliError(
        'CLI_NO_TERMINAL',
        `No terminal to ask on: give ${flag}, and --yes to confirm; nothing was changed`,
        { cause },
      )
    }
  }
  const alias = await needed(
    '--current-alias',
    options.currentAlias,
    'Alias of the current key (empty: the identity of this home): ',
  )
  const nextKeyAlias = await needed('--next-alias', options.nextAlias, 'Alias of the new key (empty: chosen for you): ')
  return {
    ...(alias === undefined ? {} : { alias }),
    ...(nextKeyAlias === undefined ? {} : { nextKeyAlias }),
    ...(options.reason === undefined ? {} : { reason: options.reason }),
    ...(options.nextKeyFile === undefined ? {} : { nextKeyFile: options.nextKeyFile }),
  }
}

async function runRotateNow(context: Context, options: RotateNowOptions): Promise<CommandResult> {
  const rotation = await askAliases(context, options, context.ask.agreed || context.dryRun)
  const identity = await openIdentity(context, {
    alias: rotation.alias,
    write: !context.dryRun,
    nextPassphraseFile: options.nextPassphraseFile,
  })
  const pending = (await readTurn(identity.journals, identity.turn)) !== undefined
  // Checks come first: what is typed in a hurry should not be the first to find a missing key.
  if (!pending || context.dryRun) {
    const rehearsed = await rehearse(identity, rotation)
    if (context.dryRun) return rehearsed
  }
  await context.ask.typed(
    'ROTATE',
    `This puts a new key into force for did:keri:${identity.prefix}. Every device has to be linked again.`,
  )
  const done = await rotateNow(context, identity, rotation)
  const steps = nextSteps(identity.kind === 'release', options.nextKeyFile)
  return {
    data: { ...done.data, next_steps: steps },
    text: [done.text ?? '', '', 'Next steps:', ...steps.map((step, i) => `  ${i + 1}. ${step}`)].join('\n'),
  }
}

function nextSteps(release: boolean, files: readonly string[] | undefined): string[] {
  const nextKeyFile = (files ?? [])
    .map((file) => `, each with --next-key-file ${file}`)
    .slice(0, 1)
    .join('')
  return [
    ...(release
      ? [
          'Publish the log under a new head: keyturn release head, then keyturn release publish',
          `The release and head keys still count. If they may be stolen too: keyturn rotate release --revoke and keyturn rotate head --revoke${nextKeyFile}`,
          'If the content key or a transport key was there as well: keyturn rotate content --full, keyturn noise revoke',
          'Take back the tokens that machine had for the server: keyturn-server token revoke',
        ]
      : []),
    'Link each device again: keyturn device link',
    'Replace what CI holds of the old key',
    'Move the file with the new next key to another medium',
    'Keep a record: keyturn emergency report --output incident.json',
  ]
}
