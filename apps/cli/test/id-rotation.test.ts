import { crashAt, endCrash } from './support/crash-disk.ts'
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ed25519Verify, utf8Encode } from '@keyturn/primitives'
import { writeFileAtomic } from '@keyturn/primitives/node'
import { sha256DigestSeal, verifyLog } from '@keyturn/kel'
import { incept, nextDigestOf } from '@keyturn/kel/owner'
import type { VerifiedLog } from '@keyturn/kel'
import type { PublisherHost } from '@keyturn/publisher'
import { namedIdentityFolder, openIdentity, writeNamedRecord } from '@keyturn/publisher/identity'
import type { Identity } from '@keyturn/publisher/identity'
import { Keys } from '@keyturn/publisher/keys'
import { previewRotation, rotateIdentityKey } from '@keyturn/publisher/rotation'
import type { KeyRotationPlan, RotationTerms } from '@keyturn/publisher/rotation'

const root = mkdtempSync(join(tmpdir(), 'id-rotation-'))
const passphrase = utf8Encode('correct horse')
const clock = (): number => 1_795_000_000_000
const options = { clock, scryptLogN: 4 }
const terms: RotationTerms = { seals: [sha256DigestSeal(utf8Encode('roles'))] }
const plan: KeyRotationPlan = { terms: () => terms, collect: async ({ message }) => message, nowMs: clock() }
let prefix = ''

beforeAll(async () => {
  const draft = join(root, 'fixture', 'draft')
  mkdirSync(draft, { recursive: true })
  const keys = await Keys.create(join(draft, 'keystore'), passphrase, options)
  const key = await keys.makeSigning('main', 'identity')
  const next = await Keys.create(join(draft, 'next.keystore'), passphrase, options)
  const nextKey = await next.makeSigning('main/2', 'identity')
  const event = await incept({ keys: [key], nextKeys: [nextKey], traits: ['EO'] }, await keys.eventSigner(['main']))
  prefix = event.prefix
  await writeFileAtomic(join(draft, 'log.cesr'), event.message)
  await writeNamedRecord(draft, prefix, {
    alias: 'main',
    next: [{ alias: 'main/2', file: join(draft, 'next.keystore') }],
  })
  cpSync(draft, namedIdentityFolder(join(root, 'fixture'), prefix), { recursive: true })
  await keys.close()
  await next.close()
})

afterAll(() => rmSync(root, { recursive: true }))

/** A fresh copy of the home. */
function home(name: string): string {
  const path = join(root, name)
  cpSync(namedIdentityFolder(join(root, 'fixture'), prefix), namedIdentityFolder(path, prefix), { recursive: true })
  return path
}

async function withIdentity<T>(path: string, use: (identity: Identity) => Promise<T>): Promise<T> {
  const cleanUps: (() => void | Promise<void>)[] = []
  const host: PublisherHost = {
    homeFolder: path,
    clock,
    signal: new AbortController().signal,
    dryRun: false,
    passphrase: async () => passphrase.slice(),
    onStep: () => {},
    warn: () => {},
    defer: (cleanUp) => void cleanUps.push(cleanUp),
  }
  try {
    return await use(await openIdentity(host, { alias: prefix }))
  } finally {
    for (const cleanUp of cleanUps) await cleanUp()
  }
}

function logOf(path: string): VerifiedLog {
  return verifyLog(readFileSync(join(namedIdentityFolder(path, prefix), 'log.cesr')))
}

/** The locks of a killed process; the program itself takes them over once their holder is dead. */
function dropLocks(path: string): void {
  for (const name of readdirSync(path, { recursive: true, encoding: 'utf8' })) {
    if (name.endsWith('.lock') || name.endsWith('lock')) rmSync(join(path, name), { force: true })
  }
}

async function hasKey(identity: Identity, publicKey: Uint8Array | undefined): Promise<boolean> {
  const keys = await identity.keys()
  const found = await Promise.all(keys.store.list().map(({ alias }) => keys.publicKey(alias)))
  return found.some((key) => Buffer.compare(key, publicKey ?? new Uint8Array(0)) === 0)
}

