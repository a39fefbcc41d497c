import { execFileSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { deflateSync } from 'node:zlib'
import { afterEach, describe, expect, it } from 'vitest'
import { Kel, memoryStore } from '../src/index.ts'
import { incept, interact } from '../src/owner/index.ts'
import { localWitness } from '../src/witness/index.ts'
import type { SignedEvent } from '../src/owner/index.ts'
import { git, gitStore, listTree, readCommits, readGitObjects, resolveCommit, resolveRef } from '../src/node/index.ts'
import { Actor, key, signer } from './support/actors.ts'

const folders: string[] = []
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
  for (const name of ['GIT_DIR', 'GIT_COMMON_DIR', 'GIT_OBJECT_DIRECTORY', 'GIT_CONFIG_PARAMETERS', 'KEL_TEST_SECRET'])
    delete process.env[name]
})

const code = (name: string): unknown => expect.objectContaining({ code: name })

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'kel-hostile-'))
  folders.push(path)
  return path
}

function run(repo: string, ...args: readonly string[]): string {
  const who = ['-c', 'user.name=a', '-c', 'user.email=a@b']
  return execFileSync('git', ['-C', repo, ...who, ...args], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  }).trim()
}

function repository(): string {
  const path = folder()
  run(path, 'init', '--quiet')
  return path
}

/** A script that leaves a mark, with the environment it saw, if anything ever runs it. */
function trap(): { readonly script: string; readonly sprung: () => string | undefined } {
  const place = folder()
  const mark = join(place, 'sprung')
  const script = join(place, 'trap.sh')
  writeFileSync(script, `#!/bin/sh\nenv > "${mark}"\nexit 1\n`)
  chmodSync(script, 0o755)
  return { script, sprung: () => (existsSync(mark) ? readFileSync(mark, 'utf8') : undefined) }
}

async function witnessed(): Promise<{ first: SignedEvent; next: SignedEvent; rival: SignedEvent }> {
  const { prefix } = localWitness(signer(90), memoryStore())
  const plan = { keys: [key(0)], nextKeys: [key(1)], witnesses: [prefix], witnessThreshold: 1 }
  const first = await incept(plan, signer(0))
  return {
    first,
    next: await interact(first.state, [{ d: first.said }], signer(0)),
    rival: await interact(first.state, [], signer(0)),
  }
}

async function stored(repo: string): Promise<{ prefix: string; ref: string; tip: string }> {
  const actor = await Actor.start()
  await actor.interact()
  const { prefix } = actor.state
  const kel = await Kel.open(gitStore(repo).log(prefix), prefix)
  for (const message of actor.messages) await kel.append(message, 'local')
  const ref = `refs/keri/${prefix}/kel`
  return { prefix, ref, tip: run(repo, 'rev-parse', ref) }
}

const objectPath = (repo: string, id: string): string => join(repo, '.git/objects', id.slice(0, 2), id.slice(2))

