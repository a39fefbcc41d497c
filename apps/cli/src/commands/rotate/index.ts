import { formatBytes } from '@keyturn/primitives'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { collect, wholeNumber } from '../../flags/values.ts'
import { formatTable } from '../../output.ts'
import { withServer } from '../../flags/server.ts'
import { openHome } from '@keyturn/publisher'
import type { HomeSession } from '@keyturn/publisher'
import { refuseFrozen } from '@keyturn/publisher/identity'
import { openClient, readIdentityLog, serverUrl } from '@keyturn/publisher/release'
import type { ServerOptions } from '@keyturn/publisher/release'
import {
  abandonTurn,
  checkIdentityTurn,
  contentCovers,
  contentOverlaps,
  contentTurnSteps,
  describeTurn,
  identityCovers,
  identityOverlaps,
  identityTurnSteps,
  leftBehind,
  overlapData,
  overlapText,
  planContentTurn,
  readTurn,
  refuseRivals,
  runHomeTurn,
  stepsText,
} from '@keyturn/publisher/rotation'
import type {
  AbandonedTurn,
  ContentTurnOptions,
  IdentityTurnOptions,
  TurnRecord,
  TurnStep,
  WantedIdentity,
} from '@keyturn/publisher/rotation'
import { withNextKey } from '../../flags/next-key.ts'
import type { NextKeyOptions } from '../../flags/next-key.ts'
import { channelOf } from '../../flags/channel.ts'
import { registerRotateTransport } from '../noise/turn.ts'
import { registerRotateAll } from './all.ts'
import { registerRotateVault } from './vault.ts'

/** Flags of `rotate content`. */
export interface ContentFlags extends ServerOptions {
  readonly channel?: string
  readonly full?: boolean
  readonly local?: boolean
  readonly abandon?: boolean
}

/** Flags of `rotate identity`, `release` and `head`. */
export interface IdentityFlags extends ServerOptions, NextKeyOptions {
  readonly channel?: readonly string[]
  readonly revoke?: boolean
  readonly rolesDays?: string
  readonly local?: boolean
  readonly abandon?: boolean
}

/** Which day-to-day keys turn with the identity. */
export interface IdentityTurnKind {
  readonly turn: 'identity' | 'release' | 'head'
  /** Whatever was interrupted is what is wanted: finish that and no more. */
  readonly finishOnly?: boolean
  readonly summary: string
  readonly releaseKey: boolean
  readonly headKey: boolean
}

const identityTurns: readonly IdentityTurnKind[] = [
  { turn: 'identity', summary: 'turn the identity key and the release key with it', releaseKey: true, headKey: false },
  {
    turn: 'release',
    summary: 'turn the release key: a new role document, sealed by a rotation',
    releaseKey: true,
    headKey: false,
  },
  {
    turn: 'head',
    summary: 'turn the head key: a new role document, sealed by a rotation',
    releaseKey: false,
    headKey: true,
  },
]

/** Registers `keyturn rotate …`. */
export function registerRotate(program: Command, cli: Cli): void {
  const rotate = program
    .command('rotate')
    .description('turn a key: planned, shown, done, and resumed where it was interrupted')
  registerContent(rotate, cli)
  for (const kind of identityTurns) registerIdentity(rotate, cli, kind)
  registerRotateTransport(rotate, cli)
  registerRotateVault(rotate, cli)
  registerRotateAll(rotate, cli, { content: rotateContent, identity: rotateIdentity })
}

function registerContent(rotate: Command, cli: Cli): void {
  const content = withServer(
    rotate
      .command('content')
      .description('turn the content key: archives are rewrapped, players download next to nothing')
      .option('--channel <name>', 'the channel whose release is turned (default: that of the home)')
      .option('--full', 'encrypt every file anew: for a stolen key; players download every archive')
      .option('--local', 'publish nothing now')
      .option('--abandon', 'give up an interrupted turn that has put nothing in force yet'),
  )
  cli.define<ContentFlags>(content, {
    example: ['keyturn rotate content --dry-run', 'keyturn rotate content --yes'],
    dryRun: true,
    run: rotateContent,
  })
}

function registerIdentity(rotate: Command, cli: Cli, kind: IdentityTurnKind): void {
  const command = withNextKey(
    withServer(
      rotate
        .command(kind.turn)
        .description(kind.summary)
        .option(
          '--channel <name>',
          'a channel whose release is signed again; may be given several times (default: that of the home)',
          collect,
        )
        .option(
          '--revoke',
          'the key that leaves was stolen: it counts for nothing any more, not even for what is installed',
        )
        .option('--roles-days <n>', 'days until the new role document expires, at most 400 (default: 365)')
        .option('--local', 'publish nothing now')
        .option('--abandon', 'give up an interrupted turn that has put nothing in force yet'),
    ),
  )
  cli.define<IdentityFlags>(command, {
    example: [`keyturn rotate ${kind.turn} --dry-run`, `keyturn rotate ${kind.turn} --yes`],
    dryRun: true,
    run: (context, flags) => rotateIdentity(context, flags, kind),
  })
}

