import { spawnSync } from 'node:child_process'
import { cp, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { parseLogEntry } from '@keyturn/manifest'
import { formatLogEntry } from '@keyturn/manifest/publish'
import { sha256Hex, utf8Decode, utf8Encode } from '@keyturn/primitives'
import {
  fetchCheckpoint,
  fetchWitnessed,
  followLog,
  hashLeaf,
  httpTileSource,
  parsePolicy,
  parseVerifierKey,
  verifyCheckpoint,
  verifyProof,
} from '@keyturn/tlog'
import type { Policy } from '@keyturn/tlog'
import type { ReleaseServerClient } from '@keyturn/release-client'
import { MAIN } from './processes.ts'
import type { MadeRelease } from './publisher.ts'
import { TestPublisher } from './publisher.ts'
import { startServer, temporaryFolder } from './support.ts'
import type { RunningServer } from './support.ts'

const vault = { passphrase: 'test', scryptLogN: 10 }
const policyOf = (text: string): Policy => parsePolicy(utf8Encode(text))

/** Waits until something holds; a test that never sees it ends by its own time limit. */
async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await sleep(20)
}

async function text(url: string): Promise<string> {
  const answer = await fetch(url)
  if (answer.status !== 200) throw new Error(`${url}: ${answer.status}`)
  return utf8Decode(new Uint8Array(await answer.arrayBuffer()))
}

/** A server that keeps a log, and witnesses for it: each is a server of its own. */
async function stage(names: readonly string[]) {
  const dataDir = await temporaryFolder()
  // The key is made first: witnesses have to know it.
  const first = await startServer({
    dataDir,
    vault,
    releaseLog: { origin: 'log.example', policy: policyOf('quorum none\n') },
  })
  const client = await first.client(['admin'])
  const publisher = await TestPublisher.create()
  await publisher.introduce(client)
  await until(async () => (await client.getReleaseLog('metin2')) !== undefined)
  const { key } = (await client.getReleaseLog('metin2'))!
  await first.server.close()
  const witnesses = await Promise.all(
    names.map(async (name) => {
      const logs = policyOf(`log ${key}\nquorum none\n`).logs
      return { name, running: await startServer({ vault, logWitness: { name: `${name}.example/w`, logs } }) }
    }),
  )
  const lines = await Promise.all(
    witnesses.map(async ({ name, running }) => {
      const vkey = (await text(`${running.url}/log-witness`)).trim()
      return `witness ${name} ${vkey} ${running.url}/log-witness\n`
    }),
  )
  const group = names.length === 0 ? 'quorum none\n' : `group all all ${names.join(' ')}\nquorum all\n`
  const policy = policyOf(`log ${key}\n${lines.join('')}${group}`)
  const start = (folder = dataDir): Promise<RunningServer> =>
    startServer({ dataDir: folder, vault, releaseLog: { origin: 'log.example', policy } })
  return { dataDir, start, publisher, key, policy, witnesses }
}

async function isProved(client: ReleaseServerClient): Promise<boolean> {
  const log = await client.getReleaseLog('metin2')
  return log !== undefined && log.unproved.length === 0
}

const leafOf = ({ model, pin }: MadeRelease): Uint8Array =>
  hashLeaf(
    formatLogEntry({
      type: 'release',
      product: 'metin2',
      channel: 'stable',
      number: model.sequence!,
      sha256: pin.sha256,
    }),
  )

