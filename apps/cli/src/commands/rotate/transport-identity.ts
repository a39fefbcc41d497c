import { openHome } from '@keyturn/publisher'
import { identityRotation, proposeTransportIdentity, readRotation } from '@keyturn/publisher/rotation'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { withNextKey } from '../../flags/next-key.ts'
import { withServer } from '../../flags/server.ts'
import { collect, wholeNumber } from '../../flags/values.ts'
import { openSeal } from '../roles/seal.ts'
import type { SealOptions } from '../roles/seal.ts'
import { runRotation } from './run-rotation.ts'

interface TransportIdentityFlags extends SealOptions {
  readonly revoke?: boolean | undefined
  readonly rolesDays?: string | undefined
}

/** Registers `keyturn rotate transport-identity`. */
export function registerRotateTransportIdentity(rotate: Command, cli: Cli): void {
  const command = withNextKey(
    withServer(
      rotate
        .command('transport-identity')
        .description('replace the cold identity that transport keys come from: a new role document names it')
        .option(
          '--channel <name>',
          'a channel whose release is signed again, repeatable (default: that of the home)',
          collect,
        )
        .option('--revoke', 'its seed was lost or stolen: it may deliver no runtime keys any more')
        .option('--roles-days <n>', 'days until the new role document expires, at most 400 (default: 365)')
        .option('--local', 'publish nothing now'),
    ),
  )
  cli.define<TransportIdentityFlags>(command, {
    example: ['keyturn rotate transport-identity --dry-run', 'keyturn rotate transport-identity --yes'],
    dryRun: true,
    run: runTransportIdentity,
  })
}

/** Replaces the transport identity, or finishes a rotation of the identity that was to do so. */
export async function runTransportIdentity(context: Context, flags: TransportIdentityFlags): Promise<CommandResult> {
  const rolesDays = wholeNumber(flags.rolesDays ?? '365', '--roles-days', 1, 400)
  const home = await openHome(context, {
    write: !context.dryRun,
    nextPassphraseFile: flags.nextPassphraseFile,
    nextKeyFile: flags.nextKeyFile,
  })
  const old = home.description.aliases.transportIdentity
  if (context.dryRun) {
    const text = `Would replace "${old}" by a new transport identity${flags.revoke === true ? ', and revoke it' : ''}`
    return { data: { dry_run: true, old, revoke: flags.revoke === true }, text }
  }
  const pending = await readRotation(home.paths.journals, identityRotation)
  const wanted = { revoke: flags.revoke === true, rolesDays, nowMs: context.clock() }
  const proposal = pending === undefined ? await proposeTransportIdentity(home, wanted) : undefined
  const sealed = await runRotation(context, await openSeal(context, home, flags, proposal), {})
  const { transportIdentity: fresh } = home.description.aliases
  return {
    ...sealed,
    data: { ...sealed.data, old, transport_identity: fresh },
    text: [
      sealed.text ?? '',
      `Transport identity ${fresh} is in force. Publish its first key: keyturn noise publish --hand-over`,
      ...(flags.revoke === true
        ? []
        : [`The keys of ${old} answer until they end; to end them at once: keyturn roles propose --remove-transport`]),
    ].join('\n'),
  }
}
