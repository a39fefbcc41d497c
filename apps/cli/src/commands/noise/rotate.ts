import { activeKey, addKey, cutOver, nextDeviceId, nextKey, planRotation, retire } from '@keyturn/noise-keys/owner'
import type { PlanAction, TransportMetadata } from '@keyturn/noise-keys/owner'
import type { TransportChange, TransportState } from '@keyturn/publisher/rotation'
import { nowSeconds, transportPolicy } from '@keyturn/publisher/transport'
import type { TransportHome } from '@keyturn/publisher/transport'
import type { Command } from 'commander'
import type { Cli, Context } from '../../command.ts'
import { CliError } from '../../errors.ts'
import { runRotation } from '../rotate/run-rotation.ts'
import type { RotationCommand } from '../rotate/run-rotation.ts'
import { deriveKey, isSameChange, openTransportChange, withPlaces } from './change.ts'
import type { PlaceOptions } from './change.ts'
import { dateText } from './dates.ts'

/** Flags of `noise rotate`, which is `rotate transport`. */
export interface RotateTransportFlags extends PlaceOptions {
  readonly now?: boolean | undefined
  readonly due?: boolean | undefined
  readonly abandon?: boolean | undefined
}

const ROTATE_STEPS: readonly PlanAction[] = ['announce-next', 'cut-over', 'retire', 'refresh']

/** Registers `keyturn noise rotate`. */
export function registerNoiseRotate(noise: Command, cli: Cli): void {
  defineRotateTransport(noise.command('rotate'), 'keyturn noise rotate', cli)
}

/** Gives a command the flags and the work of a rotation of the transport key: it has two names. */
export function defineRotateTransport(command: Command, name: string, cli: Cli): void {
  withPlaces(
    command.description('take the next step of a rotation: announce the next key, cut over to it, retire the old one'),
  )
    .option(
      '--now',
      'cut over without waiting until caches know the next key; for a stolen key see "noise revoke --replace"',
    )
    .option('--due', 'only what the plan says is due: for cron')
    .option('--abandon', 'give up an interrupted change of the transport keys of which nothing is published yet')
  cli.define<RotateTransportFlags>(command, {
    example: [name, `${name} --due`, `${name} --now --dry-run`],
    dryRun: true,
    run: async (context, flags) => await runRotation(context, await openTransportRotation(context, flags), flags),
  })
}

/**
 * Opens the home for the next step of a rotation of its transport key, or with `due` only what the plan says is due.
 */
export async function openTransportRotation(
  context: Context,
  flags: RotateTransportFlags,
): Promise<RotationCommand<TransportState>> {
  const asked = flags.now === true ? 'rotate --now' : 'rotate'
  return await openTransportChange(context, flags, {
    order: 'turn',
    // By the clock the step that was interrupted is the one that was due; asked for by hand, only the same one counts.
    covers: (pending) => context.dryRun || flags.due === true || isSameChange(pending, asked, flags),
    work: (home) => workOut(context, home, flags, asked),
  })
}

async function workOut(
  context: Context,
  home: TransportHome,
  flags: RotateTransportFlags,
  asked: string,
): Promise<TransportChange | undefined> {
  const nowS = nowSeconds(context)
  if (activeKey(home.metadata) === undefined)
    throw new CliError('CLI_TURN_UNREADY', 'No transport key is active', { hint: 'Run "keyturn noise publish"' })
  const plan = planRotation(home.metadata, transportPolicy(home.session.description, home.metadata), nowS)
  const due = new Set(plan.steps.filter((step) => step.due).map(({ action }) => action))
  if (flags.due === true && !ROTATE_STEPS.some((action) => due.has(action))) return undefined
  const { metadata, did } = await takeStep(home, flags, due, nowS)
  return { metadata, did: did.join('; '), order: 'turn', asked }
}

/** Retires what is over; announces the next key, or cuts over to the one that was announced long enough. */
async function takeStep(
  home: TransportHome,
  flags: RotateTransportFlags,
  due: ReadonlySet<PlanAction>,
  nowS: number,
): Promise<{ metadata: TransportMetadata; did: string[] }> {
  const { metadata: retired, retired: gone } = retire(home.metadata, nowS)
  const did = gone.map(({ device }) => `retired ${device}`)
  const active = activeKey(retired)?.device ?? ''
  const waiting = nextKey(retired)
  // Asked for by hand it is the next step; by the clock only when its time has come.
  const announces =
    waiting === undefined &&
    (due.has('announce-next') || flags.now === true || (flags.due !== true && gone.length === 0))
  const metadata = announces ? addKey(retired, await deriveKey(home, nextDeviceId(retired, active)), nowS) : retired
  const next = nextKey(metadata)
  const ripe =
    waiting !== undefined && (waiting.activeFromS ?? 0) <= nowS && (flags.due !== true || due.has('cut-over'))
  if (next !== undefined && (flags.now === true || ripe)) {
    const after = cutOver(metadata, nowS)
    const until = dateText(nowS + after.policy.overlapS)
    return { metadata: after, did: [...did, `cut over to ${next.device}; ${active} answers until ${until}`] }
  }
  if (announces) did.push(`announced ${next?.device}, to be used from ${dateText(next?.activeFromS)}`)
  else if (did.length === 0) did.push(waitingText(next))
  return { metadata, did }
}

function waitingText(next: ReturnType<typeof nextKey>): string {
  return next === undefined
    ? 'published again'
    : `waits: ${next.device} is announced, to be used from ${dateText(next.activeFromS)}`
}
