import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { CliError } from '../../errors.ts'
import { collect } from '../../flags/values.ts'
import { withServer } from '../../flags/server.ts'
import { openHome, PublisherError } from '@keyturn/publisher'
import type { HomeSession } from '@keyturn/publisher'
import { readProposal, refuseFrozen } from '@keyturn/publisher/identity'
import { readIdentityLog, readPublishedChannels, requireFresh, rolesInForce } from '@keyturn/publisher/records'
import { checkSignsAlone, openKnownClient } from '@keyturn/publisher/release'
import type { StoredRoles } from '@keyturn/publisher/records'
import type { ServerOptions } from '@keyturn/publisher/release'
import { describeIdentity, finishingCommand, identityCovers, rotationPending } from '@keyturn/publisher/pending'
import { checkIdentityRotation, identityRotation, identityRotationSteps, stepsText } from '@keyturn/publisher/rotation'
import type { IdentityState, RotationStep } from '@keyturn/publisher/rotation'
import { withNextKey } from '../../flags/next-key.ts'
import type { NextKeyOptions } from '../../flags/next-key.ts'
import { runRotation } from '../rotate/run-rotation.ts'
import type { PlannedRotation, RotationCommand } from '../rotate/run-rotation.ts'

/** What sealing a role document asks for. */
export interface SealOptions extends ServerOptions, NextKeyOptions {
  readonly channel?: readonly string[] | undefined
  readonly local?: boolean | undefined
}

/** Registers `keyturn roles seal`. */
export function registerSeal(roles: Command, cli: Cli): void {
  const seal = withNextKey(
    withServer(
      roles
        .command('seal')
        .description(
          'put the proposed role document in force: rotate the identity, sign manifest and head again, publish',
        )
        .option(
          '--channel <name>',
          'a channel that gets a new head; may be given several times (default: all that offer something)',
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
  const home = await openHome(context, {
    write: !context.dryRun,
    nextPassphraseFile: options.nextPassphraseFile,
    nextKeyFile: options.nextKeyFile,
  })
  return await runRotation(context, await openSeal(context, home, options, await readProposal(home.paths)), {})
}

/**
 * The rotation of the identity that puts a role document in force.
 *
 * @param proposal - The document; undefined when only an interrupted rotation can be finished.
 */
export async function openSeal(
  context: Context,
  home: HomeSession,
  options: SealOptions,
  proposal: StoredRoles | undefined,
): Promise<RotationCommand<IdentityState>> {
  const { journals } = home.paths
  const client = await openKnownClient(options, home)
  return {
    rotation: identityRotation,
    folder: journals,
    describe: describeIdentity,
    async refuse(pending) {
      if (!context.dryRun) await refuseFrozen(context.homeFolder, context.clock)
      if (proposal === undefined && pending === undefined)
        throw new CliError('CLI_TURN_UNREADY', 'No role document is proposed', { hint: 'Run "keyturn roles propose"' })
      // A rotation that seals a different document than the proposed one finishes under its own name.
      if (pending !== undefined && pending.state.terms?.proposal === undefined)
        throw rotationPending('identity', await finishingCommand(journals, 'identity'))
      const wanted = {
        releaseKey: false,
        headKey: false,
        revoke: false,
        rolesDays: undefined,
        channels: options.channel,
      }
      if (pending !== undefined && !identityCovers(pending, home.description, wanted))
        throw rotationPending('identity', 'keyturn roles seal')
      if (!context.dryRun) await requireFresh(context, home, { client })
      if (client !== undefined && proposal !== undefined) await checkMaySignAlone(home, proposal.document)
      await checkIdentityRotation(home, context.signal)
    },
    covers: () => true,
    plan: () =>
      Promise.resolve(
        planSeal(
          home,
          identityRotationSteps(home, {
            channels: options.channel,
            proposal: proposal?.bytes,
            client,
            nowMs: context.clock(),
            signal: context.signal,
          }),
          { version: proposal?.document.version, publishes: client !== undefined },
        ),
      ),
  }
}

/** Published releases have to be signed as the new document requires, in the same step. */
async function checkMaySignAlone(home: HomeSession, document: Parameters<typeof checkSignsAlone>[1]): Promise<void> {
  if ((await readPublishedChannels(home.paths)).length === 0) return
  try {
    await checkSignsAlone(home, document)
  } catch (cause) {
    if (!(cause instanceof PublisherError) || cause.code !== 'REL_COSIGN') throw cause
    throw new PublisherError(cause.code, cause.message, {
      cause,
      details: cause.details,
      hint:
        'Give --local; then let the others run "keyturn release cosign" on what is offered, ' +
        'and run "keyturn release publish"',
    })
  }
}

function planSeal(
  home: HomeSession,
  steps: readonly RotationStep<IdentityState>[],
  { version, publishes }: { readonly version: number | undefined; readonly publishes: boolean },
): PlannedRotation<IdentityState> {
  return {
    steps,
    question: `Rotate the identity and put role document ${version ?? ''} in force?`,
    preview: () => ({ data: { steps: steps.map(({ title }) => title) }, text: stepsText(steps) }),
    async report({ resumed }) {
      const { log } = await readIdentityLog(home.paths, home.description.identity.prefix)
      const { document } = await rolesInForce(home.paths, log.prefix)
      const left = publishes ? ', and published' : '; publish it with "keyturn release publish"'
      return {
        data: {
          sn: log.state.sn,
          said: log.state.said,
          roles_version: document.version,
          published: publishes,
          resumed,
        },
        text: `Role document ${document.version} is in force since event ${log.state.sn}${left}`,
      }
    },
  }
}
