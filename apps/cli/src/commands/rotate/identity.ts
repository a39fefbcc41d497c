import type { Command } from 'commander'
import { pathExists } from '@keyturn/primitives/node'
import { openHome } from '@keyturn/publisher'
import type { HomeSession } from '@keyturn/publisher'
import { refuseFrozen } from '@keyturn/publisher/identity'
import { followOffers, refuseUnknownOffers } from '@keyturn/publisher/offers'
import { readIdentityLog, requireFresh } from '@keyturn/publisher/records'
import { openKnownClient } from '@keyturn/publisher/release'
import type { ServerOptions } from '@keyturn/publisher/release'
import {
  abandonIdentity,
  describeIdentity,
  identityCovers,
  identityOverlaps,
  overlapData,
  overlapText,
} from '@keyturn/publisher/pending'
import {
  checkIdentityRotation,
  identityRotation,
  identityRotationSteps,
  leftBehind,
  stepsText,
} from '@keyturn/publisher/rotation'
import type { WantedIdentity } from '@keyturn/publisher/pending'
import type { IdentityRotationOptions, IdentityState } from '@keyturn/publisher/rotation'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { withNextKey } from '../../flags/next-key.ts'
import type { NextKeyOptions } from '../../flags/next-key.ts'
import { withServer } from '../../flags/server.ts'
import { collect, wholeNumber } from '../../flags/values.ts'
import { formatTable } from '../../output.ts'
import { finishedText, firstText, runRotation } from './run-rotation.ts'
import type { PlannedRotation, RotationCommand, RotationOutcome } from './run-rotation.ts'

/** Flags of `rotate identity`, `release` and `head`. */
export interface IdentityFlags extends ServerOptions, NextKeyOptions {
  readonly channel?: readonly string[] | undefined
  readonly revoke?: boolean | undefined
  readonly lostKeys?: boolean | undefined
  readonly rolesDays?: string | undefined
  readonly local?: boolean | undefined
  readonly abandon?: boolean | undefined
}

/** Which day-to-day keys rotate with the identity. */
export interface IdentityRotationKind {
  readonly name: 'identity' | 'release' | 'head'
  readonly releaseKey: boolean
  readonly headKey: boolean
}

interface RegisteredKind extends IdentityRotationKind {
  readonly summary: string
}

const KINDS: readonly RegisteredKind[] = [
  {
    name: 'identity',
    summary: 'rotate the identity key and the release key with it',
    releaseKey: true,
    headKey: false,
  },
  {
    name: 'release',
    summary: 'rotate the release key: a new role document, sealed by a rotation of the identity',
    releaseKey: true,
    headKey: false,
  },
  {
    name: 'head',
    summary: 'rotate the head key: a new role document, sealed by a rotation of the identity',
    releaseKey: false,
    headKey: true,
  },
]

/** Registers `keyturn rotate identity`, `release` and `head`: one command under three names. */
export function registerRotateIdentity(rotate: Command, cli: Cli): void {
  for (const kind of KINDS) registerKind(rotate, cli, kind)
}

function registerKind(rotate: Command, cli: Cli, kind: RegisteredKind): void {
  const command = withNextKey(
    withServer(
      rotate
        .command(kind.name)
        .description(kind.summary)
        .option(
          '--channel <name>',
          'a channel that gets a new head; may be given several times (default: all that offer something)',
          collect,
        )
        .option(
          '--revoke',
          'the key that leaves was stolen: it counts for nothing any more, not even for what is installed',
        )
        .option('--lost-keys', 'replace, too, what a rotation on a machine that is lost made and put in force')
        .option('--roles-days <n>', 'days until the new role document expires, at most 400 (default: 365)')
        .option('--local', 'publish nothing now')
        .option('--abandon', 'give up an interrupted rotation that has put nothing in force yet'),
    ),
  )
  cli.define<IdentityFlags>(command, {
    example: [`keyturn rotate ${kind.name} --dry-run`, `keyturn rotate ${kind.name} --yes`],
    dryRun: true,
    run: async (context, flags) => await runRotation(context, await openIdentityRotation(context, flags, kind), flags),
  })
}

