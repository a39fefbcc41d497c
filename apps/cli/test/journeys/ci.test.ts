import { randomBytes } from 'node:crypto'
import { rm, stat } from 'node:fs/promises'
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
  await journey.open()
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

it('a build machine is robbed: its token and its keys are revoked, the old bundle ships nothing, a new one does', async () => {
  await journey.open()
  await journey.build({ 'read.me': 'one' })
  await journey.keyturn(['ship', '--version-name', '1.0'])
  await journey.update('player')
  const scope = 'blobs:write,releases:read,releases:write,releases:publish'
  /** What the secrets of the build machine are filled with. */
  const secrets = async (name: string): Promise<{ id: string; token: string }> => {
    const to = ['--out', journey.path(`${name}.home`), '--new-passphrase-file', journey.path('passphrase')]
    await journey.keyturn(['ci', 'bundle', ...to])
    const made = await journey.operate('server', 'token', 'create', '--json', '--name', name, '--scope', scope)
    const { data } = JSON.parse(made) as { data: { token: { id: string }; secret: string } }
    return { id: data.token.id, token: data.secret }
  }
  const job = async (name: string, version: string, token: string): Promise<Record<string, unknown> | string> => {
    await journey.keyturn(['restore', journey.path(`${name}.home`)], { home: `${name}-${version}` })
    const { ok, data, error } = await journey.answer(['ship', '--version-name', version], {
      home: `${name}-${version}`,
      token,
    })
    return ok ? (data ?? {}) : (error?.code ?? '')
  }
  const first = await secrets('first')
  await journey.build({ 'read.me': 'two' })
  expect(await job('first', '1.1', first.token)).toMatchObject({ shipped: true })
  await journey.update('player')

  await journey.operate('server', 'token', 'revoke', first.id)
  await journey.build({ 'read.me': 'evil' })
  expect(await job('first', '6.6', first.token)).toBe('SRV_AUTH')
  // What the machine released before it was robbed has to be looked at: it could be the thief's.
  const { error } = await journey.answer(['rotate', 'head', '--revoke'])
  expect(error).toMatchObject({ code: 'CLI_TURN_UNREADY', hint: expect.stringContaining('keyturn release renew') })
  await journey.keyturn(['release', 'renew'])
  await journey.keyturn(['rotate', 'head', '--revoke'])
  await journey.keyturn(['rotate', 'release', '--revoke'])
  const second = await secrets('second')
  // Another token does not help a thief: what is signed with the old keys stays behind.
  expect(await job('first', '6.7', second.token)).toBe('CLI_HOME_STALE')
  await journey.update('player')
  expect((await journey.disk('player'))['read.me']).toBe('two')
  await journey.build({ 'read.me': 'three' })
  expect(await job('second', '1.2', second.token)).toMatchObject({ shipped: true })
  for (const player of ['player', 'new']) {
    await journey.update(player)
    expect((await journey.disk(player))['read.me'], player).toBe('three')
  }
})
