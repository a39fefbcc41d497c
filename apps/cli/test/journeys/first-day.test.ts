import { readFile, rm, writeFile } from 'node:fs/promises'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { Journey } from '../support/journey.ts'

let journey: Journey
beforeEach(async () => {
  journey = await Journey.begin()
})
afterEach(() => journey.end())

it('the first day of a studio: from an empty folder to a player with two releases and settings of their own', async () => {
  await journey.open()
  await rm(journey.path('game/keyturn.json'))
  await journey.build({ 'data/a.txt': 'first', 'game.sh': '#!/bin/sh\nexit 0\n', 'user.cfg': 'volume=5' })
  const made = await journey.keyturn(['project', 'init', '--source', 'client'])
  expect(made).toMatchObject({ keep_suggestions: ['user.cfg'], project: { program: { linux: 'game.sh' } } })
  const project = JSON.parse(await readFile(journey.path('game/keyturn.json'), 'utf8')) as object
  await writeFile(journey.path('game/keyturn.json'), JSON.stringify({ ...project, keep: ['user.cfg'] }))
  expect(await journey.keyturn(['ship'])).toMatchObject({ shipped: true, added: 4 })
  await journey.keyturn(['backup', journey.path('first.backup')])
  await journey.update('player')
  await writeFile(journey.path('player/user.cfg'), 'volume=11')
  await journey.build({ 'game.sh': '#!/bin/sh\nexit 1\n', 'user.cfg': 'volume=6' })
  const second = await journey.keyturn(['ship'])
  await journey.update('player')
  const disk = await journey.disk('player')
  expect(Object.keys(disk).toSorted()).toEqual(['game.sh', 'pack/data.m2p', 'runtime-key.json', 'user.cfg'])
  expect(disk).toMatchObject({ 'game.sh': '#!/bin/sh\nexit 1\n', 'user.cfg': 'volume=11' })
  expect(await journey.keyturn(['ship'])).toMatchObject({
    shipped: false,
    unchanged: true,
    previous: second['version'],
  })
})

it('a server that is lost and replaced: the home fills the new one, and players go on where they were', async () => {
  await journey.open()
  const first = journey.server
  await journey.build({ 'data/a.txt': 'first', 'read.me': 'one' })
  await journey.keyturn(['ship', '--version-name', '1.0'])
  await journey.update('player')
  await first.stop()
  await rm(journey.path('server'), { recursive: true })
  await journey.serve('server-2', [], new URL(first.url).port)
  await journey.keyturn(['release', 'publish'])
  await journey.update('late')
  expect(await journey.disk('late')).toEqual(await journey.disk('player'))
  await journey.build({ 'read.me': 'two' })
  await journey.keyturn(['ship', '--version-name', '1.1'])
  for (const player of ['player', 'late']) {
    await journey.update(player)
    expect((await journey.disk(player))['read.me']).toBe('two')
  }
})
