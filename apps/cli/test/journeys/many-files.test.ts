import { afterEach, beforeEach, expect, it } from 'vitest'
import { Journey } from '../support/journey.ts'

/** Files of the client; a campaign sets it. */
const FILES = Number(process.env['KEYTURN_CLIENT_FILES'] ?? 0)
/** As much as a program with that many files may take, whatever its step. */
const MOST_MEMORY = 1_500_000_000
const PER_FOLDER = 500

let journey: Journey
beforeEach(async () => {
  journey = await Journey.begin({ preload: 'memory' })
})
afterEach(() => journey.end())

/** Runs a step, and prints how long it took and how much memory its program had. */
async function step(name: string, run: () => Promise<unknown>): Promise<void> {
  const beganMs = performance.now()
  await run()
  const seconds = (performance.now() - beganMs) / 1000
  const memory = await journey.peakMemory()
  console.log(`${FILES} files, ${name}: ${seconds.toFixed(1)} s, ${Math.round(memory / 1e6)} MB`)
  expect(memory, name).toBeLessThan(MOST_MEMORY)
}

/** Half of the files go into an archive, half are installed as they are. */
async function build(): Promise<void> {
  for (let first = 0; first < FILES; first += PER_FOLDER) {
    const folder = first % (2 * PER_FOLDER) === 0 ? 'packed' : 'plain'
    const numbers = Array.from({ length: Math.min(PER_FOLDER, FILES - first) }, (_, index) => first + index)
    await journey.build(Object.fromEntries(numbers.map((n) => [`${folder}/${first}/${n}.txt`, `file ${n}\n`])))
  }
}

it.skipIf(FILES === 0)('a client of very many files: shipped, installed, updated and repaired', async () => {
  await journey.open({ plain: ['plain/**'] })
  await build()
  await step('ship', () => journey.keyturn(['ship', '--version-name', '1.0']))
  await step('install', () => journey.update('player'))
  await journey.build({ 'packed/0/0.txt': 'changed', 'plain/500/500.txt': 'changed' })
  await step('ship two changed files', () => journey.keyturn(['ship', '--version-name', '1.1']))
  await step('update', () => journey.update('player'))
  await step('repair', () => journey.keyturn(['repair', '--dir', journey.path('player')], { home: 'no-home' }))
  expect((await journey.disk('player'))['plain/500/500.txt']).toBe('changed')
})
