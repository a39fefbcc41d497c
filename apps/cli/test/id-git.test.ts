import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createReleaseServer } from '@keyturn/release-server'
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { codeOf, dataOf, keyturn } from './support/keyturn.ts'
import type { Outcome } from './support/keyturn.ts'

type Data = Record<string, unknown>

const root = mkdtempSync(join(tmpdir(), 'id-git-'))
let count = 0
let folder = ''

function path(...parts: readonly string[]): string {
  return join(folder, ...parts)
}

/** git itself, as its users run it. */
function git(repo: string, ...args: readonly string[]): string {
  const user = ['-c', 'user.name=Test', '-c', 'user.email=test@example.org', '-c', 'commit.gpgSign=false']
  return execFileSync('git', ['-C', repo, ...user, ...args], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  }).trim()
}

function repository(name: string, ...flags: readonly string[]): string {
  mkdirSync(path(name))
  git(path(name), 'init', '--quiet', ...flags)
  return path(name)
}

function run(...args: readonly string[]): Promise<Outcome> {
  const own = ['--home', path('home'), '--passphrase-file', join(root, 'passphrase'), '--json', '--yes']
  return keyturn([...args, ...own])
}

async function data(...args: readonly string[]): Promise<Data> {
  return dataOf(await run(...args))
}

/** An identity with its log in a repository; gives its prefix. */
async function start(...flags: readonly string[]): Promise<string> {
  const made = await data('id', 'init', '--alias', 'laptop', '--store', 'git', '--repo', path('repo'), ...flags)
  return (made['state'] as { prefix: string }).prefix
}

beforeEach(() => {
  folder = join(root, String(count++))
  mkdirSync(folder)
  writeFileSync(join(root, 'passphrase'), 'test\n', { mode: 0o600 })
})
afterAll(() => rmSync(root, { recursive: true, force: true }))

