import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { codeOf, dataOf, keyturn, type Outcome } from './support/keyturn.ts'
import { World } from './support/world.ts'

let world: World
beforeEach(async () => { world = await World.create() })
afterEach(async () => { await world.remove() })

function run(...args: readonly string[]): Promise<Outcome> {
  return keyturn([...args, '--home', world.path('home'), '--passphrase-file', world.path('passphrase'), '--json', '--yes'])
}

describe('keyturn emergency freeze', () => {
  it('stops everything that signs or publishes a release, until it is lifted', async () => {
    await world.startServer()
    await world.release()
    dataOf(await run('emergency', 'freeze', '--duration', '1h', '--reason', 'laptop lost'))
    for (const command of [['sign'], ['head'], ['publish', '--server', world.url], ['rollback', '2026.01.01-1'], ['rollout', '--percent', '10']]) {
      const outcome = await run('release', ...command)
      expect([command[0], codeOf(outcome)]).toEqual([command[0], 'KEL_FROZEN'])
      expect(outcome.code).toBe(4)
    }
    dataOf(await run('emergency', 'unfreeze'))
    dataOf(await run('release', 'sign'))
  })
})
