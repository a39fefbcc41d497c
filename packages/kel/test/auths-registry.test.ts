import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { concatBytes } from '@keyturn/primitives'
import { verifyLog } from '../src/index.ts'
import { rotate } from '../src/owner/index.ts'
import { checkRepository, readAuthsLog, writeAuthsRegistry } from '../src/node/index.ts'
import { Actor, key, signer } from './support/actors.ts'

const REF = 'refs/auths/registry'
const nowMs = 1_795_000_000_000
const folders: string[] = []
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true })
})

function repository(): string {
  const path = mkdtempSync(join(tmpdir(), 'kel-registry-'))
  folders.push(path)
  git(path, 'init', '--quiet')
  return path
}

function git(repo: string, ...args: readonly string[]): string {
  return execFileSync('git', ['-C', repo, ...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).trim()
}

function fails(code: string): object {
  return expect.objectContaining({ code })
}

describe('writeAuthsRegistry()', () => {
  it('adds what is missing, a commit for each event, and leaves what others have there', async () => {
    const repo = repository()
    const [first, second] = [await Actor.start(), await Actor.start(40)]
    await first.rotate()
    expect(await writeAuthsRegistry(repo, verifyLog(first.log), { nowMs })).toBe(2)
    expect(await writeAuthsRegistry(repo, verifyLog(second.log), { nowMs })).toBe(1)
    await first.interact({ d: first.state.said })
    expect(await writeAuthsRegistry(repo, verifyLog(first.log), { nowMs })).toBe(1)
    expect(await writeAuthsRegistry(repo, verifyLog(first.log), { nowMs })).toBe(0)
    for (const actor of [first, second]) expect(await readAuthsLog(repo, actor.state.prefix)).toEqual(actor.log)
    const { prefix, said } = first.state
    const folder = `v1/identities/${prefix.slice(0, 2)}/${prefix.slice(2, 4)}/${prefix}`
    expect(git(repo, 'log', '-1', '--format=%s', REF)).toBe(`Append event ${prefix} seq 2`)
    expect(git(repo, 'rev-list', '--count', REF)).toBe('4')
    expect(JSON.parse(git(repo, 'show', `${REF}:${folder}/tip.json`))).toEqual({ version: 1, sequence: 2, said })
    expect(JSON.parse(git(repo, 'show', `${REF}:v1/metadata.json`))).toMatchObject({ version: 1, identity_count: 2 })
    expect(git(repo, 'fsck', '--strict')).toBe('')
    expect(git(repo, 'for-each-ref', 'refs/keyturn-tmp/')).toBe('')
  })

  it('refuses to lose events: when the registry is ahead, forked, or holds one that was displaced', async () => {
    const repo = repository()
    const actor = await Actor.start()
    await actor.interact({ d: actor.state.said })
    const early = verifyLog(concatBytes(actor.messages[0] as Uint8Array))
    await writeAuthsRegistry(repo, verifyLog(actor.log), { nowMs })
    const tip = git(repo, 'rev-parse', REF)
    await expect(writeAuthsRegistry(repo, early, { nowMs })).rejects.toThrow(fails('KEL_CONFLICT'))
    const recovery = await rotate(early.state, { keys: [key(1)], nextKeys: [key(2)] }, signer(1))
    const recovered = verifyLog(concatBytes(actor.log, recovery.message))
    await expect(writeAuthsRegistry(repo, recovered, { nowMs })).rejects.toThrow(fails('KEL_SEQ'))
    const rival = await Actor.start()
    await rival.interact({ d: `E${'A'.repeat(43)}` })
    await expect(writeAuthsRegistry(repo, verifyLog(rival.log), { nowMs })).rejects.toThrow(fails('KEL_DUPLICITY'))
    expect(git(repo, 'rev-parse', REF)).toBe(tip)
  })

  it('tells a damaged registry from one without this identity', async () => {
    const repo = repository()
    const actor = await Actor.start()
    const log = verifyLog(actor.log)
    await expect(readAuthsLog(repo, log.prefix)).rejects.toThrow(fails('KEL_LOG_MISSING'))
    await writeAuthsRegistry(repo, log, { nowMs })
    const [object] = git(repo, 'rev-parse', `${REF}^{tree}`).split('\n') as [string]
    rmSync(join(repo, '.git', 'objects', object.slice(0, 2), object.slice(2)))
    await expect(readAuthsLog(repo, log.prefix)).rejects.toThrow(fails('KEL_CORRUPT'))
    await expect(writeAuthsRegistry(repo, log, { nowMs })).rejects.toThrow(fails('KEL_CORRUPT'))
  })
})

describe('checkRepository()', () => {
  it('refuses a folder that is not a repository, and one that borrows its objects', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'kel-no-repository-'))
    folders.push(folder)
    await expect(checkRepository(folder)).rejects.toThrow(fails('KEL_IO'))
    const [lender, borrower] = [repository(), join(folder, 'borrower')]
    git(lender, '-c', 'user.name=a', '-c', 'user.email=a@b', 'commit', '--quiet', '--allow-empty', '-m', 'x')
    git(folder, 'clone', '--quiet', '--shared', lender, borrower)
    await expect(checkRepository(borrower)).rejects.toThrow(fails('KEL_IO'))
    await checkRepository(lender)
  })
})
