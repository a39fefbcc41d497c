import type { CommandResult, Context } from '../../command.ts'
import { readRotation, runHomeRotation } from '@keyturn/publisher/rotation'
import type { AbandonedRotation } from '@keyturn/publisher/pending'
import type { Rotation, RotationRecord, RotationStep } from '@keyturn/publisher/rotation'

/** What a rotation came to. */
export interface RotationOutcome<State> {
  readonly state: State
  /** What this run did had been interrupted. */
  readonly resumed: boolean
  /** The interrupted rotation that was finished before the wanted one. */
  readonly first: string | undefined
  /** The interrupted rotation that was finished, be it the wanted one. */
  readonly finished: string | undefined
}

/** A rotation that is worked out and not begun. */
export interface PlannedRotation<State> {
  readonly steps: readonly RotationStep<State>[]
  /** Asked before anything is done; ends in a question mark. */
  readonly question?: string | undefined
  /** What a dry run answers. */
  preview(first: string | undefined): CommandResult | Promise<CommandResult>
  /** What the command answers in the end. */
  report(outcome: RotationOutcome<State>): CommandResult | Promise<CommandResult>
}

/** A rotation of one kind, with its home open: what the commands that rotate have in common. */
export interface RotationCommand<State> {
  readonly rotation: Rotation<State>
  /** Of the journals. */
  readonly folder: string
  /** What a rotation is about, for people. */
  describe(state: State): string
  /** Throws when nothing can begin or go on: frozen, a rival that waits, a key that is missing. */
  refuse(pending: RotationRecord<State> | undefined): Promise<void>
  /** Whether an interrupted rotation comes to what is wanted now; else it is finished first. */
  covers(pending: RotationRecord<State>): boolean | Promise<boolean>
  /** Whether an interrupted rotation is given up in favor of the one that is wanted. */
  replaces?(pending: RotationRecord<State>): boolean | Promise<boolean>
  /** Works the rotation out, or the rest of the one that was interrupted; a result when there is nothing to do. */
  plan(pending: RotationRecord<State> | undefined): Promise<PlannedRotation<State> | CommandResult>
  /** With which state the wanted rotation begins in the write that ends the interrupted one. */
  followedBy?(pending: RotationRecord<State>): ((state: State) => Promise<State>) | undefined
  /** Gives an interrupted rotation up. */
  abandon?(dryRun: boolean): Promise<AbandonedRotation>
}

/** Flags that every rotation has. */
export interface RotationFlags {
  readonly abandon?: boolean | undefined
  /** Finish whatever was interrupted, and no more. */
  readonly finishOnly?: boolean | undefined
}

/**
 * The one order in which commands rotate a key: give up what is to be given up; refuse what cannot be; finish what was
 * interrupted and is not what is wanted; plan; ask; run; report.
 */
export async function runRotation<State>(
  context: Context,
  command: RotationCommand<State>,
  flags: RotationFlags,
): Promise<CommandResult> {
  if (flags.abandon === true && command.abandon !== undefined)
    return await giveUp(context, command, command.abandon.bind(command))
  const { rotation, folder } = command
  let pending = await readRotation(folder, rotation)
  if (pending !== undefined && (await command.replaces?.(pending)) === true) {
    await replace(context, command, pending)
    pending = undefined
  }
  await command.refuse(pending)
  const isWanted = pending === undefined || flags.finishOnly === true || (await command.covers(pending))
  const first = pending === undefined || isWanted ? undefined : command.describe(pending.state)
  if (pending !== undefined && first !== undefined && !context.dryRun) await finish(context, command, pending, first)
  const planned = await command.plan(first === undefined ? pending : undefined)
  if (!('steps' in planned)) return planned
  if (context.dryRun) return await planned.preview(first)
  if (planned.question !== undefined) await context.ask.confirm(planned.question)
  const { state, resumed } = await runHomeRotation(context, rotation, planned.steps, { folder })
  const taken = resumed && pending !== undefined ? command.describe(pending.state) : undefined
  return await planned.report({ state, resumed, first, finished: first ?? taken })
}

async function finish<State>(
  context: Context,
  command: RotationCommand<State>,
  pending: RotationRecord<State>,
  what: string,
): Promise<void> {
  const planned = await command.plan(pending)
  if (!('steps' in planned)) return
  if (planned.question !== undefined) await context.ask.confirm(`Finish what was interrupted first: ${what}?`)
  await runHomeRotation(context, command.rotation, planned.steps, {
    folder: command.folder,
    followedBy: command.followedBy?.(pending),
  })
  context.out.step('finished', `finished what was interrupted: ${what}`)
}

async function replace<State>(
  context: Context,
  command: RotationCommand<State>,
  { state }: RotationRecord<State>,
): Promise<void> {
  if (context.dryRun) return
  await command.abandon?.(false)
  context.out.warn(`Gave up what was interrupted and not signed yet: ${command.describe(state)}`)
}

async function giveUp<State>(
  context: Context,
  { rotation }: RotationCommand<State>,
  abandon: (dryRun: boolean) => Promise<AbandonedRotation>,
): Promise<CommandResult> {
  if (!context.dryRun) await context.ask.confirm(`Give up the interrupted rotation of ${rotation.what}?`)
  const { startedMs, done } = await abandon(context.dryRun)
  const started = new Date(startedMs).toISOString()
  return {
    data: { abandoned: rotation.name, started, done: [...done], dry_run: context.dryRun },
    text:
      `${context.dryRun ? 'Would give up' : 'Gave up'} the rotation of ${rotation.what} that began at ` +
      `${started}; nothing of it is in force.`,
  }
}

/** What a dry run says of a rotation that comes before the wanted one. */
export function firstText(first: string | undefined): string {
  return first === undefined ? '' : `Would first finish what was interrupted: ${first}. Then:\n`
}

/** What is said of an interrupted rotation that was finished. */
export function finishedText(what: string | undefined): string {
  return what === undefined ? '' : `finished what was interrupted: ${what}\n`
}
