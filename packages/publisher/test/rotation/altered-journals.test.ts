import { readFile, writeFile } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { rejectionOf } from '../../../../tooling/vitest/codes.ts'
import { releaseIdentity } from '../../src/identity/identity.ts'
import { contentRotationSteps, planContentRotation } from '../../src/rotation/content.ts'
import { contentRotation } from '../../src/rotation/content-state.ts'
import { identityRotationSteps } from '../../src/rotation/identity.ts'
import { identityRotation } from '../../src/rotation/identity-state.ts'
import { readRotation, runRotationSteps } from '../../src/rotation/journal.ts'
import type { Rotation, RotationStep } from '../../src/rotation/journal.ts'
import { keyRotationSteps } from '../../src/rotation/key-rotation.ts'
import { keyRotation } from '../../src/rotation/key-state.ts'
import { standingSeals } from '../../src/rotation/standing-seals.ts'
import { vaultRotation, vaultRotationSteps } from '../../src/rotation/vault.ts'
import type { HomeSession } from '../../src/home-session.ts'
import { HomeWorld, NOW_MS } from '../support/home-world.ts'

type Json = null | boolean | number | string | Json[] | { [key: string]: Json }

let world: HomeWorld
beforeAll(async () => {
  world = await HomeWorld.create()
  await world.release()
})
afterAll(async () => {
  await world.remove()
})

/** Runs a rotation of a copy of the home, as the command does. */
type Run = (home: HomeSession, stopAfter: string | undefined) => Promise<unknown>

function running<State>(
  rotation: Rotation<State>,
  steps: (home: HomeSession) => Promise<readonly RotationStep<State>[]>,
): Run {
  return async (home, stopAfter) =>
    await runRotationSteps(rotation, await steps(home), { folder: home.paths.journals, nowMs: NOW_MS, stopAfter })
}

/** How many of the ways to alter an old journal are tried: every third; all with `KEYTURN_CAMPAIGN`. */
const EVERY_NTH = process.env['KEYTURN_CAMPAIGN'] === undefined ? 3 : 1

const RUNS: Readonly<Record<string, { readonly stopAfter: string; readonly run: Run }>> = {
  content: {
    stopAfter: 'home',
    run: running(contentRotation, async (home) => {
      const options = { channel: 'stable', nowMs: NOW_MS, signal: world.signal }
      const pending = await readRotation(home.paths.journals, contentRotation)
      return contentRotationSteps(home, await planContentRotation(home, options, pending?.state), options)
    }),
  },
  identity: {
    stopAfter: 'identity-stage',
    run: running(identityRotation, async (home) =>
      identityRotationSteps(home, { channels: ['stable'], nowMs: NOW_MS }),
    ),
  },
  'identity-key': {
    stopAfter: 'identity-stage',
    run: running(keyRotation({ journal: 'identity-key' }), async (home) => {
      const identity = releaseIdentity(home)
      const seals = await standingSeals(identity)
      return keyRotationSteps(identity, {
        terms: () => ({ seals }),
        collect: async ({ message }) => message,
        nowMs: NOW_MS,
      })
    }),
  },
  vault: {
    stopAfter: 'keystore',
    run: running(vaultRotation, async (home) => await vaultRotationSteps(world.host('copy'), home, undefined)),
  },
}

/** Values that a broken disk, an editor or somebody ill-disposed might put in place of another. */
const VALUES: readonly Json[] = [
  '',
  '..',
  '../..',
  '/',
  '.',
  'stable/..',
  'x',
  '2026.11.30-99',
  0,
  -1,
  1.5,
  4_294_967_296,
  1e18,
  true,
  false,
  null,
  [],
  {},
  ['..'],
]

/** Every journal that differs in one place: another value, none at all, or one more. */
function* altered(value: Json): Generator<Json> {
  if (typeof value !== 'object' || value === null) {
    for (const other of VALUES) if (other !== value) yield other
    return
  }
  if (Array.isArray(value)) {
    for (const [index, item] of value.entries()) {
      for (const other of altered(item)) yield value.with(index, other)
      yield value.toSpliced(index, 1)
    }
    yield [...value, '..']
    return
  }
  for (const [key, member] of Object.entries(value)) {
    for (const other of altered(member)) yield { ...value, [key]: other }
    const { [key]: _, ...rest } = value
    yield rest
  }
  yield { ...value, tree: '/', more: '..' }
}

async function journalOf(name: string): Promise<{ [key: string]: Json }> {
  await world.copy('stopped')
  const { run, stopAfter } = RUNS[name] as (typeof RUNS)[string]
  await run(await world.home('stopped'), stopAfter)
  await world.settle()
  return JSON.parse(await readFile(world.path('stopped', 'journals', `${name}.json`), 'utf8')) as {
    [key: string]: Json
  }
}

describe('an altered journal', () => {
  for (const name of Object.keys(RUNS)) {
    it(`of "${name}" is refused whatever was altered, and nothing else is touched: CLI_TURN_JOURNAL`, async () => {
      const journal = await journalOf(name)
      await world.copy('copy', 'stopped')
      const before = await world.files('copy')
      const { run } = RUNS[name] as (typeof RUNS)[string]
      let tried = 0
      for (const changed of altered(journal)) {
        await writeFile(world.path('copy', 'journals', `${name}.json`), JSON.stringify(changed))
        const code = await rejectionOf(run(await world.home('copy'), undefined))
        expect(code, JSON.stringify(changed)).toBe('CLI_TURN_JOURNAL')
        tried += 1
      }
      await world.settle()
      expect(await world.files('copy')).toEqual(before)
      expect(tried).toBeGreaterThan(50)
    })
  }

  it('of the first version, which has no digest, never costs a file: it is refused, or finished inside the home', async () => {
    const { digest: _, ...journal } = await journalOf('content')
    const old = { ...journal, version: 1 }
    let refused = 0
    let finished = 0
    let index = 0
    for (const facts of altered(journal['facts'] as Json)) {
      if (index++ % EVERY_NTH !== 0) continue
      await world.copy('copy', 'stopped')
      const before = await world.files('copy')
      await writeFile(world.path('copy', 'journals', 'content.json'), JSON.stringify({ ...old, facts }))
      const code = await rejectionOf(
        (RUNS['content'] as (typeof RUNS)[string]).run(await world.home('copy'), undefined),
      )
      await world.settle()
      const after = await world.files('copy')
      if (code === undefined) finished += 1
      else refused += 1
      for (const [path, hash] of before) {
        // What a release is made of is never changed; a finished rotation rewrites the rest.
        const isKept = path.startsWith('trees') || path.startsWith('releases') || code === 'CLI_TURN_JOURNAL'
        expect(isKept ? after.get(path) : after.has(path), `${path} after ${JSON.stringify(facts)}`).toBe(
          isKept ? hash : true,
        )
      }
    }
    expect(refused).toBeGreaterThan(100 / EVERY_NTH)
    expect(finished).toBeGreaterThan(0)
  })
})
