import { appendFileSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { codeOf, dataOf, keyturn } from './support/keyturn.ts'
import type { Outcome } from './support/keyturn.ts'
import { IdentityCopies } from './support/identity-copies.ts'

type Data = Record<string, unknown>

const copies = IdentityCopies.use('laptop')
const path = (...parts: readonly string[]): string => copies.path(...parts)
const file = (name: string, content?: string): string => copies.file(name, content)
const run = (...args: readonly string[]): Promise<Outcome> => copies.run(...args)
const data = (...args: readonly string[]): Promise<Data> => copies.data(...args)

/** The folder with what the named identity signed. */
function signedFolder(): string {
  const [prefix] = readdirSync(path('home', 'identities'))
  return path('home', 'identities', prefix as string, 'signed')
}

/** Many more signatures than an event seals one by one, as parallel signers would have left them. */
function listMore(digests: number): void {
  const lines = Array.from({ length: digests }, (_, at) => `0 ${at.toString(16).padStart(64, '0')}\n`)
  mkdirSync(signedFolder(), { recursive: true })
  appendFileSync(join(signedFolder(), 'list'), lines.join(''))
}

const sealedBy = (sn: number): object => ({
  proven: true,
  position: 'sealed',
  sealed_by: { sn },
  retired_by: { sn: 1 },
})

describe('a signature made before a rotation', () => {
  it('stays valid for anyone who has the log: the rotation seals it without being told', async () => {
    const setup = file('setup.exe')
    expect(await data('sign', setup)).toMatchObject({ listed: true })
    await data('id', 'rotate')
    await data('id', 'export', path('log.cesr'))
    expect(await data('verify', setup)).toMatchObject(sealedBy(1))
    expect(await data('verify', setup, '--log', path('log.cesr'))).toMatchObject(sealedBy(1))
    await data('id', 'rotate')
    expect(await data('verify', setup)).toMatchObject(sealedBy(1))
    expect(readFileSync(join(signedFolder(), 'list'), 'utf8')).toBe('')
  })

  it('stays valid with many others below one root, elsewhere once the proof was added', async () => {
    const setup = file('setup.exe')
    await data('sign', setup)
    listMore(500)
    await data('id', 'rotate')
    await data('id', 'export', path('log.cesr'))
    expect(readFileSync(path('log.cesr')).length).toBeLessThan(4096)
    expect((await keyturn(['id', 'log', '--file', path('log.cesr')])).stdout).toMatch(/ \{"rd":"/)
    expect(await data('verify', setup)).toMatchObject(sealedBy(1))
    const elsewhere = await run('verify', setup, '--log', path('log.cesr'))
    expect([elsewhere.code, dataOf(elsewhere)['position']]).toEqual([1, 'claimed'])
    const before = readFileSync(`${setup}.sig`)
    expect(await data('sign', setup, '--add-proof', '--dry-run')).toMatchObject({ sealed_at: 1, dry_run: true })
    expect(readFileSync(`${setup}.sig`).equals(before)).toBe(true)
    expect(await data('sign', setup, '--add-proof')).toMatchObject({ sealed_at: 1 })
    expect(await data('verify', setup, '--log', path('log.cesr'))).toMatchObject(sealedBy(1))
  })

  it('is listed whatever other processes sign at the same moment', async () => {
    const files = ['a', 'b', 'c'].map((name) => file(name))
    await Promise.all(files.map((one) => data('sign', one)))
    await data('id', 'rotate')
    for (const one of files) expect(await data('verify', one)).toMatchObject(sealedBy(1))
  })

  it('is listed after a line that a crash cut short', async () => {
    await data('sign', file('a'))
    appendFileSync(join(signedFolder(), 'list'), '0 ab')
    await data('sign', file('b'))
    await data('id', 'rotate')
    for (const name of ['a', 'b']) expect(await data('verify', path(name))).toMatchObject(sealedBy(1))
  })

  it('says that no proof can be added where none is needed, and names a damaged list of digests', async () => {
    const setup = file('setup.exe')
    await data('sign', setup)
    expect(codeOf(await run('sign', setup, '--add-proof'))).toBe('KEL_POSITION_UNPROVEN')
    listMore(500)
    await data('id', 'rotate')
    const [name] = readdirSync(signedFolder()).filter((entry) => entry.endsWith('.json'))
    const kept = join(signedFolder(), name as string)
    writeFileSync(kept, readFileSync(kept, 'utf8').replace('"digests":["', '"digests":["00'))
    expect(codeOf(await run('verify', setup))).toBe('CLI_HOME_FORMAT')
  })
})

describe('keyturn sign', () => {
  it('is refused while a rotation waits to be finished: nothing could seal the signature', async () => {
    const [prefix] = readdirSync(path('home', 'identities'))
    const journals = path('home', 'identities', prefix as string, 'journals')
    mkdirSync(journals)
    writeFileSync(join(journals, 'identity.json'), '{}')
    for (const flags of [[], ['--seal'], ['--unlisted']]) {
      const outcome = await run('sign', file('setup.exe'), ...flags)
      expect([codeOf(outcome), outcome.stdout]).toEqual([
        'CLI_TURN_PENDING',
        expect.stringContaining('keyturn id rotate --alias laptop'),
      ])
    }
    expect(readdirSync(path())).not.toContain('setup.exe.sig')
  })

  it('is refused when more signatures wait than a rotation can seal, and leaves no signature', async () => {
    listMore(65_540)
    expect(codeOf(await run('sign', file('setup.exe')))).toBe('KEL_LIMIT')
    expect(readdirSync(path())).not.toContain('setup.exe.sig')
    expect(await data('sign', path('setup.exe'), '--unlisted')).toMatchObject({ listed: false })
  })

  it('takes either --seal or --unlisted', async () => {
    expect(codeOf(await run('sign', file('a'), '--seal', '--unlisted'))).toBe('CLI_USAGE')
    expect(codeOf(await run('sign', '--commit', 'HEAD', '--add-proof'))).toBe('CLI_USAGE')
  })
})

describe('a file signed by a release identity', () => {
  it('stays valid over a rotation of the identity and over one of its key alone', async () => {
    rmSync(path('home'), { recursive: true })
    await data('init', '--product', 'game')
    const setup = file('setup.exe')
    await data('sign', setup)
    expect(codeOf(await run('sign', file('other'), '--seal'))).toBe('KEL_TRAIT')
    await data('rotate', 'identity')
    await data('id', 'export', path('log.cesr'))
    expect(await data('verify', setup, '--log', path('log.cesr'))).toMatchObject(sealedBy(1))
    const later = file('later.exe')
    await data('sign', later)
    await data('id', 'rotate')
    expect(await data('verify', later)).toMatchObject({ proven: true, position: 'sealed', sealed_by: { sn: 2 } })
    expect(await data('doctor')).toMatchObject({ errors: 0 })
  })
})
