import { afterEach, beforeEach, expect, it } from 'vitest'
import { Journey } from '../support/journey.ts'

let journey: Journey
beforeEach(async () => {
  journey = await Journey.begin()
})
afterEach(() => journey.end())

async function delivery(): Promise<readonly { level: string; message: string; mend: string }[]> {
  const { data } = await journey.answer(['doctor'])
  const findings = (data?.['findings'] ?? []) as { check: string; level: string; message: string; mend: string }[]
  return findings.filter(({ check }) => check === 'delivery')
}

it('a key that the server delivers: doctor proves that a launcher gets it, and says what is missing until then', async () => {
  await journey.open()
  await journey.build({ 'data/a.txt': 'first', 'read.me': 'one' })
  await journey.keyturn(['ship', '--version-name', '1.0'])
  expect(await delivery()).toEqual([]) // players have a key file
  await journey.build({ 'read.me': 'two' })
  await journey.keyturn(['ship', '--version-name', '1.1', '--no-runtime-key-file'])
  expect(await delivery()).toMatchObject([
    { level: 'error', mend: `keyturn noise publish --to ${journey.server.url} --hand-over` },
  ])
  await journey.keyturn(['noise', 'publish', '--to', journey.server.url, '--hand-over'])
  expect(await delivery()).toMatchObject([{ level: 'ok', message: expect.stringContaining('1.1 on stable') }])
  await journey.update('player')
  expect(Object.keys(await journey.disk('player')).toSorted()).toEqual(['pack/data.m2p', 'read.me'])
})
