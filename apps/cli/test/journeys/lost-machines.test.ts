import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { Journey } from '../support/journey.ts'
import { keyturn } from '../support/keyturn.ts'

let journey: Journey
beforeEach(async () => {
  journey = await Journey.begin()
  await mkdir(journey.path('stick'))
})
afterEach(() => journey.end())

/** Runs a command and kills it as soon as it says that it begins with a step. */
async function killedAt(step: string, args: readonly string[]): Promise<void> {
  const outcome = await keyturn([...args, '--events', '--yes'], {
    env: { ...journey.environment(), KEYTURN_TOKEN: journey.server.token },
    onSpawn: (child) => {
      child.stderr?.on('data', (text: string) => {
        if (text.includes(step)) child.kill('SIGKILL')
      })
    },
  })
  expect(outcome.code, outcome.stderr).toBeNull()
}

/** A studio with its next key on a stick, one release, and a player who has it. Returns the file on the stick. */
async function studio(): Promise<string> {
  await journey.open()
  const nextKey = journey.path('stick', 'next.keystore')
  await rename(journey.path('home', 'next-identity.keystore'), nextKey)
  await journey.build({ 'read.me': 'good' })
  await journey.keyturn(['ship', '--version-name', '1.0'])
  await journey.update('player')
  return nextKey
}

it('the laptop is stolen the day after an interrupted rotation: the owner rotates elsewhere, the thief gets nowhere', async () => {
  const nextKey = await studio()
  // The evening: a rotation is interrupted before it is in the log, and the nightly backup is made.
  await killedAt('identity-stage', ['rotate', 'identity', '--next-key-file', nextKey])
  await journey.keyturn(['backup', journey.path('stick', 'night.backup')])
  await rename(journey.path('home'), journey.path('stolen'))
  // The day after, on another machine, with the stick alone.
  await journey.keyturn(['restore', journey.path('stick', 'night.backup')])
  const stick = ['--next-key-file', nextKey]
  const emergency = await journey.keyturn(['emergency', 'rotate-now', '--reason', 'laptop stolen', ...stick])
  expect(emergency).toMatchObject({ alias: 'identity/2' })
  await journey.keyturn(['rotate', 'release', '--revoke', ...stick])
  await journey.keyturn(['rotate', 'head', '--revoke', ...stick])
  await journey.build({ 'read.me': 'better' })
  await journey.keyturn(['ship', '--version-name', '1.1'])
  for (const player of ['player', 'later']) {
    await journey.update(player)
    expect((await journey.disk(player))['read.me'], player).toBe('better')
  }
  // The thief has the laptop with its passphrase, its token and every key but the promised one.
  const thief = { home: 'stolen' }
  await journey.build({ 'read.me': 'evil' })
  expect(await journey.refusal(['ship', '--version-name', '1.2'], thief)).toMatch(/^(CLI_TURN_PENDING|CLI_HOME_STALE)$/)
  expect(await journey.refusal(['rotate', 'identity', '--local'], thief)).not.toBe('it succeeded')
  expect(await journey.refusal(['emergency', 'rotate-now'], thief)).not.toBe('it succeeded')
  await journey.update('player')
  expect((await journey.disk('player'))['read.me']).toBe('better')
  expect(await journey.keyturn(['doctor'])).toMatchObject({ errors: 0 })
})

