import { afterEach, beforeEach, expect, it } from 'vitest'
import { Journey } from '../support/journey.ts'

let journey: Journey
beforeEach(async () => {
  journey = await Journey.begin()
})
afterEach(() => journey.end())

it('a beta with a code: testers who have it play it, others cannot read it, and then everyone gets the same build', async () => {
  await journey.open()
  await journey.build({ 'data/a.txt': 'first', 'read.me': 'stable' })
  await journey.keyturn(['ship', '--version-name', '1.0'])
  await journey.build({ 'read.me': 'beta' })
  await journey.keyturn(['ship', '--version-name', '1.1', '--channel', 'beta'])
  const code = journey.path('beta.code')
  await journey.keyturn(['channel', 'protect', 'beta', '--code-file', code])
  await journey.update('player')
  const outside = { cwd: journey.folder, home: 'no-home' }
  const curious = ['update', '--dir', journey.path('player'), '--channel', 'beta']
  expect(await journey.refusal(curious, outside)).toMatch(/^LA_ACCESS/)
  await journey.update('tester', '--channel', 'beta', '--access-code-file', code)
  expect((await journey.disk('tester'))['read.me']).toBe('beta')
  await journey.keyturn(['release', 'promote', '--channel', 'beta', '--to', 'stable'])
  await journey.update('player', '--channel', 'stable')
  expect(await journey.disk('player')).toEqual(await journey.disk('tester'))
})