describe('a repository that somebody prepared', () => {
  it('runs nothing: no hooks, no remote helpers, no monitors, no filters, no editor (attacks 1)', async () => {
    const repo = repository()
    writeFileSync(join(repo, 'file'), 'text')
    run(repo, 'add', 'file')
    run(repo, 'commit', '--quiet', '-m', 'first')
    const { prefix } = await stored(repo)
    const { script, sprung } = trap()
    process.env['KEL_TEST_SECRET'] = 'secret'
    const hooks = join(repo, 'hooks')
    mkdirSync(hooks)
    for (const hook of [
      'reference-transaction',
      'post-commit',
      'pre-auto-gc',
      'post-index-change',
      'fsmonitor-watchman',
    ])
      writeFileSync(join(hooks, hook), readFileSync(script), { mode: 0o755 })
    for (const [name, value] of Object.entries({
      'core.repositoryFormatVersion': '1',
      'extensions.partialClone': 'evil',
      'remote.evil.url': `ext::${script} %S`,
      'remote.evil.promisor': 'true',
      'remote.evil.uploadpack': script,
      'protocol.allow': 'always',
      'protocol.ext.allow': 'always',
      'protocol.file.allow': 'always',
      'core.hooksPath': hooks,
      'core.fsmonitor': script,
      'core.sshCommand': script,
      'core.pager': script,
      'core.editor': script,
      'core.alternateRefsCommand': script,
      'credential.helper': script,
      'diff.external': script,
      'gpg.program': script,
      'log.showSignature': 'true',
      'alias.rev-parse': `!${script}`,
      'filter.x.clean': script,
      'filter.x.smudge': script,
    }))
      run(repo, 'config', name, value)
    writeFileSync(join(repo, '.gitattributes'), '* filter=x diff=x\n')
    const missing = 'd'.repeat(40)
    await expect(readGitObjects(repo, [missing])).rejects.toThrow(code('KEL_CORRUPT'))
    await expect(resolveCommit(repo, missing)).rejects.toThrow(code('KEL_IO'))
    const head = await resolveCommit(repo, 'HEAD')
    const [commit] = await readCommits(repo, [head])
    await listTree(repo, commit!.tree)
    const kel = await Kel.open(gitStore(repo).log(prefix), prefix)
    await kel.append((await interact(kel.state, [], signer(0))).message, 'local')
    await git(repo, ['notes', 'add', '-f', '-F', '-', head], { input: new Uint8Array([65]), writes: true }).catch(
      () => undefined,
    )
    expect(sprung()).toBeUndefined()
  })

  it('does not pass our environment on to git', async () => {
    const repo = repository()
    process.env['KEL_TEST_SECRET'] = 'secret'
    process.env['GIT_CONFIG_PARAMETERS'] = "'alias.show-env'='!env'"
    await expect(git(repo, ['show-env'])).rejects.toThrow(code('KEL_IO'))
    delete process.env['GIT_CONFIG_PARAMETERS']
    run(repo, 'config', 'alias.show-env', '!env')
    const seen = (await git(repo, ['show-env'])).toString()
    expect(seen).toContain('GIT_NO_REPLACE_OBJECTS=1')
    expect(seen).not.toContain('KEL_TEST_SECRET')
  })

  it('shows no other object under the name that was asked for: replace refs and grafts (attacks 2)', async () => {
    const repo = repository()
    const { prefix, tip } = await stored(repo)
    const before = run(repo, 'rev-parse', `${tip}~1`)
    run(repo, 'replace', tip, before)
    writeFileSync(join(repo, '.git/info/grafts'), `${tip}\n`)
    const [commit] = await readCommits(repo, [tip])
    expect(commit?.parents).toEqual([before])
    expect((await Kel.open(gitStore(repo).log(prefix), prefix)).state.sn).toBe(1)
  })

  it('an object that does not hash to its id is refused', async () => {
    const repo = repository()
    const { prefix, tip } = await stored(repo)
    const [commit] = await readCommits(repo, [tip])
    const content = Buffer.from(commit!.bytes)
    content[content.length - 2]! ^= 1
    const path = objectPath(repo, tip)
    chmodSync(path, 0o644)
    writeFileSync(path, deflateSync(Buffer.concat([Buffer.from(`commit ${content.length}\0`), content])))
    await expect(readCommits(repo, [tip])).rejects.toThrow(code('KEL_CORRUPT'))
    await expect(Kel.open(gitStore(repo).log(prefix), prefix)).rejects.toThrow(
      expect.objectContaining({ code: expect.stringMatching(/^KEL_(CORRUPT|IO)$/) }),
    )
  })
})

