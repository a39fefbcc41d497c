import type { PublisherHost } from '../session.ts'
import { runRotationSteps } from './journal.ts'
import type { Rotation, RotationStep, RunOptions } from './journal.ts'

/**
 * Runs a rotation of a home, or goes on with one that was interrupted: reports each step, stops between two when the
 * host is stopped.
 *
 * @param host - Whose work it is.
 * @param rotation - Which kind.
 * @param steps - All of them.
 * @param more - As in {@link runRotationSteps}: the folder of the journals, of a home that is locked.
 */
export async function runHomeRotation<State>(
  host: PublisherHost,
  rotation: Rotation<State>,
  steps: readonly RotationStep<State>[],
  more: Pick<RunOptions<State>, 'folder' | 'followedBy' | 'stopAfter'>,
): Promise<{ state: State; resumed: boolean }> {
  return await runRotationSteps(rotation, steps, {
    ...more,
    nowMs: host.clock(),
    signal: host.signal,
    onStep: (step, index, total) => host.onStep(step.name, `${index + 1}/${total} ${step.title}`),
  })
}

/** The steps of a rotation, numbered, for people. */
export function stepsText(steps: readonly { readonly title: string }[]): string {
  return steps.map(({ title }, index) => `${index + 1}. ${title}`).join('\n')
}
