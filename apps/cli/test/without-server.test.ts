import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { codeOf, dataOf, keyturn } from './support/keyturn.ts'
import type { Outcome } from './support/keyturn.ts'

const hooks = fileURLToPath(new URL('support/without-server.ts', import.meta.url))
let folder = ''

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'keyturn-alone-'))
  await writeFile(join(folder, 'passphrase'), 'correct horse\n', { mode: 0o600 })
})
afterAll(async () => {
  await rm(folder, { recursive: true, force: true })
})

function run(...args: readonly string[]): Promise<Outcome> {
  const common = ['--home', join(folder, 'home'), '--passphrase-file', join(folder, 'passphrase'), '--json', '--yes']
  return keyturn([...args, ...common], { env: { NODE_OPTIONS: `--import=${hooks}` } })
}

describe('keyturn without the release server', () => {
  it('makes a home, looks after it, and explains codes', async () => {
    dataOf(await run('init', '--product', 'game'))
    expect(dataOf(await run('status'))).toMatchObject({ pending: [] })
    expect(dataOf(await run('rotate', 'content'))).toMatchObject({ to_key_id: 2 })
    expect(dataOf(await run('explain', 'SRV_AUTH'))).toMatchObject({ code: 'SRV_AUTH' })
    expect((await run('explain')).code).toBe(0)
    expect((await keyturn(['--help'], { env: { NODE_OPTIONS: `--import=${hooks}` } })).code).toBe(0)
  })

  it('says how to get it where it is needed: CLI_SERVER_MISSING', async () => {
    for (const args of [['serve', '--port', '0'], ['demo'], ['drill', 'server-lost']]) {
      const outcome = await run(...args)
      expect([args[0], outcome.code, codeOf(outcome)]).toEqual([args[0], 3, 'CLI_SERVER_MISSING'])
      expect(outcome.stdout).toContain('npm install @keyturn/release-server')
    }
  })
})