it('the laptop is lost after a rotation that was never published: the stick has the log', async () => {
  const nextKey = await studio()
  const backup = journey.path('stick', 'monday.backup')
  await journey.keyturn(['backup', backup])
  // Without a network: in the log, and the stick has followed it. Then the laptop is gone.
  const stick = ['--next-key-file', nextKey]
  await journey.keyturn(['rotate', 'identity', '--local', ...stick])
  await rm(journey.path('home'), { recursive: true })
  await journey.keyturn(['restore', backup])
  const refused = await journey.answer(['rotate', 'identity', ...stick])
  expect(refused.error).toMatchObject({
    code: 'CLI_TURN_UNREADY',
    hint: expect.stringContaining(`keyturn id import --next-key-file ${nextKey}`),
  })
  // A stick that somebody else had: what is on it is verified, and nothing of it is taken.
  const copy = `${nextKey}.log.cesr`
  const good = await readFile(copy)
  const bent = Uint8Array.from(good)
  bent[bent.length - 20] = bent.at(-20) === 0x41 ? 0x42 : 0x41
  await writeFile(copy, bent)
  expect(await journey.refusal(['id', 'import', ...stick])).toMatch(/^KEL_/)
  await writeFile(copy, good)
  const roles = await readFile(`${nextKey}.roles.json`)
  await writeFile(`${nextKey}.roles.json`, '{}')
  expect(await journey.refusal(['id', 'import', ...stick])).toBe('CLI_HOME_FORMAT')
  expect(await journey.keyturn(['id', 'show'])).toMatchObject({ state: { sn: 0 } })
  await writeFile(`${nextKey}.roles.json`, roles)
  expect(await journey.keyturn(['id', 'import', ...stick])).toMatchObject({ relation: 'ahead', taken: 1, sn: 1 })
  // The release key of that rotation was on the laptop: nothing is rotated before that is said.
  const unheld = await journey.answer(['rotate', 'identity', ...stick])
  expect(unheld.error).toMatchObject({ code: 'CLI_TURN_UNREADY', hint: expect.stringContaining('--lost-keys') })
  await journey.keyturn(['rotate', 'identity', '--lost-keys', '--revoke', ...stick])
  await journey.build({ 'read.me': 'better' })
  await journey.keyturn(['ship', '--version-name', '1.1'])
  for (const player of ['player', 'later']) {
    await journey.update(player)
    expect((await journey.disk(player))['read.me'], player).toBe('better')
  }
  expect(await journey.keyturn(['doctor'])).toMatchObject({ errors: 0 })
})

it('restored from last year’s backup: the log says what was missed, and the key on the stick rotates the identity', async () => {
  const nextKey = journey.path('stick', 'next.keystore')
  await journey.keyturn(['id', 'init', '--alias', 'laptop', '--next-key-file', nextKey])
  const first = journey.path('game', 'first.txt')
  await writeFile(first, 'signed last year')
  await journey.keyturn(['sign', first])
  await rename(journey.path('home'), journey.path('copy'))
  await journey.copy('copy', 'home')
  // A year of work: rotations, each with its log exported, as the guide says.
  const log = journey.path('stick', 'log.cesr')
  for (let year = 0; year < 2; year += 1) {
    await journey.keyturn(['id', 'rotate', '--next-key-file', nextKey])
    await journey.keyturn(['id', 'export', log, '--force'])
  }
  await rm(journey.path('home'), { recursive: true })
  await rename(journey.path('copy'), journey.path('home'))
  expect(await journey.keyturn(['id', 'show'])).toMatchObject({ state: { sn: 0 } })
  // A rotation from here would be a rival of the published log: the key on the stick is not the one this home expects.
  expect(await journey.refusal(['id', 'rotate', '--next-key-file', nextKey])).toBe('CLI_TURN_UNREADY')
  expect(await journey.keyturn(['id', 'import', log])).toMatchObject({ relation: 'ahead', taken: 2, sn: 2 })
  const second = journey.path('game', 'second.txt')
  await writeFile(second, 'signed after')
  expect(await journey.refusal(['sign', second])).toBe('KEL_SIGNATURE')
  expect(await journey.keyturn(['id', 'rotate', '--next-key-file', nextKey])).toMatchObject({ sn: 3 })
  await journey.keyturn(['sign', second])
  for (const file of [first, second])
    expect(await journey.keyturn(['verify', file]), file).toMatchObject({ valid: true, proven: true })
  expect((await journey.keyturn(['status']))['identities']).toMatchObject([{ alias: 'laptop', sn: 3 }])
})
