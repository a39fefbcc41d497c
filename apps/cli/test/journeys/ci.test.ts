import { randomBytes } from 'node:crypto'
import { readFile, rm, stat, writeFile } from 'node:fs/promises'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { Journey } from '../support/journey.ts'

/** Small changes and tables cost chunks: an honest share needs a client of some size. */
const CLIENT_BYTES = 60_000_000
/** Of what a first install downloads. */
const SHARE = 0.01

let journey: Journey
beforeEach(async () => {
  journey = await Journey.begin()
})
afterEach(() => journey.end())

it('a release from CI after a rotation of the content key costs players one percent at most', async () => {
  await journey.keyturn(['init', '--product', 'my-game'])
  const { url } = await journey.serve('server')
  const file = journey.path('home/home.json')
  await writeFile(file, JSON.stringify({ ...(JSON.parse(await readFile(file, 'utf8')) as object), server: url }))
  await writeFile(journey.path('game/keyturn.json'), '{"schema": 1, "source": "client"}')
  await journey.build({ 'data/large.bin': randomBytes(CLIENT_BYTES), 'data/small.txt': 'one', 'read.me': 'one' })
  await journey.keyturn(['ship', '--version-name', '1.0', '--level', '1'])
  const bundle = ['ci', 'bundle', '--out', journey.path('ci.home'), '--new-passphrase-file', journey.path('passphrase')]
  const job = async (version: string): Promise<Record<string, unknown>> => {
    await rm(journey.path('job'), { recursive: true, force: true })
    await journey.keyturn(['restore', journey.path('ci.home')], { home: 'job' })
    return await journey.keyturn(['ship', '--version-name', version, '--level', '1'], { home: 'job' })
  }
  await journey.keyturn([...bundle, '--force'])
  await journey.build({ 'data/small.txt': 'two', 'read.me': 'two' })
  await job('1.1')
  await journey.update('player')
  // The home of the identity has neither that release nor its files: both come from the server.
  await journey.keyturn(['rotate', 'content'])
  await journey.keyturn([...bundle, '--force'])
  await journey.build({ 'read.me': 'three' })
  const shipped = await job('1.2')
  const { size } = await stat(journey.path('player/pack/data.m2p'))
  expect(shipped).toMatchObject({ key_id: 2, changed: expect.any(Number) })
  expect(Number(shipped['download_bytes'])).toBeLessThan(size * SHARE)
  const updated = await journey.update('player')
  expect(Number(updated['downloaded_bytes'])).toBeLessThan(size * SHARE * 2) // two releases at once
  const disk = await journey.disk('player')
  expect(disk['read.me']).toBe('three')
  expect(JSON.parse(disk['runtime-key.json'] ?? '{}')).toMatchObject({ key_id: '2' })
})
