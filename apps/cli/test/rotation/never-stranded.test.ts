import { crashAt, endCrash } from '../support/crash-disk.ts'
import { chmodSync, cpSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { command } from '../support/command.ts'
import type { Answer } from '../support/command.ts'
import { World } from '../support/world.ts'

let world: World
beforeAll(async () => {
  world = await World.create()
  await world.release()
  writeFileSync(world.path('wrong'), 'not the passphrase\n', { mode: 0o600 })
  writeFileSync(world.path('no-keystore'), 'nothing')
})
afterAll(async () => {
  await world.remove()
})

let copies = 0

/** A fresh copy of the home; its next key is on a medium of its own half of the time, behind a link. */
function freshHome(hasMedium: boolean): string {
  const home = world.path(`copy-${copies++}`)
  cpSync(world.path('home'), home, { recursive: true })
  chmodSync(home, 0o700)
  if (hasMedium) {
    const medium = `${home}-medium.keystore`
    cpSync(`${home}/next-identity.keystore`, medium)
    chmodSync(medium, 0o600)
    rmSync(`${home}/next-identity.keystore`)
    symlinkSync(medium, `${home}/next-identity.keystore`)
  }
  return home
}

/** The locks of a killed process; the program itself takes them over once their holder is dead. */
function dropLocks(home: string): void {
  for (const name of readdirSync(home, { recursive: true, encoding: 'utf8' }))
    if (/(^|[./])lock$/.test(name)) rmSync(`${home}/${name}`, { force: true })
}

const WITNESS = 'BBilc4-L3tFUnfM_wJr4S4OJanAv_VmF_dJNN6vkf2Ha'

/** Flags that a person in a hurry might type, right or wrong. */
const termFlags = fc.constantFrom<readonly string[]>(
  [],
  ['--add-witness', WITNESS],
  ['--add-witness', WITNESS, '--witnesses-required', '1'],
  ['--add-witness', 'no-witness'],
  ['--remove-witness', WITNESS],
  ['--witnesses-required', '7'],
  ['--next-key-alias', 'after the theft'],
  ['--next-key-alias', 'after-the-theft'],
  ['--next-key-alias', 'release/1'],
  ['--reason', 'stolen'],
)
const emergencyFlags = fc.constantFrom<readonly string[]>(
  [],
  ['--next-alias', 'after the theft'],
  ['--next-alias', 'laptop-v2'],
  ['--next-alias', 'head/1'],
  ['--reason', 'laptop stolen'],
)
const placeFlags = (): fc.Arbitrary<readonly string[]> =>
  fc.constantFrom<readonly string[]>(
    [],
    ['--next-key-file', world.path('nowhere')],
    ['--next-key-file', world.path('no-keystore')],
    ['--next-passphrase-file', world.path('wrong')],
  )

const words = (): fc.Arbitrary<readonly string[]> =>
  fc.oneof(
    fc.tuple(termFlags, placeFlags()).map(([terms, places]) => ['id', 'rotate', ...terms, ...places]),
    fc.tuple(emergencyFlags, placeFlags()).map(([terms, places]) => ['emergency', 'rotate-now', ...terms, ...places]),
    fc
      .tuple(
        fc.constantFrom('identity', 'release', 'head'),
        fc.constantFrom<readonly string[]>([], ['--revoke']),
        placeFlags(),
      )
      .map(([kind, revoke, places]) => ['rotate', kind, '--local', ...revoke, ...places]),
    fc.constantFrom<readonly string[]>(
      ['rotate', 'content', '--local'],
      ['id', 'rotate', '--abandon'],
      ['rotate', 'identity', '--abandon'],
    ),
  )

describe('a rotation', () => {
  it('never strands its owner: any flags, killed anywhere, any repetition, and then the identity rotates again', async () => {
    const acts = fc.array(
      fc.record({ args: words(), dies: fc.option(fc.nat({ max: 120 }), { nil: undefined, freq: 2 }) }),
      { minLength: 1, maxLength: 4 },
    )
    await fc.assert(
      fc.asyncProperty(acts, fc.boolean(), async (list, hasMedium) => {
        const home = freshHome(hasMedium)
        const run = (...args: readonly string[]): Promise<Answer> => command(world, args, { home })
        for (const { args, dies } of list) {
          if (dies !== undefined) crashAt(dies)
          await run(...args).catch(() => undefined)
          endCrash()
          dropLocks(home)
        }
        // A thief is at work: the plain emergency goes through whatever was begun before.
        const emergency = await run('emergency', 'rotate-now')
        expect([emergency.code, emergency.error]).toEqual([0, undefined])
        // What it left to be finished is finished by the command that status names.
        for (let left = 3; left > 0; left -= 1) {
          const { pending } = (await run('status')).data as { pending: string[] }
          if (pending.length === 0) break
          const finish = pending.includes('content') && !pending.includes('identity') ? 'content' : 'identity'
          expect(await run('rotate', finish, '--local')).toMatchObject({ code: 0 })
        }
        for (const args of [
          ['rotate', 'release', '--local'],
          ['id', 'rotate'],
        ]) {
          const again = await run(...args)
          expect([args[0], again.code, again.error]).toEqual([args[0], 0, undefined])
        }
        expect(await run('release', 'verify')).toMatchObject({ data: { outcome: 'accepted' } })
        rmSync(home, { recursive: true, force: true })
      }),
      { numRuns: 40 },
    )
  }, 1_800_000)
})