async function hasPromised(identity: Identity, digest: string | undefined): Promise<boolean> {
  for (const { file } of identity.next) {
    const keys = await identity.nextKeys(file)
    for (const { alias } of keys.store.list()) if (nextDigestOf(await keys.publicKey(alias)) === digest) return true
  }
  return false
}

async function signs(identity: Identity, log: VerifiedLog): Promise<boolean> {
  const { sign } = await (await identity.keys()).documentSigner(identity.alias)
  const message = utf8Encode('still mine')
  return ed25519Verify(log.state.publicKeys[0] ?? new Uint8Array(0), message, await sign(message))
}

describe('rotateIdentityKey()', () => {
  it('rotates the key, keeps the alias, removes what is no longer needed', async () => {
    const path = home('plain')
    const done = await withIdentity(path, (identity) => rotateIdentityKey(identity, plan))
    expect(done).toMatchObject({ sn: 1, alias: 'main', resumed: false })
    const log = logOf(path)
    expect(log.events[1]?.seals).toEqual(terms.seals)
    await withIdentity(path, async (identity) => {
      expect(await signs(identity, log)).toBe(true)
      expect((await identity.keys()).store.list().map(({ alias }) => alias)).toEqual(['main'])
      const [next] = identity.next
      expect((await identity.nextKeys(next!.file)).store.list().map(({ alias }) => alias)).toEqual([next!.alias])
      expect(await hasPromised(identity, log.state.nextDigests[0])).toBe(true)
    })
  })

  it('previewRotation() does everything but write', async () => {
    const path = home('preview')
    const before = readdirSync(path, { recursive: true, encoding: 'utf8' }).sort()
    const bytes = readFileSync(join(namedIdentityFolder(path, prefix), 'next.keystore'))
    const preview = await withIdentity(path, (identity) => previewRotation(identity, terms))
    expect(preview.after.sn).toBe(1)
    expect(readdirSync(path, { recursive: true, encoding: 'utf8' }).sort()).toEqual(before)
    expect(readFileSync(join(namedIdentityFolder(path, prefix), 'next.keystore'))).toEqual(bytes)
  })

  it('never strands its owner: killed at every write, fsync and rename, it goes on where it stopped (rows 140, 141)', async () => {
    let calls = 0
    for (let fired = true, at = 0; fired; at++) {
      const path = home(`crash-${at}`)
      crashAt(at)
      await withIdentity(path, (identity) => rotateIdentityKey(identity, plan)).catch(() => undefined)
      calls = endCrash()
      fired = calls > at
      dropLocks(path)
      const log = logOf(path)
      await withIdentity(path, async (identity) => {
        // Whatever the log says is in force and promised, its owner holds: before anything is repaired.
        expect(await hasKey(identity, log.state.publicKeys[0]), `call ${at}: key in force`).toBe(true)
        expect(await hasPromised(identity, log.state.nextDigests[0]), `call ${at}: promised key`).toBe(true)
      })
      const done = await withIdentity(path, (identity) => rotateIdentityKey(identity, plan))
      // A turn whose last step was the only thing missing from the journal is over: then this was the next one.
      expect(done.sn, `call ${at}`).toBeGreaterThanOrEqual(1)
      expect(done.sn).toBeLessThanOrEqual(2)
      const after = logOf(path)
      expect(after.state.said).toBe(done.said)
      await withIdentity(path, async (identity) => {
        expect(await signs(identity, after), `call ${at}: signs`).toBe(true)
        expect(await hasPromised(identity, after.state.nextDigests[0]), `call ${at}: promised key after`).toBe(true)
        expect((await identity.keys()).store.list()).toHaveLength(1)
      })
      rmSync(path, { recursive: true })
    }
    expect(calls).toBeGreaterThan(30)
    console.info(`killed at each of ${calls} calls`)
  }, 300_000)
})
