import { cp } from 'node:fs/promises'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { Journey } from '../support/journey.ts'

let journey: Journey
beforeEach(async () => {
  journey = await Journey.begin()
})
afterEach(() => journey.end())

/** Packs and signs in the home of the lead. */
async function prepare(version: string): Promise<void> {
  await journey.build({ 'read.me': version })
  await journey.keyturn(['pack', 'tree', '--input', 'client', '--output', journey.path(`tree-${version}`)])
  await journey.keyturn(['release', 'prepare', journey.path(`tree-${version}`), '--release', version])
  await journey.keyturn(['release', 'sign', version])
}

/** Has a release signed in another home, too, and sends it out. */
async function release(version: string, home: string): Promise<void> {
  const sent = journey.path(`sent-${version}`)
  await cp(journey.path('home/releases/stable', version), sent, { recursive: true })
  await journey.keyturn(['release', 'cosign', sent, '--tree', journey.path(`tree-${version}`)], { home })
  await journey.keyturn(['release', 'sign', version, '--add-signatures', `${sent}/manifest.sigs.json`])
  await journey.keyturn(['release', 'offer', version])
  await journey.keyturn(['release', 'publish'])
}

it('a team of three, two of whom sign: any two release, and nobody alone', async () => {
  await journey.open()
  const keys: string[] = []
  for (const home of ['second', 'third']) {
    await journey.keyturn(['init', '--product', 'my-game'], { home })
    const roles = await journey.keyturn(['roles', 'show'], { home })
    keys.push(...(roles['release'] as { keys: string[] }).keys)
  }
  const added = keys.flatMap((key) => ['--add-release', key])
  await journey.keyturn(['roles', 'propose', ...added, '--release-threshold', '2'])
  await journey.keyturn(['roles', 'seal', '--local'])
  await prepare('1.0')
  expect((await journey.answer(['release', 'offer', '1.0'])).error).toMatchObject({
    code: 'CLI_TURN_UNREADY',
    message: expect.stringContaining('MAN_THRESHOLD'),
    hint: expect.stringContaining('keyturn release cosign'),
  })
  await release('1.0', 'second')
  await journey.update('player')
  // Now the second person is away.
  await prepare('1.1')
  await release('1.1', 'third')
  await journey.update('player')
  expect((await journey.disk('player'))['read.me']).toBe('1.1')
})
