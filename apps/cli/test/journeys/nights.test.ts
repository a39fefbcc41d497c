import { afterEach, beforeEach, expect, it } from 'vitest'
import { Journey } from '../support/journey.ts'

let journey: Journey
beforeEach(async () => {
  journey = await Journey.begin()
  await journey.open()
  await journey.build({ 'data/a.txt': 'first', 'read.me': 'good' })
  await journey.keyturn(['ship', '--version-name', '1.0'])
})
afterEach(() => journey.end())

const readMe = async (player: string): Promise<string | undefined> => (await journey.disk(player))['read.me']

it('a bad release at night: rolled out, halted from the dashboard, renewed by a timer, withdrawn, rolled back, fixed', async () => {
  const timer = ['release', 'renew', '--all']
  await journey.update('careful')
  await journey.build({ 'read.me': 'bad' })
  await journey.keyturn(['ship', '--version-name', '1.1', '--percent', '20'])
  // What the dashboard's button calls; the head signer of "keyturn serve" executes it.
  const halted = await journey.server.client.halt('my-game', 'stable', 'crashes at start')
  expect(halted.rollout).toMatchObject({ paused: true })
  await journey.keyturn(timer)
  expect((await journey.server.client.getChannel('my-game', 'stable'))?.rollout).toMatchObject({
    percent: 20,
    paused: true,
  })
  await journey.update('new')
  expect([await readMe('careful'), await readMe('new')]).toEqual(['good', 'good'])
  await journey.keyturn(['release', 'halt', '--withdraw'])
  await journey.keyturn(timer)
  expect(await journey.refusal(['release', 'offer', '1.1', '--resume'])).toBe('REL_WITHDRAWN')
  const back = await journey.keyturn(['release', 'rollback', '1.0'])
  await journey.keyturn(timer)
  await journey.update('careful')
  expect(await readMe('careful')).toBe('good')
  await journey.build({ 'read.me': 'fixed' })
  expect(await journey.keyturn(['ship', '--version-name', '1.2'])).toMatchObject({ previous: back['version'] })
  for (const player of ['careful', 'new', 'later']) {
    await journey.update(player)
    expect(await readMe(player), player).toBe('fixed')
  }
})

it('what was signed on Friday does not ship on Saturday: timers renew what is offered, and nothing else', async () => {
  await journey.build({ 'read.me': 'for Monday' })
  const tree = journey.path('tree')
  await journey.keyturn(['pack', 'tree', '--input', 'client', '--output', tree])
  await journey.keyturn(['release', 'prepare', tree, '--release', '1.1'])
  await journey.keyturn(['release', 'sign', '1.1'])
  await journey.keyturn(['release', 'renew', '--all'])
  await journey.update('player')
  expect(await readMe('player')).toBe('good')
  await journey.keyturn(['release', 'offer', '1.1'])
  await journey.keyturn(['release', 'publish'])
  await journey.update('player')
  expect(await readMe('player')).toBe('for Monday')
})

it('an old backup that is restored follows what was released since, and one from before a rotation signs nothing', async () => {
  await journey.keyturn(['backup', journey.path('old.backup')])
  await journey.build({ 'read.me': 'second' })
  await journey.keyturn(['ship', '--version-name', '1.1'])
  await journey.keyturn(['restore', journey.path('old.backup')], { home: 'restored' })
  await journey.build({ 'read.me': 'third' })
  const shipped = await journey.keyturn(['ship', '--version-name', '1.2'], { home: 'restored' })
  expect(shipped).toMatchObject({ previous: '1.1', head_sequence: 3 })
  await journey.update('player')
  expect(await readMe('player')).toBe('third')
  await journey.keyturn(['rotate', 'release'], { home: 'restored' })
  await journey.keyturn(['restore', journey.path('old.backup')], { home: 'older' })
  expect(await journey.refusal(['ship', '--version-name', '1.3'], { home: 'older' })).toBe('CLI_HOME_STALE')
  await journey.update('player')
  expect(await readMe('player')).toBe('third')
})
