import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { CliError } from '../../errors.ts'
import { collect } from '../../flags/values.ts'
import { withServer } from '../../flags/server.ts'
import { openHome } from '@keyturn/publisher'
import { readProposal, refuseFrozen } from '@keyturn/publisher/identity'
import { openClient, readIdentityLog, rolesInForce, serverUrl } from '@keyturn/publisher/release'
import type { ServerOptions } from '@keyturn/publisher/release'
import {
  checkIdentityTurn,
  finishingCommand,
  identityCovers,
  identityTurnSteps,
  readTurn,
  runHomeTurn,
  stepsText,
  turnPending,
} from '@keyturn/publisher/rotation'
import { withNextKey } from '../../flags/next-key.ts'
import type { NextKeyOptions } from '../../flags/next-key.ts'

interface SealOptions extends ServerOptions, NextKeyOptions {
  readonly channel?: readonly string[]
  readonly local?: boolean
}

/** Registers `keyturn roles seal`. */
export function registerSeal(roles: Command, cli: Cli): void {
  const seal = withNextKey(
    withServer(
      roles
        .command('seal')
        .description(
          'put the proposed role document in force: rotate the identity, sign manifest and head anew, publish',
        )
        .option(
          '--channel <name>',
          'a channel whose release is signed again; may be given several times (default: that of the home)',
          collect,
        )
        .option('--local', 'publish nothing now'),
    ),
  )
  cli.define<SealOptions>(seal, {
    example: 'keyturn roles seal --next-passphrase-file next.txt',
    dryRun: true,
    run: runSeal,
  })
}

async function runSeal(context: Context, options: SealOptions): Promise<CommandResult> {
  if (!context.dryRun) await refuseFrozen(context.homeFolder, context.clock)
  const home = await openHome(context, {
    write: !context.dryRun,
    nextPassphraseFile: options.nextPassphraseFile,
    nextKeyFile: options.nextKeyFile,
  })
  const proposal = await readProposal(home.paths)
  const pending = await readTurn(home.paths.journals, 'identity')
  if (proposal === undefined && pending === undefined) {
    throw new CliError('CLI_TURN_UNREADY', 'No role document is proposed', { hint: 'Run "keyturn roles propose"' })
  }
  // A turn that seals another document than the proposed one is finished under its own name.
  if (pending !== undefined && pending.facts['proposal'] === undefined)
    throw turnPending('identity', await finishingCommand(home.paths.journals, 'identity'))
  if (
    pending !== undefined &&
    !identityCovers(pending, home.description, {
      releaseKey: false,
      headKey: false,
      revoke: false,
      rolesDays: undefined,
      channels: options.channel,
    })
  ) {
    throw turnPending('identity', 'keyturn roles seal')
  }
  await checkIdentityTurn(home)
  const publishes = options.local !== true && serverUrl(options, home.description) !== undefined
  const client = publishes ? await openClient(options, home) : undefined
  const steps = identityTurnSteps(home, {
    channels: options.channel ?? [home.description.channel],
    proposal: proposal?.bytes,
    client,
    nowMs: context.clock(),
    signal: context.signal,
  })
  if (context.dryRun) {
    return { data: { steps: steps.map(({ title }) => title) }, text: stepsText(steps) }
  }
  await context.ask.confirm(`Rotate the identity and put role document ${proposal?.document.version ?? ''} in force?`)
  const { resumed } = await runHomeTurn(context, home.paths, 'identity', steps)
  const { log } = await readIdentityLog(home.paths, home.description.identity.prefix)
  const {
    document: { version },
  } = await rolesInForce(home.paths, log.prefix)
  return {
    data: { sn: log.state.sn, said: log.state.said, roles_version: version, published: publishes, resumed },
    text: `Role document ${version} is in force since event ${log.state.sn}${publishes ? ', and published' : '; publish it with "keyturn release publish"'}`,
  }
}