async function rotateContent(context: Context, flags: ContentFlags): Promise<CommandResult> {
  const home = await openHome(context, { write: !context.dryRun })
  if (flags.abandon === true) return await abandon(context, home, 'content')
  if (!context.dryRun) await refuseFrozen(context.homeFolder, context.clock)
  await refuseRivals(home.paths, 'content')
  const options: ContentTurnOptions = {
    channel: channelOf(flags, home.description),
    nowMs: context.clock(),
    signal: context.signal,
    full: flags.full === true,
    client: await clientOf(flags, home),
  }
  const pending = await readTurn(home.paths.journals, 'content')
  const first =
    pending !== undefined && !contentCovers(pending, { full: flags.full === true, channel: flags.channel })
      ? pending
      : undefined
  // A mistyped passphrase must not be found after a turn has begun.
  if (!context.dryRun) {
    await home.keys()
    if (first !== undefined) await finishContent(context, home, first, options)
  }
  const plan = await planContentTurn(home, options, first === undefined ? pending?.facts : undefined)
  const steps = contentTurnSteps(home, plan, options)
  const facts = {
    from_key_id: plan.from,
    to_key_id: plan.to,
    slot: plan.slot,
    version: plan.nextVersion,
    download_bytes_at_most: plan.downloadBytesAtMost,
    published: options.client !== undefined && plan.release !== undefined,
    finished: first === undefined ? undefined : describeTurn(first),
  }
  const overlaps = await contentOverlaps(home, plan)
  if (context.dryRun) {
    return {
      data: { ...facts, full: plan.full, steps: steps.map(({ title }) => title), overlaps: overlapData(overlaps) },
      text: `${firstText(first)}${stepsText(steps)}\n\nA player downloads at most ${formatBytes(plan.downloadBytesAtMost)}.\n${overlapText(overlaps)}`,
    }
  }
  await context.ask.confirm(`Turn content key ${plan.from} to ${plan.to}?`)
  const { resumed } = await runHomeTurn(context, home.paths, 'content', steps)
  const left =
    plan.release === undefined
      ? 'Nothing is released yet: the next release uses it.'
      : options.client === undefined
        ? `Release ${plan.nextVersion ?? ''} waits in the home: publish it with "keyturn release publish".`
        : `Release ${plan.nextVersion ?? ''} is published.`
  return {
    data: { ...facts, resumed },
    text: `${finishedText(first ?? (resumed ? pending : undefined))}Content key ${plan.to} is in force.\n${left}\n${overlapText(overlaps)}`,
  }
}

async function finishContent(
  context: Context,
  home: HomeSession,
  pending: TurnRecord,
  options: ContentTurnOptions,
): Promise<void> {
  await context.ask.confirm(`Finish what was interrupted first: ${describeTurn(pending)}?`)
  await runHomeTurn(
    context,
    home.paths,
    'content',
    contentTurnSteps(home, await planContentTurn(home, options, pending.facts), options),
  )
  context.out.step('finished', `finished what was interrupted: ${describeTurn(pending)}`)
}

/** What a dry run says of a turn that comes before the wanted one. */
function firstText(first: TurnRecord | undefined): string {
  return first === undefined ? '' : `Would first finish what was interrupted: ${describeTurn(first)}. Then:\n`
}

function finishedText(turn: TurnRecord | undefined): string {
  return turn === undefined ? '' : `finished what was interrupted: ${describeTurn(turn)}\n`
}