/** Opens the home for a rotation of its identity. */
export async function openIdentityRotation(
  context: Context,
  flags: IdentityFlags,
  kind: IdentityRotationKind,
): Promise<RotationCommand<IdentityState>> {
  const home = await openHome(context, {
    write: !context.dryRun,
    nextPassphraseFile: flags.nextPassphraseFile,
    nextKeyFile: flags.nextKeyFile,
  })
  const revoke = flags.revoke === true
  const options: IdentityRotationOptions = {
    channels: flags.channel,
    releaseKey: kind.releaseKey,
    headKey: kind.headKey,
    revoke,
    lostKeys: flags.lostKeys,
    rolesDays: wholeNumber(flags.rolesDays ?? '365', '--roles-days', 1, 400),
    client: flags.abandon === true ? undefined : await openKnownClient(flags, home),
    nowMs: context.clock(),
    signal: context.signal,
  }
  return {
    rotation: identityRotation,
    folder: home.paths.journals,
    describe: describeIdentity,
    async refuse() {
      // The identity rotates in an emergency, and a stolen key is revoked in one; a key that rotates on schedule waits.
      if (!context.dryRun && kind.name !== 'identity' && !revoke) await refuseFrozen(context.homeFolder, context.clock)
      if (!context.dryRun) await requireFresh(context, home, { client: options.client })
      // What a thief may have offered under a stolen key is never signed again because a server shows it.
      if (!context.dryRun && !revoke) await followOffers(home, options.client)
      if (!context.dryRun && revoke) await refuseUnknownOffers(home, options.client)
      await checkIdentityRotation(home, context.signal)
    },
    covers: (pending) => identityCovers(pending, home.description, wantedOf(flags, kind, options)),
    plan: async () => await plan(home, kind, options),
    // Where the wanted rotation revokes and the one before it does not, it learns which keys left with that one.
    followedBy: (pending) =>
      revoke && pending.state.terms?.revoke !== true ? (state) => leftBehind(home, state, kind) : undefined,
    abandon: (dryRun) => abandonIdentity(home, { dryRun, nowMs: context.clock() }),
  }
}

function wantedOf(
  flags: IdentityFlags,
  { releaseKey, headKey }: IdentityRotationKind,
  { rolesDays }: IdentityRotationOptions,
): WantedIdentity {
  return {
    releaseKey,
    headKey,
    revoke: flags.revoke === true,
    lostKeys: flags.lostKeys,
    rolesDays: flags.rolesDays === undefined ? undefined : rolesDays,
    channels: flags.channel,
  }
}

async function plan(
  home: HomeSession,
  kind: IdentityRotationKind,
  options: IdentityRotationOptions,
): Promise<PlannedRotation<IdentityState>> {
  const steps = identityRotationSteps(home, options)
  const before = home.description
  const overlaps = await identityOverlaps(home, { channels: options.channels, revoke: options.revoke === true })
  return {
    steps,
    question:
      `Rotate the identity ${before.identity.prefix} to its pre-committed ` +
      `key${kind.name === 'identity' ? '' : `, with a new ${kind.name} key`}?`,
    preview: (first) => ({
      data: {
        turn: kind.name,
        finished: first,
        steps: steps.map(({ title }) => title),
        download_bytes_at_most: 0,
        overlaps: overlapData(overlaps),
      },
      text:
        `${firstText(first)}${stepsText(steps)}\n\nPlayers download no file: what is installed is signed ` +
        `again.\n${overlapText(overlaps)}`,
    }),
    report: (outcome) => report({ home, before, kind, published: options.client !== undefined }, outcome),
  }
}

interface Reported {
  readonly home: HomeSession
  readonly before: HomeSession['description']
  readonly kind: IdentityRotationKind
  readonly published: boolean
}

async function report(
  { home, before, kind, published }: Reported,
  { resumed, first, finished }: RotationOutcome<IdentityState>,
): Promise<CommandResult> {
  const { log } = await readIdentityLog(home.paths, home.description.identity.prefix)
  const { identity, aliases } = home.description
  // What a rotation that goes on here had put in force before is in force already when this command begins.
  const isWhole = first !== undefined || !resumed
  const changed = (was: string, is: string): string =>
    isWhole ? (is === was ? 'unchanged' : `${was} to ${is}`) : `${is} is in force`
  const nextKeyFile = (await pathExists(home.nextKeyFile)) ? home.nextKeyFile : 'its file, which is not here'
  return {
    data: {
      turn: kind.name,
      prefix: identity.prefix,
      sn: log.state.sn,
      said: log.state.said,
      identity_alias: identity.alias,
      release_alias: aliases.release,
      head_alias: aliases.head,
      published,
      resumed: resumed && first === undefined,
      finished: first,
    },
    text: [
      finishedText(finished) +
        formatTable([
          ['identity', `${changed(before.identity.alias, identity.alias)}, event ${log.state.sn}`],
          ['release key', changed(before.aliases.release, aliases.release)],
          ['head key', changed(before.aliases.head, aliases.head)],
          ['next key', `${identity.nextAlias}, in ${nextKeyFile}`],
        ]),
      '',
      published
        ? 'Log, role document and signatures are published; players download no file.'
        : 'Publish it with "keyturn release publish".',
      'Move the file with the next identity key to its own medium again.',
    ].join('\n'),
  }
}
