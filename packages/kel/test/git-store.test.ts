import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { concatBytes, utf8Decode } from '@keyturn/primitives'
import { Kel, verifyLog } from '../src/index.ts'
import { interact, rotate } from '../src/owner/index.ts'
import { exportBundle, gitStore, readAuthsLog } from '../src/node/index.ts'
import { Actor, key, signer } from './support/actors.ts'
import { bytes, signifyVectors } from './support/vectors.ts'

const folders: string[] = []
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true })
})

const env = {
  ...process.env,
  GIT_AUTHOR_NAME: 'a',
  GIT_AUTHOR_EMAIL: 'a@b',
  GIT_COMMITTER_NAME: 'a',
  GIT_COMMITTER_EMAIL: 'a@b',
}

function repository(): string {
  const path = mkdtempSync(join(tmpdir(), 'kel-git-'))
  folders.push(path)
  git(path, 'init', '--quiet', '--bare')
  return path
}

function git(repo: string, ...args: readonly string[]): string {
  return execFileSync('git', ['-C', repo, ...args], { encoding: 'utf8', env })
}

function gitInput(repo: string, input: Uint8Array | string, ...args: readonly string[]): string {
  return execFileSync('git', ['-C', repo, ...args], { input, encoding: 'utf8', env }).trim()
}

describe('gitStore()', () => {
  it('keeps exact bytes, one commit per accepted event with one parent, superseded ones included', async () => {
    const repo = repository()
    const actor = await Actor.start()
    const { prefix } = actor.state
    await actor.interact({ d: actor.state.said })
    const base = actor.state
    await actor.interact({ d: actor.state.said })
    const recovery = await rotate(base, { keys: [key(1)], nextKeys: [key(2)] }, signer(1))
    const kel = await Kel.open(gitStore(repo).log(prefix), prefix)
    for (const message of [...actor.messages, recovery.message]) await kel.append(message, 'local')
    expect(await gitStore(repo).list()).toEqual([prefix])
    expect(await kel.export()).toEqual(concatBytes(actor.log, recovery.message))
    const ref = `refs/keri/${prefix}/kel`
    expect(git(repo, 'rev-list', '--count', ref).trim()).toBe('4')
    expect(git(repo, 'show', `${ref}:event`)).toBe(utf8Decode(recovery.event))
    expect(git(repo, 'log', '--format=%s', '-1', ref).trim()).toBe(`keri rot s=2 ${recovery.said}`)
    expect(git(repo, 'show', `${ref}:seen`)).toMatch(/^3 \d{4}-.*Z local\n$/)
    expect(git(repo, 'for-each-ref', 'refs/keyturn-tmp/')).toBe('')
    const again = await Kel.open(gitStore(repo).log(prefix), prefix)
    expect(again.superseded).toHaveLength(1)
    expect(again.state).toEqual(kel.state)
  })

  it('keeps receipts beside the chain and proofs of duplicity in refs of their own', async () => {
    const repo = repository()
    const suite = signifyVectors().suites.find(({ id }) => id === 'witnessed')!
    const storage = gitStore(repo).log(suite.pre)
    const kel = await Kel.open(storage, suite.pre)
    for (const { message } of suite.events) await kel.append(bytes(message))
    const before = git(repo, 'rev-parse', `refs/keri/${suite.pre}/kel`)
    const receipt = signifyVectors().receipts[0]!
    expect((await kel.append(bytes(receipt.message))).outcome).toBe('receipt')
    expect(git(repo, 'rev-parse', `refs/keri/${suite.pre}/kel`)).toBe(before)
    const again = await Kel.open(storage, suite.pre)
    expect(again.witnessesOf(receipt.for).size).toBe(kel.witnessesOf(receipt.for).size)

    const actor = await Actor.start()
    const { prefix } = actor.state
    const base = actor.state
    await actor.rotate()
    const log = gitStore(repo).log(prefix)
    const own = await Kel.open(log, prefix)
    for (const message of actor.messages) await own.append(message)
    const rival = await rotate(base, { keys: [key(1)], nextKeys: [key(9)] }, signer(1))
    await expect(own.append(rival.message)).rejects.toThrow(expect.objectContaining({ code: 'KEL_DUPLICITY' }))
    expect(await log.duplicities()).toEqual([concatBytes(actor.messages[1]!, rival.message)])
    expect(git(repo, 'show', `refs/keri/${prefix}/duplicity/${rival.said}:against`).trim()).toBe(actor.state.said)
  })

  it('a writer that validated against an older tip gets KEL_CONFLICT', async () => {
    const repo = repository()
    const actor = await Actor.start()
    const { prefix } = actor.state
    const storage = gitStore(repo).log(prefix)
    const one = await Kel.open(storage, prefix)
    const two = await Kel.open(storage, prefix)
    await one.append(actor.messages[0]!)
    await expect(two.append(actor.messages[0]!)).rejects.toThrow(expect.objectContaining({ code: 'KEL_CONFLICT' }))
    const three = await Kel.open(storage, prefix)
    await one.append((await interact(actor.state, [], signer(0))).message)
    await expect(three.append((await interact(actor.state, [{ d: prefix }], signer(0))).message)).rejects.toThrow(
      expect.objectContaining({ code: 'KEL_CONFLICT' }),
    )
    expect(git(repo, 'for-each-ref', 'refs/keyturn-tmp/')).toBe('')
  })

  it('refuses a log with a merge in it', async () => {
    const repo = repository()
    const actor = await Actor.start()
    const { prefix } = actor.state
    const kel = await Kel.open(gitStore(repo).log(prefix), prefix)
    await kel.append(actor.messages[0]!)
    const ref = `refs/keri/${prefix}/kel`
    const tree = git(repo, 'rev-parse', `${ref}^{tree}`).trim()
    const other = gitInput(repo, 'x', 'commit-tree', tree)
    const merge = gitInput(repo, 'x', 'commit-tree', tree, '-p', ref, '-p', other)
    git(repo, 'update-ref', ref, merge)
    await expect(Kel.open(gitStore(repo).log(prefix), prefix)).rejects.toThrow(
      expect.objectContaining({ code: 'KEL_CORRUPT' }),
    )
  })

  it('exportBundle() carries a log into another repository', async () => {
    const [from, to] = [repository(), repository()]
    const actor = await Actor.start()
    await actor.rotate()
    const { prefix } = actor.state
    const kel = await Kel.open(gitStore(from).log(prefix), prefix)
    for (const message of actor.messages) await kel.append(message)
    const file = join(from, 'log.bundle')
    await exportBundle(from, prefix, file)
    git(to, 'fetch', '--quiet', file, 'refs/keri/*:refs/keri/*')
    expect((await Kel.open(gitStore(to).log(prefix), prefix)).state).toEqual(kel.state)
    await expect(exportBundle(to, 'E'.repeat(44), file)).rejects.toThrow(
      expect.objectContaining({ code: 'KEL_LOG_MISSING' }),
    )
  })
})