describe('the log of releases', () => {
  it('has every release, role document and offer; witnesses sign it; proofs are beside the signatures', async () => {
    const { start, publisher, policy, key, witnesses } = await stage(['one', 'two'])
    const running = await start()
    const client = await running.client(['admin'])
    const release = await publisher.release({ 'a.txt': utf8Encode('a') })
    await publisher.publish(client, release)
    await until(async () => (await client.getReleaseLog('metin2'))!.size === 3 && (await isProved(client)))
    const proof = utf8Encode(await text(`${running.url}/manifests/${release.model.version}.tlog-proof`))
    expect(proof.length).toBeLessThan(2048)
    expect(verifyProof(proof, leafOf(release), policy)).toMatchObject({
      quorum: true,
      witnesses: [{ name: 'one' }, { name: 'two' }],
    })
    const prefix = `${running.url}/p/metin2/log`
    const head = verifyCheckpoint(await fetchCheckpoint(prefix), parseVerifierKey(key))
    const { entries } = await followLog(httpTileSource(prefix), head)
    expect(entries.map((bytes) => parseLogEntry(bytes).type)).toEqual(['roles', 'release', 'offer'])
    expect(parseLogEntry(entries[1]!).sha256).toBe(sha256Hex(release.manifest))
    // A renewed head adds nothing; a second release adds two entries.
    await client.publish('metin2', 'stable', { version: release.model.version, head: await publisher.head(release) })
    const next = await publisher.release({ 'a.txt': utf8Encode('b') })
    await publisher.publish(client, next)
    await until(async () => (await client.getReleaseLog('metin2'))!.size === 5 && (await isProved(client)))
    const newer = utf8Encode(await text(`${running.url}/manifests/${next.model.version}.tlog-proof`))
    expect(verifyProof(newer, leafOf(next), policy).size).toBe(5)
    const witnessed = await fetchWitnessed(`${witnesses[0]!.running.url}/log-witness`, 'log.example/p/metin2/log')
    expect(verifyCheckpoint(witnessed, parseVerifierKey(key)).size).toBe(5)
  })

  it('goes on under another origin with a key of its own, and what is on offer is proved by both to launchers', async () => {
    const { dataDir, start, publisher, key } = await stage([])
    const running = await start()
    const client = await running.client(['admin'])
    const old = await publisher.release({ 'a.txt': utf8Encode('a') })
    await publisher.publish(client, old)
    const release = await publisher.release({ 'a.txt': utf8Encode('b') })
    await publisher.publish(client, release)
    await until(async () => (await client.getReleaseLog('metin2'))!.size === 5 && (await isProved(client)))
    await running.server.close()
    const under = (origin: string): Promise<RunningServer> =>
      startServer({ dataDir, vault, releaseLog: { origin, policy: policyOf('quorum none\n') } })
    // The key of the new log is known before anything is signed with it.
    const planned = await under('log2.example')
    const next = (await planned.server.logKey('metin2'))!
    expect(next.split('+')[0]).toBe('log2.example/p/metin2/log')
    expect(next.split('+')[2]).not.toBe(key.split('+')[2])
    // What the publisher seals before the server changes: launchers take proofs of either log.
    const policy = policyOf(`log ${key}\nlog ${next}\nquorum none\n`)
    const admin = await planned.client(['admin'])
    await until(async () => (await admin.getReleaseLog('metin2'))!.key === next && (await isProved(admin)))
    const proof = utf8Encode(await text(`${planned.url}/manifests/${release.model.version}.tlog-proof`))
    expect(verifyProof(proof, leafOf(release), policy)).toMatchObject({ quorum: true, size: 5 })
    expect(() => verifyProof(proof, leafOf(release), policyOf(`log ${key}\nquorum none\n`))).toThrow()
    // It is the same tree, and it grows.
    const prefix = `${planned.url}/p/metin2/log`
    await publisher.publish(admin, await publisher.release({ 'a.txt': utf8Encode('c') }))
    await until(async () => (await admin.getReleaseLog('metin2'))!.size === 7 && (await isProved(admin)))
    const head = verifyCheckpoint(await fetchCheckpoint(prefix), parseVerifierKey(next))
    const { entries } = await followLog(httpTileSource(prefix), head)
    expect(entries).toHaveLength(7)
    expect(parseLogEntry(entries[1]!).sha256).toBe(sha256Hex(old.manifest))
    await planned.server.close()
    // A replica that was left with the old settings, and the way back: nothing is signed.
    const back = await under('log.example')
    const left = await back.client(['admin'])
    await until(async () => (await left.getReleaseLog('metin2'))!.problem !== '')
    expect(await left.getReleaseLog('metin2')).toMatchObject({
      problem: 'The log goes on under log2.example/p/metin2/log: "log.example/p/metin2/log" has ended',
      key: next,
    })
    expect(verifyCheckpoint(await fetchCheckpoint(`${back.url}/p/metin2/log`), parseVerifierKey(next)).size).toBe(7)
    await back.server.close()
    const again = await under('log2.example')
    const last = await again.client(['admin'])
    await publisher.publish(last, await publisher.release({ 'a.txt': utf8Encode('d') }))
    await until(async () => (await last.getReleaseLog('metin2'))!.size === 9)
    expect((await last.getReleaseLog('metin2'))!.problem).toBe('')
  })

  it('a restored backup does not fork it: nothing is appended, and the log says why', async () => {
    const { start, publisher, dataDir } = await stage(['one'])
    const running = await start()
    const client = await running.client(['admin'])
    const release = await publisher.release({ 'a.txt': utf8Encode('a') })
    await publisher.publish(client, release)
    await until(async () => (await client.getReleaseLog('metin2'))!.size === 3 && (await isProved(client)))
    const backup = await temporaryFolder()
    await running.server.close()
    await cp(dataDir, backup, { recursive: true })
    const again = await start()
    await publisher.publish(await again.client(['admin']), await publisher.release({ 'a.txt': utf8Encode('b') }))
    await until(async () => (await (await again.client(['admin'])).getReleaseLog('metin2'))!.size === 5)
    await until(async () => isProved(await again.client(['admin'])))
    await again.server.close()
    const restored = await start(backup)
    const admin = await restored.client(['admin'])
    await publisher.publish(admin, await publisher.release({ 'a.txt': utf8Encode('c') }))
    await until(async () => (await admin.getReleaseLog('metin2'))!.problem !== '')
    expect(await admin.getReleaseLog('metin2')).toMatchObject({
      size: 3,
      problem: expect.stringContaining('"one"') as unknown,
    })
    // Publishing itself goes on.
    expect(await admin.getChannel('metin2', 'stable')).toMatchObject({ manifest: { sequence: 3 } })
    await rm(backup, { recursive: true, force: true })
  })

  it('a witness that is down stops nothing but its signature, and the release is listed as unproved', async () => {
    const { start, publisher, witnesses, policy } = await stage(['one', 'two'])
    const running = await start()
    const client = await running.client(['admin'])
    await witnesses[1]!.running.server.close()
    const release = await publisher.release({ 'a.txt': utf8Encode('a') })
    await publisher.publish(client, release)
    const proofUrl = `${running.url}/manifests/${release.model.version}.tlog-proof`
    await until(async () => (await fetch(proofUrl)).status === 200 && (await text(proofUrl)).includes('one.example/w'))
    const proof = utf8Encode(await text(proofUrl))
    expect(() => verifyProof(proof, leafOf(release), policy)).toThrow(expect.objectContaining({ code: 'TLOG_QUORUM' }))
    expect((await client.getReleaseLog('metin2'))!.unproved).toEqual([`stable/${release.model.version}`])
  })

  it('another policy: what is on offer gets the signatures of its witnesses without a new release (row 393)', async () => {
    const { start, publisher, key, policy, witnesses } = await stage(['one'])
    const running = await start()
    const client = await running.client(['admin'])
    const release = await publisher.release({ 'a.txt': utf8Encode('a') })
    await publisher.publish(client, release)
    await until(() => isProved(client))
    await running.server.close()
    const logs = policyOf(`log ${key}\nquorum none\n`).logs
    const second = await startServer({ vault, logWitness: { name: 'two.example/w', logs } })
    const vkey = (await text(`${second.url}/log-witness`)).trim()
    const both: Policy = {
      ...policyOf(`witness two ${vkey} ${second.url}/log-witness\nquorum two\n`),
      logs,
    }
    const next = await startServer({
      dataDir: running.dataDir,
      vault,
      releaseLog: { origin: 'log.example', policy: { ...both, witnesses: [...policy.witnesses, ...both.witnesses] } },
    })
    const proofUrl = `${next.url}/manifests/${release.model.version}.tlog-proof`
    await until(async () => (await text(proofUrl)).includes('two.example/w'))
    const proof = utf8Encode(await text(proofUrl))
    expect(verifyProof(proof, leafOf(release), both)).toMatchObject({ quorum: true, witnesses: [{ name: 'two' }] })
    // Launchers that still have the policy of before accept it as well.
    expect(verifyProof(proof, leafOf(release), policy)).toMatchObject({ quorum: true, witnesses: [{ name: 'one' }] })
    expect(witnesses).toHaveLength(1)
  })

  it('a server that stops between publish and log finds what is missing when it starts again', async () => {
    const { dataDir, start, publisher } = await stage([])
    const without = await startServer({ dataDir, vault })
    const client = await without.client(['admin'])
    await publisher.publish(client, await publisher.release({ 'a.txt': utf8Encode('a') }))
    expect((await client.getReleaseLog('metin2'))!.size).toBe(1)
    await without.server.close()
    const running = await start()
    const admin = await running.client(['admin'])
    await until(async () => (await admin.getReleaseLog('metin2'))!.size === 3)
  })

  it('two replicas on one store append without a fork', async () => {
    const { start, publisher, key } = await stage([])
    const one = await start()
    const client = await one.client(['admin'])
    const { createReleaseServer } = await import('../src/server.ts')
    const { blobs, metadata } = one.server.context
    const two = await createReleaseServer({
      blobs: shared(blobs),
      metadata: shared(metadata),
      vault,
      releaseLog: { origin: 'log.example', policy: policyOf('quorum none\n') },
    })
    await two.listen()
    for (const content of ['a', 'b', 'c', 'd'])
      await publisher.publish(client, await publisher.release({ 'a.txt': utf8Encode(content) }))
    await until(async () => (await client.getReleaseLog('metin2'))!.size === 9)
    const prefix = `${one.url}/p/metin2/log`
    await until(async () => verifyCheckpoint(await fetchCheckpoint(prefix), parseVerifierKey(key)).size === 9)
    const head = verifyCheckpoint(await fetchCheckpoint(prefix), parseVerifierKey(key))
    const { entries } = await followLog(httpTileSource(prefix), head)
    expect(new Set(entries.map((bytes) => utf8Decode(bytes))).size).toBe(9)
    await two.close()
  })

  it('its key can be made and shown before there is an entry, and stays the same', async () => {
    const dataDir = await temporaryFolder()
    const releaseLog = { origin: 'log.example', policy: policyOf('quorum none\n') }
    const first = await startServer({ dataDir, vault, releaseLog })
    const key = (await first.server.logKey('metin2'))!
    expect(parseVerifierKey(key).name).toBe('log.example/p/metin2/log')
    expect(await first.server.logKey('metin2')).toBe(key)
    expect(await first.server.logKey('other')).not.toBe(key)
    const client = await first.client(['admin'])
    await (await TestPublisher.create()).introduce(client)
    await until(async () => (await client.getReleaseLog('metin2'))?.key === key)
    expect(await (await startServer({ vault })).server.logKey('metin2')).toBeUndefined()
    await first.server.close()
    const fresh = await temporaryFolder()
    const run = (settings: Record<string, string>): ReturnType<typeof spawnSync> =>
      spawnSync(process.execPath, ['--no-warnings', MAIN, 'log-key', 'metin2'], {
        env: { PATH: process.env['PATH'] ?? '', KEYTURN_DATA_DIR: join(fresh, 'data'), ...settings },
        encoding: 'utf8',
      })
    await writeFile(join(fresh, 'passphrase'), 'test\n')
    const settings = { KEYTURN_PASSPHRASE_FILE: join(fresh, 'passphrase'), KEYTURN_LOG_ORIGIN: 'log.example' }
    const [made, shown] = [run(settings), run(settings)]
    expect([made.status, shown.status]).toEqual([0, 0])
    expect(String(made.stdout)).toMatch(/^log\.example\/p\/metin2\/log\+[0-9a-f]{8}\+\S+\n$/)
    expect(shown.stdout).toBe(made.stdout)
    expect(run({ KEYTURN_PASSPHRASE_FILE: settings.KEYTURN_PASSPHRASE_FILE }).stderr).toContain('SRV_CONFIG')
  })

  it('a log needs the vault: SRV_CONFIG', async () => {
    await expect(
      startServer({ releaseLog: { origin: 'log.example', policy: policyOf('quorum none\n') } }),
    ).rejects.toMatchObject({ code: 'SRV_CONFIG' })
  })
})

/** A store that another server closes. */
function shared<T extends object>(store: T): T {
  return new Proxy(store, {
    get: (target, name) => {
      if (name === 'close') return () => Promise.resolve()
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    },
  })
}

describe('the witness of logs', () => {
  it('answers as the specification says, and signs only for the logs in its list', async () => {
    const { witnesses } = await stage(['one'])
    const url = `${witnesses[0]!.running.url}/log-witness`
    const post = (body: string): Promise<Response> => fetch(`${url}/add-checkpoint`, { method: 'POST', body })
    expect((await post('nonsense')).status).toBe(400)
    const strange = `old 0\n\nother.example/log\n1\n${'A'.repeat(43)}=\n\n— other.example/log AAAAAGFiYw==\n`
    expect((await post(strange)).status).toBe(404)
    const known = strange.replaceAll('other.example/log', 'log.example/p/metin2/log')
    expect((await post(known)).status).toBe(403)
    expect((await fetch(`${url}/${'0'.repeat(64)}/checkpoint`)).status).toBe(404)
  })
})
