import { readFile, writeFile } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { codeOf, keyturn } from './support/keyturn.ts'
import type { Outcome } from './support/keyturn.ts'
import { World } from './support/world.ts'

let world: World
const run = (...args: string[]): Promise<Outcome> =>
  keyturn([...args, '--json'], {
    cwd: world.folder,
    env: { KEYTURN_HOME: world.path('home'), KEYTURN_PASSPHRASE_FILE: world.path('passphrase') },
  })
beforeAll(async () => {
  world = await World.create()
  expect((await run('vault', 'init')).code).toBe(0)
  expect((await run('pack', 'keygen', '--out-dir', 'keys')).code).toBe(0)
})
afterAll(async () => {
  await world.remove()
})

/** Every command that writes one file of the user's choice, by name; `FILE` is that file. */
const writers: readonly string[][] = [
  ['backup', 'FILE'],
  ['status', '--ics', 'FILE'],
  ['emergency', 'report', '--output', 'FILE'],
  ['id', 'export', 'FILE'],
  ['vault', 'audit', 'checkpoint', '--output', 'FILE'],
  ['sign', 'passphrase', '--output', 'FILE'],
  ['pack', 'export-client-config', '--public-key', 'keys/signing.pub', '--output', 'FILE'],
  ['pack', 'export-runtime-key', '--public-key', 'keys/signing.pub', '--key', 'keys/master.key', '--output', 'FILE'],
]

describe('a file that is there already', () => {
  it.each(writers.map((words) => [words.join(' '), words] as const))(
    'is left alone by keyturn %s, and replaced with --force',
    async (_name, words) => {
      const file = world.path('taken')
      await writeFile(file, 'mine')
      const args = words.map((word) => (word === 'FILE' ? file : word))
      const refused = await run(...args)
      expect(['CLI_EXISTS', 'PRIM_EXISTS']).toContain(codeOf(refused))
      expect([refused.code, await readFile(file, 'utf8')]).toEqual([2, 'mine'])
      const forced = await run(...args, '--force')
      expect(forced.code, forced.stdout).toBe(0)
      expect(await readFile(file, 'utf8')).not.toBe('mine')
    },
  )
})
