import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { hexEncode, systemRandom, utf8Encode } from '@keyturn/primitives'
import type { LegacyProfile } from '@keyturn/vault-kdf'
import { sealLegacyForTest } from '@keyturn/vault-kdf/testing'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { codeOf, dataOf, keyturn } from './support/keyturn.ts'
import type { Outcome } from './support/keyturn.ts'

const root = mkdtempSync(join(tmpdir(), 'vault-import-'))
const master = systemRandom(32)

function path(name: string): string {
  return join(root, name)
}

function run(...args: readonly string[]): Promise<Outcome> {
  return keyturn([...args, '--home', path('home'), '--passphrase-file', path('passphrase'), '--json', '--yes'])
}

/** A file as HexVault of that profile wrote it. */
function sealed(profile: LegacyProfile, name: string, layer: 0 | 1 | 2 = 0): string {
  const context = { policy: layer > 0 ? 'p' : undefined, session: layer > 1 ? 's' : undefined }
  const place = { partition: 'default', cell: 'ci', layer, context }
  const blob = sealLegacyForTest(profile, place, utf8Encode(`secret ${name}`), { master, random: systemRandom })
  writeFileSync(path(name), blob)
  return path(name)
}

async function opened(name: string, ...flags: readonly string[]): Promise<string> {
  dataOf(await run('vault', 'open', 'ci', name, '--output', path(`${name}.opened`), ...flags))
  return readFileSync(path(`${name}.opened`), 'utf8')
}

beforeAll(async () => {
  writeFileSync(path('passphrase'), 'test\n', { mode: 0o600 })
  writeFileSync(path('master'), `${hexEncode(master)}\n`, { mode: 0o600 })
  writeFileSync(path('other'), systemRandom(32), { mode: 0o600 })
  dataOf(await run('vault', 'init'))
})
afterAll(() => rmSync(root, { recursive: true, force: true }))

const flags = (profile: string): string[] => ['--profile', profile, '--master-file', path('master')]

describe('keyturn vault import', () => {
  it.each(['hv-1.0', 'hv-1.1.0', 'hv-1.1.2'] as const)('seals what HexVault %s wrote again', async (profile) => {
    const file = sealed(profile, profile)
    const args = ['vault', 'import', 'ci', profile, file, ...flags(profile)]
    expect(dataOf(await run(...args, '--dry-run'))).toMatchObject({ imported: false, records: 1 })
    expect(dataOf(await run(...args))).toMatchObject({ imported: true, profile, records: 1, key_version: 1 })
    expect(await opened(profile)).toBe(`secret ${profile}`)
    expect(codeOf(await run(...args))).toBe('CLI_EXISTS')
  })

  it('takes a list whole or not at all, with its layers (row 388)', async () => {
    sealed('hv-1.1.2', 'a')
    sealed('hv-1.1.2', 'b', 2)
    const good = [
      { cell: 'ci', name: 'a', file: 'a' },
      { cell: 'ci', name: 'b', layer: 'session', policy: 'p', session: 's', file: 'b' },
    ]
    writeFileSync(path('list.json'), JSON.stringify([...good, { cell: 'ci', name: 'c', file: 'passphrase' }]))
    const args = ['vault', 'import', '--list', path('list.json'), ...flags('hv-1.1.2')]
    expect(codeOf(await run(...args))).toBe('VK_AUTH')
    writeFileSync(path('list.json'), JSON.stringify(good))
    expect(dataOf(await run(...args))).toMatchObject({ records: 2, imported: true })
    expect(await opened('b', '--policy', 'p', '--session', 's')).toBe('secret b')
  })

  it('refuses a wrong master, profile, list or use, and imports nothing', async () => {
    const file = sealed('hv-1.1.0', 'x')
    const wrong = [
      ['VK_AUTH', 'ci', 'x', file, '--profile', 'hv-1.1.0', '--master-file', path('other')],
      ['VK_AUTH', 'ci', 'x', file, ...flags('hv-1.1.2')],
      ['CLI_USAGE', 'ci', 'x', file, ...flags('hv-2')],
      ['CLI_USAGE', 'ci', 'x', file, '--profile', 'hv-1.0', '--master-file', path('list.json')],
      ['CLI_USAGE', ...flags('hv-1.0')],
      ['CLI_USAGE', 'ci', 'x', '--list', path('list.json'), ...flags('hv-1.0')],
    ] as const
    for (const [code, ...args] of wrong) expect(codeOf(await run('vault', 'import', ...args))).toBe(code)
    for (const list of ['{}', '[]', '[1]', '[{"cell":"ci"}]', '[{"cell":"ci","file":"x","nmae":"x"}]']) {
      writeFileSync(path('bad.json'), list)
      const args = ['--list', path('bad.json'), ...flags('hv-1.1.0')]
      expect(codeOf(await run('vault', 'import', ...args))).toBe('CLI_USAGE')
    }
    expect(codeOf(await run('vault', 'open', 'ci', 'x', '--output', path('out')))).toBe('VK_NOT_FOUND')
  })
})
