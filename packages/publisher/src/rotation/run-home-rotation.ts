import type { JsonObject } from '@keyturn/primitives'
import type { PublisherHost } from '../session.ts'
import type { HomePaths } from '../home.ts'
import { runTurn } from './journal.ts'
import type { TurnOptions, TurnStep } from './journal.ts'

/**
 * Runs a turn of a home for a command, or goes on with one that was interrupted: tells each step, stops between two when
 * the command is stopped.
 *
 * @param host - The command.
 * @param paths - Of the home, locked.
 * @param turn - Name of the journal.
 * @param steps - All of them.
 * @param followedBy - As in {@link runTurn}.
 */
export async function runHomeTurn(
  host: PublisherHost,
  paths: HomePaths,
  turn: string,
  steps: readonly TurnStep[],
  followedBy?: TurnOptions['followedBy'],
): Promise<{ facts: JsonObject; resumed: boolean }> {
  return await runTurn(turn, steps, {
    ...(followedBy === undefined ? {} : { followedBy }),
    folder: paths.journals,
    now: new Date(host.clock()).toISOString(),
    signal: host.signal,
    onStep: (step, index, total) => host.onStep(step.name, `${index + 1}/${total} ${step.title}`),
  })
}

/** The steps of a turn, numbered, for people. */
export function stepsText(steps: readonly TurnStep[]): string {
  return steps.map(({ title }, index) => `${index + 1}. ${title}`).join('\n')
}