describe('keyturn id init --store git', () => {
  it('keeps the log in refs of git, where signing, rotating, showing and verifying find it', async () => {
    const repo = repository('repo')
    const prefix = await start()
    const ref = `refs/keri/${prefix}/kel`
    expect(readdirSync(path('home', 'identities', prefix))).not.toContain('log.cesr')
    writeFileSync(path('setup.exe'), 'installer')
    writeFileSync(path('notes'), 'notes')
    await data('sign', path('setup.exe'))
    expect(await data('sign', path('notes'), '--seal')).toMatchObject({ sealed_at: 1 })
    expect(await data('id', 'rotate')).toMatchObject({ sn: 2 })
    for (const name of ['setup.exe', 'notes'])
      expect(await data('verify', path(name))).toMatchObject({
        proven: true,
        position: 'sealed',
        retired_by: { sn: 2 },
      })
    expect(await data('id', 'log')).toMatchObject({ state: { sn: 2 } })
    expect(await data('emergency', 'report')).toMatchObject({ state: { prefix } })
    expect(git(repo, 'rev-list', '--count', ref)).toBe('3')
    const event = JSON.parse(git(repo, 'show', `${ref}:event`)) as Data
    expect(event).toMatchObject({ t: 'rot', i: prefix, s: '2' })
    expect(git(repo, 'fsck', '--strict')).toBe('')
    expect(git(repo, 'for-each-ref', 'refs/keyturn-tmp')).toBe('')
  })

  it('is not fooled by replaced objects, nor by a ref that was moved back', async () => {
    const repo = repository('repo')
    const prefix = await start()
    await data('id', 'rotate')
    const ref = `refs/keri/${prefix}/kel`
    const other = git(repo, 'commit-tree', '-m', 'x', git(repo, 'hash-object', '-t', 'tree', '-w', '/dev/null'))
    const inception = git(repo, 'rev-parse', `${ref}~1`)
    git(repo, 'replace', ref, other)
    expect(await data('id', 'show')).toMatchObject({ event_count: 2 })
    git(repo, 'update-ref', ref, inception)
    expect(codeOf(await run('id', 'rotate'))).toBe('CLI_TURN_UNREADY')
  })

  it('says apart that there is no log, no repository, and a log that cannot be read', async () => {
    const repo = repository('repo')
    const prefix = await start()
    const ref = `refs/keri/${prefix}/kel`
    const tip = git(repo, 'rev-parse', ref)
    git(repo, 'update-ref', '-d', ref)
    expect(codeOf(await run('id', 'show'))).toBe('KEL_LOG_MISSING')
    expect(codeOf(await run('sign', join(root, 'passphrase'), '-o', path('sig')))).toBe('KEL_LOG_MISSING')
    mkdirSync(join(repo, '.git', ref, '..'), { recursive: true })
    writeFileSync(join(repo, '.git', ref), 'noise')
    expect(codeOf(await run('id', 'show'))).toBe('KEL_CORRUPT')
    rmSync(join(repo, '.git', ref))
    git(repo, 'update-ref', ref, tip)
    rmSync(join(repo, '.git', 'objects', tip.slice(0, 2), tip.slice(2)))
    expect(codeOf(await run('id', 'show'))).toMatch(/^KEL_(CORRUPT|IO)$/)
    rmSync(repo, { recursive: true })
    expect(codeOf(await run('id', 'show'))).toBe('KEL_IO')
  })

  it('is repaired by taking over a copy of the log', async () => {
    const repo = repository('repo')
    const prefix = await start()
    await data('id', 'rotate')
    await data('id', 'export', path('log.cesr'))
    git(repo, 'update-ref', '-d', `refs/keri/${prefix}/kel`)
    expect(await data('id', 'import', path('log.cesr'))).toMatchObject({ relation: 'ahead', taken: 2, sn: 1 })
    expect(await data('id', 'rotate')).toMatchObject({ sn: 2 })
  })

  it('refuses what it cannot write to, and leaves nothing', async () => {
    mkdirSync(path('plain'))
    const wrong = [
      ['CLI_USAGE', '--store', 'git'],
      ['CLI_USAGE', '--repo', path('plain')],
      ['CLI_USAGE', '--store', 'tape'],
      ['KEL_IO', '--store', 'git', '--repo', path('plain')],
      ['KEL_IO', '--store', 'git', '--repo', path('nowhere')],
    ] as const
    for (const [code, ...flags] of wrong) expect(codeOf(await run('id', 'init', ...flags))).toBe(code)
    expect(readdirSync(folder)).toEqual(['plain'])
  })

  it('waits with the inception until its witnesses have signed', async () => {
    const repo = repository('repo')
    const server = await createReleaseServer({ dataDir: path('server'), vault: { passphrase: 'x', scryptLogN: 4 } })
    try {
      const url = `${(await server.listen()).url}/witness`
      const { prefix: witness } = (await (await fetch(url)).json()) as { prefix: string }
      const prefix = await start('--witness', witness, '--witnesses-required', '1')
      expect(codeOf(await run('id', 'show'))).toBe('KEL_WITNESS')
      expect(git(repo, 'for-each-ref')).toBe('')
      await data('id', 'witness', 'add', url)
      expect(await data('id', 'witness', 'collect')).toMatchObject({ satisfied: true, added: 1 })
      expect(await data('id', 'rotate')).toMatchObject({ sn: 1 })
      expect(git(repo, 'rev-list', '--count', `refs/keri/${prefix}/kel`)).toBe('2')
      expect(readdirSync(path('home', 'identities', prefix))).not.toContain('log.cesr')
    } finally {
      await server.close()
    }
  })
})

