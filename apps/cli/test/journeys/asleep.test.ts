import { afterEach, beforeEach, expect, it } from 'vitest'
import { Journey } from '../support/journey.ts'

let journey: Journey
beforeEach(async () => {
  journey = await Journey.begin({ preload: 'clock' })
  await journey.open()
  await journey.build({ 'read.me': 'one' })
  await journey.keyturn(['ship', '--version-name', '1.0'])
  await journey.update('player')
})
afterEach(() => journey.end())

/** The studio ships again, and the player follows. */
async function shipsAgain(): Promise<void> {
  await journey.build({ 'read.me': 'two' })
  await journey.keyturn(['ship', '--version-name', '2.0'])
  expect(await journey.update('player')).toMatchObject({ previous: '1.0', version: '2.0', trust: 'current' })
}

it('a studio that slept for 400 days rotates what is due, ships, and its players follow', async () => {
  await journey.later(400)
  const { port } = new URL(journey.server.url)
  await journey.server.stop()
  await journey.serve('server', [], port)
  expect(await journey.keyturn(['rotate', 'all', '--due'])).toMatchObject({
    turned: expect.arrayContaining(['identity']),
  })
  expect((await journey.keyturn(['status']))['pending']).toEqual([])
  await shipsAgain()
})

it('rotations that were published nowhere go out with the next release', async () => {
  for (let period = 0; period < 3; period += 1) {
    await journey.later(200)
    await journey.keyturn(['rotate', 'all', '--due', '--local'])
  }
  const { port } = new URL(journey.server.url)
  await journey.server.stop()
  await journey.serve('server', [], port)
  await shipsAgain()
})

// Each takes two seconds, and the campaign has them.
it.skipIf(process.env['KEYTURN_CAMPAIGN'] === undefined)(
  'seventeen rotations of the identity that were published nowhere go out in one step',
  async () => {
    for (let count = 0; count < 17; count += 1) await journey.keyturn(['rotate', 'identity', '--local'])
    await journey.keyturn(['release', 'publish'])
    expect(await journey.update('player')).toMatchObject({ trust: 'current' })
    await shipsAgain()
  },
)
