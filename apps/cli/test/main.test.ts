import { spawnSync } from 'node:child_process'
import { closeSync, existsSync, openSync, readdirSync, readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { allCatalogues, catalogueOf } from '../src/catalogues.ts'
import { codeOf, dataOf, keyturn } from './support/keyturn.ts'

const program = fileURLToPath(new URL('../src/main.ts', import.meta.url))

describe('keyturn', () => {
  it('prints its version and help', async () => {
    expect((await keyturn(['--version'])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/)
    const help = await keyturn(['--help'])
    for (const group of ['Every day:', 'Keys:', 'Emergencies:', 'Tools:']) expect(help.stdout).toContain(`\n${group}\n`)
    expect(help.stdout).toContain('explain')
    expect(help.code).toBe(0)
  })

  it('shows help on stderr and exits with 2 when no command is given', async () => {
    const { code, stdout, stderr } = await keyturn([])
    expect([code, stdout]).toEqual([2, ''])
    expect(stderr).toContain('Usage: keyturn')
  })

  it('shows no help beside the JSON object when a noun is given without its verb', async () => {
    const { code, stdout, stderr } = await keyturn(['vault', 'audit', '--json'])
    expect([code, stderr]).toEqual([2, ''])
    expect(JSON.parse(stdout)).toMatchObject({ ok: false, error: { code: 'CLI_USAGE' } })
  })

  it('gives results alone with --quiet: init without its advice', async () => {
    const home = await mkdtemp(join(tmpdir(), 'keyturn-quiet-'))
    try {
      await writeFile(join(home, 'p'), 'test\n', { mode: 0o600 })
      const { stdout, stderr } = await keyturn([
        'init',
        '--quiet',
        '--home',
        join(home, 'keys'),
        '--passphrase-file',
        join(home, 'p'),
      ])
      expect(stdout).toMatch(/^home .*\nproduct .*\nidentity .*\npin for launchers .*\nnext identity key .*\n$/)
      expect(stderr).toBe('')
    } finally {
      await rm(home, { recursive: true })
    }
  })

  it('takes no address at init that the server commands refuse later', async () => {
    for (const server of ['127.0.0.1:8470', 'ftp://updates.example.org', 'nowhere']) {
      const outcome = await keyturn([
        'init',
        '--server',
        server,
        '--home',
        join(tmpdir(), 'keyturn-none'),
        '--dry-run',
        '--json',
      ])
      expect([server, outcome.code, codeOf(outcome)]).toEqual([server, 2, 'CLI_USAGE'])
    }
  })

  it('shows an example in the help of a command', async () => {
    expect((await keyturn(['explain', '--help'])).stdout).toContain('$ keyturn explain M2P_SIGNATURE')
    expect((await keyturn(['help', 'explain'])).stdout).toContain('$ keyturn explain M2P_SIGNATURE')
  })

  it.skipIf(!existsSync('/dev/full'))('ends with one line and exit 3 where its output finds no room (row 261)', () => {
    const full = openSync('/dev/full', 'w')
    const { status, stderr } = spawnSync(process.execPath, ['--no-warnings', program, 'explain'], {
      stdio: ['ignore', full, 'pipe'],
      encoding: 'utf8',
    })
    closeSync(full)
    expect(stderr).toMatch(/^error: Cannot write to the standard output: .*ENOSPC.*\n {2}CLI_IO: .*\n$/)
    expect(status).toBe(3)
  })

  it('uses no colour without a terminal', async () => {
    expect((await keyturn(['explain', 'NOPE'])).stderr).not.toContain('\u001b')
  })
})

describe('keyturn explain', () => {
  it('explains a code, whatever its case', async () => {
    expect(dataOf(await keyturn(['explain', 'cli_usage', '--json']))).toMatchObject({ code: 'CLI_USAGE', exit: 2 })
  })

  it('refuses a code that does not exist', async () => {
    const outcome = await keyturn(['explain', 'NOT_A_CODE', '--json'])
    expect([outcome.code, codeOf(outcome)]).toEqual([2, 'CLI_CODE_UNKNOWN'])
  })

  it('knows the catalogue of every package and app that has one', async () => {
    const known = new Set((await allCatalogues()).map(({ packageName }) => packageName))
    const root = fileURLToPath(new URL('../../..', import.meta.url))
    for (const group of ['packages', 'apps']) {
      for (const name of readdirSync(join(root, group))) {
        const errors = join(root, group, name, 'src', 'errors.ts')
        const hasCatalogue = existsSync(errors) && readFileSync(errors, 'utf8').includes('ErrorCatalogue')
        if (hasCatalogue) expect(known, name).toContain(`@keyturn/${name}`)
      }
    }
  })

  it('knows every package once, each code with a meaning and a remedy', async () => {
    const seen = new Map<string, string>()
    for (const { packageName, catalogue } of await allCatalogues()) {
      for (const [code, { meaning, remedy }] of Object.entries(catalogue)) {
        expect(seen.get(code), `${code} in ${packageName}`).toBeUndefined()
        expect(code).toMatch(/^[A-Z0-9]+(_[A-Z0-9]+)+$/)
        expect((await catalogueOf(code))?.packageName, code).toBe(packageName)
        expect(meaning.length * remedy.length, code).toBeGreaterThan(0)
        seen.set(code, packageName)
      }
    }
  })
})
