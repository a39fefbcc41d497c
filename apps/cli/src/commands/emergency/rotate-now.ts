import type { Command } from 'commander'
import { openHome } from '@keyturn/publisher'
import { listNamedIdentities, openIdentity, releaseIdentity } from '@keyturn/publisher/identity'
import type { Identity } from '@keyturn/publisher/identity'
import { abandonIdentity, describePending } from '@keyturn/publisher/pending'
import {
  identityRotation,
  identityRotationSteps,
  isKeyRotationBinding,
  readRotation,
  runHomeRotation,
} from '@keyturn/publisher/rotation'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { CliError } from '../../errors.ts'
import { keyRotationCommand } from '../id/key-rotation.ts'
import { withNewPassphrase } from '../id/new-passphrase.ts'
import { withNextKeys } from '../id/rotation-terms.ts'
import type { RotateOptions } from '../id/rotation-terms.ts'
import { runRotation } from '../rotate/run-rotation.ts'

interface RotateNowOptions extends Pick<
  RotateOptions,
  'reason' | 'nextKeyFile' | 'nextPassphraseFile' | 'newPassphrase' | 'newPassphraseFile'
> {
  readonly currentAlias?: string
  readonly nextAlias?: string
}

/** Registers `keyturn emergency rotate-now`. */
export function registerRotateNow(emergency: Command, cli: Cli): void {
  const command = withNextKeys(
    emergency
      .command('rotate-now')
      .description('put the promised next key into force at once, after everything was checked')
      .option('--current-alias <name>', 'alias of the key that may be stolen (default: the identity of the home)')
      .option('--next-alias <name>', 'alias of the key that comes into force (default: chosen for you)'),
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

async function runRotateNow(context: Context, options: RotateNowOptions): Promise<CommandResult> {
  const rotation: RotateOptions = {
    alias: options.currentAlias ?? (await askWhich(context)),
    nextKeyAlias: options.nextAlias,
    reason: options.reason,
    nextKeyFile: options.nextKeyFile,
  }
  const identity = await openIdentity(context, {
    alias: rotation.alias,
    write: !context.dryRun,
    nextPassphraseFile: options.nextPassphraseFile,
  })
  const command = keyRotationCommand(context, identity, rotation, { isEmergency: true })
  // Checks come first: a missing key should show before anything is typed.
  const pending = await readRotation(command.folder, command.rotation)
  const isKept = pending !== undefined && (await command.replaces?.(pending)) !== true
  if (identity.kind === 'named' || (await readRotation(identity.journals, identityRotation)) === undefined)
    await command.refuse(isKept ? pending : undefined)
  if (context.dryRun) return await runRotation(context, command, {})
  await context.ask.typed(
    'ROTATE',
    `This puts a new key into force for did:keri:${identity.prefix}. Every device has to be linked again.`,
  )
  if (identity.kind === 'release') await clearTheWay(context, options, identity)
  const done = await withNewPassphrase(context, identity, options, () => runRotation(context, command, {}))
  const steps = nextSteps(identity, options.nextKeyFile)
  return {
    data: { ...done.data, next_steps: steps },
    text: [done.text ?? '', '', 'Next steps:', ...steps.map((step, i) => `  ${i + 1}. ${step}`)].join('\n'),
  }
}

/** Which identity is meant: asked only where there are several and no home says. */
async function askWhich(context: Context): Promise<string | undefined> {
  if (context.ask.agreed || context.dryRun) return undefined
  const named = await listNamedIdentities(context.homeFolder)
  const hasHome = await openHome(context).then(
    () => true,
    () => false,
  )
  if (hasHome || named.length < 2) return undefined
  const names = named.map(({ alias }) => alias).join(', ')
  try {
    return (await context.ask.line(`Which key may be stolen (${names})? `)).trim()
  } catch (cause) {
    throw new CliError('CLI_NO_TERMINAL', 'No terminal to ask on: give --current-alias; nothing was changed', { cause })
  }
}

/**
 * An emergency does not wait for another rotation of the release identity. One that is not signed yet is given up. Of
 * one that has to be finished, only the part that rotates the key runs now; the rest waits in its journal.
 */
async function clearTheWay(context: Context, options: RotateNowOptions, identity: Identity): Promise<void> {
  const { journals } = identity
  const pending = await readRotation(journals, identityRotation)
  if (pending === undefined || pending.done.includes('identity-retire')) return
  const what = await describePending(journals, identityRotation.name)
  const home = await openHome(context, {
    write: true,
    nextPassphraseFile: options.nextPassphraseFile,
    nextKeyFile: options.nextKeyFile?.[0],
  })
  if (!(await isKeyRotationBinding(releaseIdentity(home), pending))) {
    await abandonIdentity(home, { dryRun: false, nowMs: context.clock() })
    context.out.warn(`Gave up what was interrupted and is not in force: ${what}`)
    return
  }
  const steps = identityRotationSteps(home, { channels: [], nowMs: context.clock(), signal: context.signal })
  await runHomeRotation(context, identityRotation, steps, { folder: journals, stopAfter: 'identity-retire' })
  context.out.warn(
    `Put the keys of an interrupted rotation in force first: ${what}. "keyturn rotate identity" does the rest`,
  )
}

function nextSteps(identity: Identity, files: readonly string[] | undefined): string[] {
  const release = identity.kind === 'release'
  const nextKeyFile = (files ?? [])
    .map((file) => `, each with --next-key-file ${file}`)
    .slice(0, 1)
    .join('')
  const alias = release ? '' : ` --alias ${identity.alias}`
  return [
    ...(release
      ? [
          'Publish the log under a new head: keyturn release renew --all',
          'The release and head keys still count. If they may be stolen too: keyturn rotate release --revoke and ' +
            `keyturn rotate head --revoke${nextKeyFile}`,
          'If the content key or a transport key was there as well: keyturn rotate content --full, keyturn noise ' +
            'revoke',
          'Revoke the server tokens that were on that machine: keyturn-server token revoke',
        ]
      : []),
    `Link each device again: keyturn device link${alias}`,
    'Replace what CI holds of the old key',
    'Move the file with the new next key to another medium',
    `Keep a record: keyturn emergency report${alias} --output incident.json`,
  ]
}