async function rotateIdentity(context: Context, flags: IdentityFlags, kind: IdentityTurnKind): Promise<CommandResult> {
  const home = await openHome(context, {
    write: !context.dryRun,
    nextPassphraseFile: flags.nextPassphraseFile,
    nextKeyFile: flags.nextKeyFile,
  })
  if (flags.abandon === true) return await abandon(context, home, 'identity')
  // The identity turns in an emergency, and a stolen key is revoked in one; a key that turns on schedule waits.
  if (!context.dryRun && kind.turn !== 'identity' && flags.revoke !== true)
    await refuseFrozen(context.homeFolder, context.clock)
  await checkIdentityTurn(home)
  const before = home.description
  const options: IdentityTurnOptions = {
    channels: flags.channel ?? [before.channel],
    releaseKey: kind.releaseKey,
    headKey: kind.headKey,
    revoke: flags.revoke === true,
    rolesDays: wholeNumber(flags.rolesDays ?? '365', '--roles-days', 1, 400),
    client: await clientOf(flags, home),
    nowMs: context.clock(),
    signal: context.signal,
  }
  const steps = identityTurnSteps(home, options)
  const pending = await readTurn(home.paths.journals, 'identity')
  const first =
    pending !== undefined &&
    kind.finishOnly !== true &&
    !identityCovers(pending, before, wantedOf(flags, kind, options))
      ? pending
      : undefined
  if (context.dryRun) {
    const overlaps = await identityOverlaps(home, { channels: options.channels, revoke: flags.revoke === true })
    return {
      data: {
        turn: kind.turn,
        finished: first === undefined ? undefined : describeTurn(first),
        steps: steps.map(({ title }) => title),
        download_bytes_at_most: 0,
        overlaps: overlapData(overlaps),
      },
      text: `${firstText(first)}${stepsText(steps)}\n\nPlayers download no file: what is installed is signed again.\n${overlapText(overlaps)}`,
    }
  }
  if (first !== undefined) await context.ask.confirm(`Finish what was interrupted first: ${describeTurn(first)}?`)
  await context.ask.confirm(
    `Rotate the identity ${before.identity.prefix} to its pre-committed key${kind.turn === 'identity' ? '' : `, with a new ${kind.turn} key`}?`,
  )
  if (first !== undefined) await finishIdentity(context, home, first, steps, kind, flags.revoke === true)
  const { resumed } = await runHomeTurn(context, home.paths, 'identity', steps)
  const { log } = await readIdentityLog(home.paths, home.description.identity.prefix)
  const { identity, aliases } = home.description
  return {
    data: {
      turn: kind.turn,
      prefix: identity.prefix,
      sn: log.state.sn,
      said: log.state.said,
      identity_alias: identity.alias,
      release_alias: aliases.release,
      head_alias: aliases.head,
      published: options.client !== undefined,
      resumed: resumed && first === undefined,
      finished: first === undefined ? undefined : describeTurn(first),
    },
    text: [
      ...((first ?? (resumed ? pending : undefined)) === undefined ? [] : [finishedText(first ?? pending).trimEnd()]),
      formatTable([
        ['identity', `${before.identity.alias} to ${identity.alias}, event ${log.state.sn}`],
        [
          'release key',
          aliases.release === before.aliases.release ? 'unchanged' : `${before.aliases.release} to ${aliases.release}`,
        ],
        ['head key', aliases.head === before.aliases.head ? 'unchanged' : `${before.aliases.head} to ${aliases.head}`],
        ['next key', `${identity.nextAlias}, in ${home.nextKeyFile}`],
      ]),
      '',
      options.client === undefined
        ? 'Publish it with "keyturn release publish". '
        : 'Log, role document and signatures are published; players download no file.',
      'Move the file with the next identity key to its own medium again.',
    ].join('\n'),
  }
}

function wantedOf(
  flags: IdentityFlags,
  { releaseKey, headKey }: IdentityTurnKind,
  { rolesDays }: IdentityTurnOptions,
): WantedIdentity {
  return {
    releaseKey,
    headKey,
    revoke: flags.revoke === true,
    rolesDays: flags.rolesDays === undefined ? undefined : rolesDays,
    channels: flags.channel,
  }
}

/** Finishes a turn that does less than is wanted; where the wanted one revokes, it learns which keys left with this one. */
async function finishIdentity(
  context: Context,
  home: HomeSession,
  pending: TurnRecord,
  steps: readonly TurnStep[],
  kind: IdentityTurnKind,
  revoke: boolean,
): Promise<void> {
  const revokesLater = revoke && pending.facts['revoke'] !== true
  await runHomeTurn(
    context,
    home.paths,
    'identity',
    steps,
    revokesLater ? (facts) => leftBehind(home, facts, kind) : undefined,
  )
  context.out.step('finished', `finished what was interrupted: ${describeTurn(pending)}`)
}

async function abandon(context: Context, home: HomeSession, turn: AbandonedTurn): Promise<CommandResult> {
  if (!context.dryRun) await context.ask.confirm(`Give up the interrupted turn of "${turn}"?`)
  const { started, done } = await abandonTurn(home, turn, context.dryRun)
  return {
    data: { abandoned: turn, started, done: [...done], dry_run: context.dryRun },
    text: `${context.dryRun ? 'Would give up' : 'Gave up'} the turn of "${turn}" that began at ${started}; nothing of it is in force.`,
  }
}

/** The server that a turn is published to; undefined when it is to wait in the home, or when no server is known. */
async function clientOf(
  flags: ServerOptions & { readonly local?: boolean },
  home: HomeSession,
): Promise<Awaited<ReturnType<typeof openClient>> | undefined> {
  return flags.local === true || serverUrl(flags, home.description) === undefined
    ? undefined
    : await openClient(flags, home)
}