describe('a log in git that cannot be read is never "no log"', () => {
  const hurts: readonly (readonly [string, string, (repo: string, ref: string, tip: string) => void])[] = [
    ['an empty ref', 'KEL_CORRUPT', (repo, ref) => writeFileSync(join(repo, '.git', ref), '')],
    ['a ref of noise', 'KEL_CORRUPT', (repo, ref) => writeFileSync(join(repo, '.git', ref), 'noise\n')],
    ['a ref to another ref', 'KEL_CORRUPT', (repo, ref) => run(repo, 'symbolic-ref', ref, 'refs/heads/other')],
    ['a missing tip', 'KEL_(CORRUPT|IO)', (repo, _ref, tip) => rmSync(objectPath(repo, tip))],
    ['a missing body', 'KEL_CORRUPT', (repo, ref) => rmSync(objectPath(repo, run(repo, 'rev-parse', `${ref}:event`)))],
    ['no repository', 'KEL_IO', (repo) => rmSync(join(repo, '.git'), { recursive: true })],
    ['a broken configuration', 'KEL_IO', (repo) => writeFileSync(join(repo, '.git/config'), '[core\n')],
  ]

  it.each(hurts)('%s gives %s, and a witness over it signs nothing', async (_what, expected, hurt) => {
    const repo = repository()
    const { first, next, rival } = await witnessed()
    const witness = (): ReturnType<typeof localWitness> => localWitness(signer(90), gitStore(repo))
    expect(await witness().submit(first.message)).toBeDefined()
    const log = Buffer.concat([first.message, next.message])
    expect(await witness().submit(log)).toBeDefined()
    const ref = `refs/keri/${first.prefix}/kel`
    hurt(repo, ref, run(repo, 'rev-parse', ref))
    const refused = expect.objectContaining({ code: expect.stringMatching(new RegExp(`^${expected}$`)) })
    await expect(Kel.open(gitStore(repo).log(first.prefix), first.prefix)).rejects.toThrow(refused)
    await expect(witness().find({ prefix: first.prefix, sn: 1, said: next.said } as never)).rejects.toThrow(refused)
    await expect(witness().submit(Buffer.concat([first.message, rival.message]))).rejects.toThrow(refused)
  })

  it.runIf(process.getuid?.() === 0)('nor is a repository of another user', async () => {
    const repo = repository()
    const { prefix } = await stored(repo)
    execFileSync('chown', ['-R', '1234:1234', repo])
    await expect(Kel.open(gitStore(repo).log(prefix), prefix)).rejects.toThrow(
      expect.objectContaining({ code: 'KEL_IO', hint: expect.stringContaining('safe.directory') }),
    )
  })

  it('a log that is not there is not an error', async () => {
    const repo = repository()
    expect(await resolveRef(repo, `refs/keri/${'E'.repeat(44)}/kel`)).toBeUndefined()
    expect((await Kel.open(gitStore(repo).log('E'.repeat(44)), 'E'.repeat(44))).isStarted).toBe(false)
  })

  it('variables of git in our environment do not part a log from its objects', async () => {
    const [repo, other] = [repository(), repository()]
    process.env['GIT_DIR'] = join(other, '.git')
    process.env['GIT_COMMON_DIR'] = join(other, '.git')
    process.env['GIT_OBJECT_DIRECTORY'] = join(other, '.git/objects')
    const actor = await Actor.start()
    const { prefix } = actor.state
    const kel = await Kel.open(gitStore(repo).log(prefix), prefix)
    await kel.append(actor.messages[0]!, 'local')
    for (const name of ['GIT_DIR', 'GIT_COMMON_DIR', 'GIT_OBJECT_DIRECTORY']) delete process.env[name]
    expect((await Kel.open(gitStore(repo).log(prefix), prefix)).state.sn).toBe(0)
    expect(run(other, 'for-each-ref')).toBe('')
  })

  it('nothing is written into a repository that borrows its objects', async () => {
    const [repo, other] = [repository(), repository()]
    const actor = await Actor.start()
    const { prefix } = actor.state
    writeFileSync(join(repo, '.git/objects/info/alternates'), `${join(other, '.git/objects')}\n`)
    const kel = await Kel.open(gitStore(repo).log(prefix), prefix)
    await expect(kel.append(actor.messages[0]!, 'local')).rejects.toThrow(
      expect.objectContaining({ code: 'KEL_IO', hint: expect.stringContaining('repack') }),
    )
  })
})
