import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { utf8Encode } from '@keyturn/primitives'
import { openKeystore } from '@keyturn/keystore/node'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { codeOf, dataOf, keyturn } from './support/keyturn.ts'
import type { Outcome } from './support/keyturn.ts'

type Data = Record<string, unknown>

const root = mkdtempSync(join(tmpdir(), 'named-identity-'))
let prefix = ''
let count = 0
let folder = ''

function path(...parts: readonly string[]): string {
  return join(folder, ...parts)
}

function runUnder(passphrase: string, ...args: readonly string[]): Promise<Outcome> {
  return keyturn([...args, '--home', path('home'), '--passphrase-file', join(root, passphrase), '--json', '--yes'])
}

function run(...args: readonly string[]): Promise<Outcome> {
  return runUnder('old', ...args)
}

async function data(...args: readonly string[]): Promise<Data> {
  return dataOf(await run(...args))
}

async function aliasesIn(file: string, passphrase = 'the old one'): Promise<string[]> {
  const keystore = await openKeystore(file, utf8Encode(passphrase))
  try {
    return keystore.list().map(({ alias }) => alias)
  } finally {
    keystore.close()
  }
}

/** A release identity beside the named one. */
async function withReleaseIdentity(): Promise<void> {
  renameSync(path('home', 'identities'), path('identities'))
  rmSync(path('home'), { recursive: true })
  await data('init', '--product', 'game')
  renameSync(path('identities'), path('home', 'identities'))
}

const own = (...parts: readonly string[]): string => path('home', 'identities', prefix, ...parts)

beforeAll(async () => {
  for (const name of ['old', 'new']) writeFileSync(join(root, name), `the ${name} one\n`, { mode: 0o600 })
  folder = root
  const made = await data('id', 'init', '--alias', 'laptop')
  prefix = (made['state'] as { prefix: string }).prefix
})
beforeEach(() => {
  folder = join(root, String(count++))
  mkdirSync(folder)
  cpSync(join(root, 'home'), path('home'), { recursive: true })
})
afterAll(() => rmSync(root, { recursive: true, force: true }))

describe('the keys of an identity', () => {
  it('are called <alias> and <alias>--next-<n>, and old next keys leave with each rotation', async () => {
    expect(await aliasesIn(own('keystore'))).toEqual(['laptop'])
    expect(await aliasesIn(own('next.keystore'))).toEqual(['laptop--next-0'])
    await data('id', 'rotate', '--next-key-alias', 'laptop-v2')
    expect(await aliasesIn(own('keystore'))).toEqual(['laptop-v2'])
    expect(await aliasesIn(own('next.keystore'))).toEqual(['laptop-v2--next-1'])
    await data('id', 'rotate', '--alias', 'laptop-v2')
    expect(await aliasesIn(own('keystore'))).toEqual(['laptop-v2'])
    expect(await aliasesIn(own('next.keystore'))).toEqual(['laptop-v2--next-2'])
  })
})