describe('readAuthsLog()', () => {
  function writeTree(repo: string, files: Readonly<Record<string, string>>): string {
    const index = join(repo, 'test-index')
    for (const [path, text] of Object.entries(files)) {
      const blob = gitInput(repo, text, 'hash-object', '-w', '--stdin')
      execFileSync('git', ['-C', repo, 'update-index', '--add', '--cacheinfo', `100644,${blob},${path}`], {
        env: { ...env, GIT_INDEX_FILE: index },
      })
    }
    const tree = execFileSync('git', ['-C', repo, 'write-tree'], {
      encoding: 'utf8',
      env: { ...env, GIT_INDEX_FILE: index },
    }).trim()
    rmSync(index)
    return tree
  }

  it('reads the registry layout, where events are re-formatted', async () => {
    const repo = repository()
    const suite = signifyVectors().suites.find(({ id }) => id === 'single-sig-12')!
    const folder = `v1/identities/${suite.pre.slice(0, 2)}/${suite.pre.slice(2, 4)}/${suite.pre}`
    const files: Record<string, string> = { 'v1/metadata.json': '{}', [`${folder}/tip.json`]: '{}' }
    suite.events.forEach((event, at) => {
      const number = String(at).padStart(8, '0')
      const sorted = Object.fromEntries(Object.entries(JSON.parse(event.raw) as object).sort())
      files[`${folder}/events/${number}.json`] = JSON.stringify(sorted, null, 2)
      files[`${folder}/events/${number}.attachments.cesr`] = event.attachments
    })
    const commit = gitInput(repo, 'registry', 'commit-tree', writeTree(repo, files))
    git(repo, 'update-ref', 'refs/auths/registry', commit)
    const stream = await readAuthsLog(repo, suite.pre)
    expect(utf8Decode(stream)).toBe(suite.stream)
    expect(verifyLog(stream).state.sn).toBe(11)
  })

  it.each([
    ['refs/did/keri/PREFIX/kel', 'event.cesr'],
    ['refs/keri/kel', 'event.cesr'],
    ['refs/did/keri/PREFIX/kel', 'event.json'],
  ])('reads the legacy layout %s with %s', async (ref, name) => {
    const repo = repository()
    const suite = signifyVectors().suites.find(({ id }) => id === 'multisig-2of3')!
    let parent: string | undefined
    for (const event of suite.events) {
      const content = name === 'event.cesr' ? event.message : JSON.stringify(JSON.parse(event.raw), null, 2)
      const tree = writeTree(repo, { [name]: content })
      parent = gitInput(repo, 'event', 'commit-tree', tree, ...(parent === undefined ? [] : ['-p', parent]))
    }
    git(repo, 'update-ref', ref.replace('PREFIX', suite.pre), parent ?? '')
    const stream = await readAuthsLog(repo, suite.pre)
    if (name === 'event.cesr') expect(utf8Decode(stream)).toBe(suite.stream)
    else expect(() => verifyLog(stream)).toThrow(expect.objectContaining({ code: 'KEL_UNSIGNED' }))
    await expect(readAuthsLog(repo, 'E'.repeat(44))).rejects.toThrow(
      expect.objectContaining({ code: 'KEL_LOG_MISSING' }),
    )
  })
})
