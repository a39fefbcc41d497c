import { formatBytes } from '@keyturn/primitives'
import type { Command } from 'commander'
import { openHome } from '@keyturn/publisher'
import type { HomeSession } from '@keyturn/publisher'
import { collectStatus } from '@keyturn/publisher/health'
import { refuseFrozen } from '@keyturn/publisher/identity'
import { followOffers } from '@keyturn/publisher/offers'
import { requireFresh } from '@keyturn/publisher/records'
import { openKnownClient } from '@keyturn/publisher/release'
import type { ServerOptions } from '@keyturn/publisher/release'
import {
  abandonContent,
  contentCovers,
  contentOverlaps,
  describeContent,
  overlapData,
  overlapText,
  refuseRivals,
} from '@keyturn/publisher/pending'
import { contentRotation, contentRotationSteps, planContentRotation, stepsText } from '@keyturn/publisher/rotation'
import type { Overlap } from '@keyturn/publisher/pending'
import type {
  ContentRotationOptions,
  ContentRotationPlan,
  ContentState,
  RotationRecord,
} from '@keyturn/publisher/rotation'
import type { Cli, Context } from '../../command.ts'
import { channelOf } from '../../flags/channel.ts'
import { withServer } from '../../flags/server.ts'
import { writeClientConfig } from './client-config.ts'
import { finishedText, firstText, runRotation } from './run-rotation.ts'
import type { PlannedRotation, RotationCommand } from './run-rotation.ts'

/** Flags of `rotate content`. */
export interface ContentFlags extends ServerOptions {
  readonly channel?: string | undefined
  readonly full?: boolean | undefined
  readonly signingKey?: boolean | undefined
  readonly local?: boolean | undefined
  readonly abandon?: boolean | undefined
}

/** Registers `keyturn rotate content`. */
export function registerRotateContent(rotate: Command, cli: Cli): void {
  const content = withServer(
    rotate
      .command('content')
      .description('rotate the content key: archives are rewrapped, players download next to nothing')
      .option('--channel <name>', 'the channel whose release is rewrapped (default: that of the home)')
      .option('--full', 'encrypt every file again: for a stolen key; players download every archive')
      .option('--signing-key', 'rotate the archive signing key with it, which happens by itself once that is due')
      .option('--local', 'publish nothing now')
      .option('--abandon', 'give up an interrupted rotation that has put nothing in force yet'),
  )
  cli.define<ContentFlags>(content, {
    example: ['keyturn rotate content --dry-run', 'keyturn rotate content --yes'],
    dryRun: true,
    run: async (context, flags) => await runRotation(context, await openContentRotation(context, flags), flags),
  })
}

/** Opens the home for a rotation of its content key. */
export async function openContentRotation(
  context: Context,
  flags: ContentFlags,
): Promise<RotationCommand<ContentState>> {
  const home = await openHome(context, { write: !context.dryRun })
  const options: ContentRotationOptions = {
    channel: channelOf(flags, home.description),
    nowMs: context.clock(),
    signal: context.signal,
    warn: context.warn,
    full: flags.full === true,
    signingKey: flags.signingKey === true || (await isSigningKeyDue(home, context.clock())),
    client: flags.abandon === true ? undefined : await openKnownClient(flags, home),
  }
  return {
    rotation: contentRotation,
    folder: home.paths.journals,
    describe: describeContent,
    async refuse() {
      if (!context.dryRun) await refuseFrozen(context.homeFolder, context.clock)
      await refuseRivals(home.paths, contentRotation.name)
      // A mistyped passphrase must not be found after a rotation has begun.
      if (context.dryRun) return
      await requireFresh(context, home, { client: options.client })
      await followOffers(home, options.client)
      await home.keys()
    },
    covers: (pending) =>
      contentCovers(pending, {
        full: flags.full === true,
        signingKey: flags.signingKey,
        channel: flags.channel,
      }),
    plan: (pending) => plan(home, options, pending),
    abandon: (dryRun) => abandonContent(home, { dryRun, nowMs: context.clock() }),
  }
}

/** With the content key that it vouches for, so that clients get both at once. */
async function isSigningKeyDue(home: HomeSession, nowMs: number): Promise<boolean> {
  const { items } = await collectStatus(home, nowMs)
  return items.some(({ kind, due_state: state }) => kind === 'archive-signing' && state === 'due')
}

async function plan(
  home: HomeSession,
  options: ContentRotationOptions,
  pending: RotationRecord<ContentState> | undefined,
): Promise<PlannedRotation<ContentState>> {
  const planned = await planContentRotation(home, options, pending?.state)
  const steps = contentRotationSteps(home, planned, options)
  const overlaps = await contentOverlaps(home, planned)
  const facts = factsOf(planned, options)
  return {
    steps,
    question: `Rotate content key ${planned.from} to ${planned.to}?`,
    preview: (first) => ({
      data: {
        ...facts,
        finished: first,
        full: planned.full,
        steps: steps.map(({ title }) => title),
        overlaps: overlapData(overlaps),
      },
      text:
        `${firstText(first)}${stepsText(steps)}\n\nA player downloads at most ` +
        `${formatBytes(planned.downloadBytesAtMost)}.\n${overlapText(overlaps)}`,
    }),
    async report({ resumed, first, finished }) {
      const written = await writeClientConfig(home)
      const text = `${finishedText(finished)}${reportText(planned, options, overlaps)}`
      return {
        data: { ...facts, finished: first, resumed, client_config: written !== undefined },
        text: written === undefined ? text : `${text}\n${written}`,
      }
    },
  }
}

function factsOf(
  planned: ContentRotationPlan,
  { client }: ContentRotationOptions,
): Record<string, number | string | boolean | undefined> {
  return {
    from_key_id: planned.from,
    to_key_id: planned.to,
    slot: planned.slot,
    signing_key: planned.signing,
    version: planned.nextVersion,
    download_bytes_at_most: planned.downloadBytesAtMost,
    published: client !== undefined && planned.release !== undefined,
  }
}

function reportText(
  { to, release, nextVersion, signing }: ContentRotationPlan,
  { client }: ContentRotationOptions,
  overlaps: readonly Overlap[],
): string {
  const left =
    release === undefined
      ? 'Nothing is released yet: the next release uses it.'
      : client === undefined
        ? `Release ${nextVersion ?? ''} waits in the home: publish it with "keyturn release publish".`
        : `Release ${nextVersion ?? ''} is published.`
  const verifier =
    signing === undefined
      ? ''
      : `\nArchive signing key ${signing} is in force: clients need its verifier, ` +
        'keyturn pack export-client-config --output M2PackKeys.h'
  return `Content key ${to} is in force.${verifier}\n${left}\n${overlapText(overlaps)}`
}