describe('a new passphrase', () => {
  it('is put in force by a rotation with --new-passphrase: the old one opens nothing of the identity after it', async () => {
    const rotated = await data('id', 'rotate', '--new-passphrase-file', join(root, 'new'))
    expect(rotated).toMatchObject({ sn: 1, passphrases: [{ outcome: 'changed' }, { outcome: 'changed' }] })
    expect(codeOf(await run('id', 'rotate'))).toBe('KEY_PASSPHRASE')
    expect(dataOf(await runUnder('new', 'id', 'rotate'))).toMatchObject({ sn: 2 })
  })

  it('names what it could not change: a next key under a passphrase of its own', async () => {
    const next = ['--next-key', '--next-passphrase-file', join(root, 'old')]
    await data('passphrase', '--alias', 'laptop', ...next, '--new-passphrase-file', join(root, 'new'))
    const flags = ['--next-passphrase-file', join(root, 'new'), '--new-passphrase-file', join(root, 'new')]
    expect(await data('id', 'rotate', ...flags)).toMatchObject({
      passphrases: [{ outcome: 'changed' }, { outcome: 'already' }],
    })
  })

  it('is refused for a rotation that is given up, and changes nothing in a dry run or when the rotation fails', async () => {
    const flags = ['--new-passphrase-file', join(root, 'new')]
    expect(codeOf(await run('id', 'rotate', '--abandon', ...flags))).toBe('CLI_USAGE')
    expect(await data('id', 'rotate', '--dry-run', ...flags)).toMatchObject({ dry_run: true })
    renameSync(own('next.keystore'), path('stick'))
    expect(codeOf(await run('id', 'rotate', ...flags))).toBe('CLI_TURN_UNREADY')
    expect(await aliasesIn(own('keystore'))).toEqual(['laptop'])
  })

  it('of one identity leaves the others alone (passphrase --alias)', async () => {
    await data('id', 'init', '--alias', 'team')
    const flags = ['--new-passphrase-file', join(root, 'new')]
    const { files } = await data('passphrase', '--alias', 'laptop', ...flags)
    expect(files).toMatchObject([
      { what: 'keystore of the identity "laptop"', outcome: 'changed' },
      { what: 'next key of the identity "laptop"', outcome: 'changed' },
    ])
    expect(await data('id', 'rotate', '--alias', 'team')).toMatchObject({ sn: 1 })
    expect(dataOf(await runUnder('new', 'id', 'rotate', '--alias', 'laptop'))).toMatchObject({ sn: 1 })
    expect(codeOf(await run('passphrase', '--alias', 'nobody', ...flags))).toBe('CLI_USAGE')
  })

  it('can be asked for by the emergency, too', async () => {
    const flags = ['--reason', 'laptop stolen', '--new-passphrase-file', join(root, 'new')]
    expect(await data('emergency', 'rotate-now', ...flags)).toMatchObject({ sn: 1, passphrases: [{}, {}] })
    expect(await aliasesIn(own('keystore'), 'the new one')).toEqual(['laptop'])
  })
})

describe('keyturn status', () => {
  it('lists identities of "id init" in a home that has nothing else, with what waits', async () => {
    writeFileSync(path('setup.exe'), 'installer')
    await data('sign', path('setup.exe'))
    expect(await data('status')).toMatchObject({
      items: [{ kind: 'identity', id: 'laptop', due_state: 'ok' }],
      identities: [{ prefix, alias: 'laptop', sn: 0, rotation_pending: false, unsealed: 1 }],
    })
    const text = await keyturn(['status', '--home', path('home')])
    expect(text.stdout).toContain(`identity "laptop" ${prefix}, event 0; 1 signature for its next rotation to seal`)
  })

  it('lists them beside the release identity, and says what cannot be read and what was interrupted', async () => {
    await withReleaseIdentity()
    mkdirSync(own('journals'))
    writeFileSync(own('journals', 'identity.json'), '{}')
    rmSync(own('log.cesr'))
    const status = await data('status')
    expect(status).toMatchObject({
      product: 'game',
      identities: [{ alias: 'laptop', problem: 'KEL_LOG_MISSING', rotation_pending: true }],
    })
    const check = await run('status', '--check')
    expect([check.code, codeOf(check)]).toEqual([1, 'CLI_DUE'])
  })

  it('says when a key of theirs is due', async () => {
    const record = own('identity.json')
    const value = JSON.parse(readFileSync(record, 'utf8')) as Data
    writeFileSync(record, JSON.stringify({ ...value, since: '2020-01-01T00:00:00.000Z' }))
    expect(codeOf(await run('status', '--check'))).toBe('CLI_DUE')
    await data('id', 'rotate')
    expect((await run('status', '--check')).code).toBe(0)
    await data('status', '--ics', path('due.ics'))
    expect(readdirSync(folder)).toContain('due.ics')
  })
})

describe('a hint', () => {
  it('names the identity it is about', async () => {
    await withReleaseIdentity()
    mkdirSync(own('journals'))
    writeFileSync(own('journals', 'identity.json'), '{}')
    for (const args of [
      ['id', 'witness', 'collect', '--alias', 'laptop'],
      ['sign', join(root, 'old'), '--alias', 'laptop', '-o', path('sig')],
    ])
      expect((await run(...args)).stdout).toContain('keyturn id rotate --alias laptop')
    rmSync(own('journals'), { recursive: true })
    await data('device', 'link', '--name', 'box', '--alias', 'laptop')
    await data('id', 'rotate', '--alias', 'laptop')
    const report = await data('emergency', 'report', '--alias', 'laptop')
    expect(report['recommendations']).toEqual(
      expect.arrayContaining([
        expect.stringContaining('keyturn device link --alias laptop'),
        expect.stringContaining('keyturn emergency rotate-now --current-alias laptop'),
      ]),
    )
  })
})
