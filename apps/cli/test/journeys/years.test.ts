import { afterEach, beforeEach, expect, it } from 'vitest'
import { Journey } from '../support/journey.ts'

let journey: Journey
beforeEach(async () => {
  journey = await Journey.begin({ preload: 'clock' })
})
afterEach(() => journey.end())

it('a player away for three years and 20 replaced keys: one update, and nothing to type', async () => {
  await journey.open()
  await journey.build({ 'data/a.txt': 'first', 'read.me': 'one' })
  await journey.keyturn(['ship', '--version-name', '1.0'])
  await journey.update('player')
  // The rotation of the identity replaces the release key and the head key, too.
  const keys: Readonly<Record<string, number>> = { identity: 3 }
  let replaced = 0
  for (let period = 0; period < 5; period += 1) {
    await journey.later(220)
    const { port } = new URL(journey.server.url)
    await journey.server.stop()
    await journey.serve('server', [], port)
    const { turned } = await journey.keyturn(['rotate', 'all', '--due'])
    for (const name of turned as string[]) replaced += keys[name] ?? 1
  }
  expect(replaced).toBeGreaterThanOrEqual(20)
  await journey.build({ 'read.me': 'three years on' })
  await journey.keyturn(['ship', '--version-name', '2.0'])
  expect(await journey.update('player')).toMatchObject({ previous: '1.0', version: '2.0', trust: 'current' })
  expect((await journey.disk('player'))['read.me']).toBe('three years on')
})
