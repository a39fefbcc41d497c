import { runRotationSteps } from '@keyturn/publisher/rotation'
import type { Rotation, RotationStep } from '@keyturn/publisher/rotation'
import { expect } from 'vitest'
import type { World } from './world.ts'

/** Runs a rotation of the home and kills it before the named step. */
export async function killedBefore<State>(
  world: World,
  name: string,
  rotation: Rotation<State>,
  steps: readonly RotationStep<State>[],
): Promise<void> {
  const killed = runRotationSteps(rotation, steps, {
    folder: world.path('home', 'journals'),
    nowMs: Date.now(),
    onStep: (step) => {
      if (step.name === name) throw new Error('killed')
    },
  })
  await expect(killed).rejects.toThrow('killed')
}