describe('keyturn id export --git and id import --git', () => {
  it('carry the log through any repository that git made, SHA-256 and bare ones too, and by a bundle', async () => {
    const made = await data('id', 'init', '--alias', 'laptop')
    const { prefix } = made['state'] as { prefix: string }
    await data('id', 'rotate')
    for (const [name, ...flags] of [['worktree'], ['bare', '--bare'], ['sha256', '--object-format=sha256']] as const) {
      const repo = repository(name, ...flags)
      expect(await data('id', 'export', '--git', repo, '--dry-run')).toMatchObject({ dry_run: true })
      expect(git(repo, 'for-each-ref')).toBe('')
      expect(await data('id', 'export', '--git', repo)).toMatchObject({ added: 2, ref: `refs/keri/${prefix}/kel` })
      expect(await data('id', 'export', '--git', repo)).toMatchObject({ added: 0 })
      expect(git(repo, 'fsck', '--strict')).toBe('')
      expect(await data('id', 'import', '--git', repo)).toMatchObject({ relation: 'same', taken: 0 })
    }
    await data('id', 'export', '--git', path('bare'), '--bundle', path('log.bundle'))
    const clone = repository('clone')
    git(clone, 'fetch', '--quiet', path('log.bundle'), 'refs/keri/*:refs/keri/*')
    expect(await data('id', 'import', '--git', clone)).toMatchObject({ relation: 'same' })
    expect(codeOf(await run('id', 'export', '--git', path('bare'), '--bundle', path('log.bundle')))).toBe('CLI_EXISTS')
  })

  it('take over what another machine of the owner put there, and never write over more or other events', async () => {
    await data('id', 'init', '--alias', 'laptop')
    const repo = repository('repo')
    execFileSync('cp', ['-r', path('home'), path('before')])
    await data('id', 'rotate')
    await data('id', 'export', '--git', repo)
    execFileSync('mv', [path('home'), path('after')])
    execFileSync('mv', [path('before'), path('home')])
    expect(codeOf(await run('id', 'export', '--git', repo))).toBe('KEL_ROLLBACK')
    expect(await data('id', 'import', '--git', repo)).toMatchObject({ relation: 'ahead', taken: 1, sn: 1 })
  })

  it('read and write the registry of auths', async () => {
    const made = await data('id', 'init', '--alias', 'laptop')
    const { prefix } = made['state'] as { prefix: string }
    const repo = repository('auths')
    const flags = ['--git', repo, '--layout', 'auths'] as const
    expect(await data('id', 'export', ...flags)).toMatchObject({ added: 1, ref: 'refs/auths/registry' })
    await data('id', 'rotate')
    expect(await data('id', 'export', ...flags)).toMatchObject({ added: 1 })
    expect(git(repo, 'log', '-1', '--format=%s', 'refs/auths/registry')).toBe(`Append event ${prefix} seq 1`)
    expect(await data('id', 'import', '--git', repo)).toMatchObject({ relation: 'same' })
  })

  it('tell "no such log" from everything else', async () => {
    await data('id', 'init', '--alias', 'laptop')
    const repo = repository('repo')
    expect(codeOf(await run('id', 'import', '--git', repo))).toBe('KEL_LOG_MISSING')
    mkdirSync(path('plain'))
    for (const args of [
      ['import', '--git', path('plain')],
      ['export', '--git', path('plain')],
    ])
      expect(codeOf(await run('id', ...args))).toBe('KEL_IO')
    const { ref } = await data('id', 'export', '--git', repo)
    writeFileSync(join(repo, '.git', ref as string), '')
    expect(codeOf(await run('id', 'import', '--git', repo))).toBe('KEL_CORRUPT')
    expect(codeOf(await run('id', 'export', '--git', repo))).toBe('KEL_CORRUPT')
    expect(readFileSync(join(repo, '.git', ref as string), 'utf8')).toBe('')
  })

  it('want one place, and flags that fit it', async () => {
    await data('id', 'init', '--alias', 'laptop')
    const repo = repository('repo')
    for (const args of [
      ['export'],
      ['export', path('a'), '--git', repo],
      ['export', path('a'), '--layout', 'auths'],
      ['export', path('a'), '--bundle', path('b')],
      ['export', '--git', repo, '--layout', 'auths', '--bundle', path('b')],
      ['export', '--git', repo, '--layout', 'tape'],
      ['import'],
      ['import', path('a'), '--git', repo],
    ])
      expect(codeOf(await run('id', ...args))).toBe('CLI_USAGE')
    expect(git(repo, 'for-each-ref')).toBe('')
  })
})
