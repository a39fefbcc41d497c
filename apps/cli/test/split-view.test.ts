import { cp, rm, writeFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { createEngine } from '@keyturn/install-engine'
import type { Engine } from '@keyturn/install-engine'
import { utf8Encode } from '@keyturn/primitives'
import { trustPin } from '@keyturn/publisher/release'
import { createReleaseServer } from '@keyturn/release-server'
import type { ReleaseServer } from '@keyturn/release-server'
import { formatVerifierKey, parsePolicy, seedNoteSigner } from '@keyturn/tlog'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { command } from './support/command.ts'
import { World } from './support/world.ts'

const vault = { passphrase: 'of the server', scryptLogN: 4 }
const rates = { managementPerMinute: 10_000, publicPerMinute: 10_000 }
const ORIGIN = 'log.example'

let world: World
const servers: ReleaseServer[] = []
beforeEach(async () => {
  world = await World.create()
})
afterEach(async () => {
  for (const server of servers.splice(0)) await server.close()
  await world.remove()
})

async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await sleep(20)
}

async function succeed(...args: string[]): Promise<Record<string, unknown>> {
  const answer = await command(world, [...args, '--token-file', world.path('token.txt')])
  if (!answer.ok) throw new Error(`${args.join(' ')}: ${JSON.stringify(answer.error)}`)
  return answer.data
}

/** The server of the world with a log, a witness elsewhere, and a sealed policy that wants its signature. */
async function witnessedWorld(): Promise<string> {
  const policyOf = (text: string): ReturnType<typeof parsePolicy> => parsePolicy(utf8Encode(text))
  await world.startServer(Date.now, true, { releaseLog: { origin: ORIGIN, policy: policyOf('quorum none\n') } })
  await world.release('one')
  await until(async () => (await world.client?.getReleaseLog('test')) !== undefined)
  const log = (await world.client!.getReleaseLog('test'))!.key
  await world.stopServer()
  const logs = policyOf(`log ${log}\nquorum none\n`).logs
  const witness = await createReleaseServer({
    dataDir: world.path('witness'),
    vault,
    rates,
    logWitness: { name: 'friend.example/w', logs },
  })
  servers.push(witness)
  const { url } = await witness.listen()
  const vkey = (await (await fetch(`${url}/log-witness`)).text()).trim()
  const policy = `log ${log}\nwitness friend ${vkey} ${url}/log-witness\nquorum friend\n`
  await world.startServer(Date.now, true, { releaseLog: { origin: ORIGIN, policy: policyOf(policy) } })
  await writeFile(world.path('token.txt'), `${world.token}\n`, { mode: 0o600 })
  await (await world.home()).update({ server: world.url })
  await writeFile(world.path('policy'), policy)
  await command(world, ['roles', 'propose', '--log-policy', world.path('policy'), '--log-grace', '0'])
  await succeed('roles', 'seal')
  return policy
}

/** Publishes, and waits until witnesses have signed. */
async function publish(change: string): Promise<void> {
  await world.release(change)
  await until(async () => (await world.client!.getReleaseLog('test'))!.unproved.length === 0)
}

async function victim(name: string, server: string): Promise<Engine> {
  return createEngine({
    folder: world.path(name),
    server: `${server}/`,
    trust: await trustPin(await world.home()),
    product: 'test',
    channel: 'stable',
    retry: { tries: 1, firstPauseMs: 1, longestPauseMs: 1 },
  })
}

describe('a thief with release key, head key and the server', () => {
  it('gives two victims a special release: 0 installs, and what they have plays', async () => {
    const policy = await witnessedWorld()
    await publish('two')
    for (const name of ['a', 'b']) {
      const engine = await victim(name, world.url)
      expect(await engine.update()).toMatchObject({ outcome: 'updated' })
      expect((await engine.status()).published).toMatchObject({ signed: 1, of: 1, origin: `${ORIGIN}/p/test/log` })
    }
    // The thief takes everything: both keys, the data of the server, and the key of the log in its vault.
    await world.stopServer()
    await cp(world.path('server'), world.path('stolen'), { recursive: true })
    await cp(world.path('home'), world.path('thief-home'), { recursive: true })
    await world.startServer(Date.now, true, { releaseLog: { origin: ORIGIN, policy: parsePolicy(utf8Encode(policy)) } })
    await publish('three')

    const [ownHome, ownUrl, ownClient] = [world.path('home'), world.url, world.client]
    await cp(ownHome, world.path('kept-home'), { recursive: true })
    await rm(ownHome, { recursive: true })
    await cp(world.path('thief-home'), ownHome, { recursive: true })
    const thief = await createReleaseServer({
      dataDir: world.path('stolen'),
      vault,
      rates,
      releaseLog: { origin: ORIGIN, policy: parsePolicy(utf8Encode(policy)) },
    })
    servers.push(thief)
    const { url } = await thief.listen()
    const { secret } = await thief.createToken({ name: 'thief', scopes: ['admin'], days: 1 })
    const { ReleaseServerClient } = await import('@keyturn/release-client')
    world.client = new ReleaseServerClient(url, { token: secret, retries: 0 })
    await world.release('evil')
    await until(async () => (await world.client!.getReleaseLog('test'))!.problem !== '')
    let installs = 0
    for (const name of ['a', 'b']) {
      const engine = await victim(name, url)
      const before = (await engine.status()).version
      const outcome = await engine.update().catch((error: unknown) => error)
      expect(outcome).toMatchObject({ code: 'MAN_UNWITNESSED' })
      const after = await engine.status()
      expect(after).toMatchObject({ trust: 'stale', refused: { code: 'MAN_UNWITNESSED' } })
      if (after.version !== before) installs += 1
    }
    expect(installs).toBe(0)

    await rm(ownHome, { recursive: true })
    await cp(world.path('kept-home'), ownHome, { recursive: true })
    world.client = ownClient
    for (const name of ['a', 'b'])
      expect(await (await victim(name, ownUrl)).update()).toMatchObject({ outcome: 'updated' })
  })

  it('publishes in the open instead: the monitor reports it at its next look, until it was seen', async () => {
    await witnessedWorld()
    await publish('two')
    const look = async (...more: string[]) => await command(world, ['release', 'monitor', ...more])
    expect((await look()).data).toMatchObject({ findings: [], witnesses: ['friend'] })
    await publish('three')
    expect((await look()).data).toMatchObject({ read: 2, findings: [] })
    const ownHome = world.path('home')
    await cp(ownHome, world.path('kept-home'), { recursive: true })
    await publish('evil')
    await rm(ownHome, { recursive: true })
    await cp(world.path('kept-home'), ownHome, { recursive: true })
    for (const more of [[], ['--seen']]) {
      const answer = await look(...more)
      expect(answer).toMatchObject({ code: 1, error: { code: 'REL_FOREIGN' } })
      expect(answer.error.message).toContain('of channel stable')
    }
    expect((await look()).ok).toBe(true)
  })

  it('is offered what the log does not have: the monitor says so at its second look', async () => {
    await witnessedWorld()
    await publish('two')
    const look = async () => await command(world, ['release', 'monitor', '--server', world.url])
    expect((await look()).ok).toBe(true)
    // The log stops: what is offered from now on is in no log.
    await world.stopServer()
    await world.startServer(Date.now, true)
    await (await world.home()).update({ server: world.url })
    await world.release('special')
    expect((await look()).ok).toBe(true)
    for (let day = 0; day < 2; day += 1) {
      const answer = await look()
      expect(answer).toMatchObject({ code: 1, error: { code: 'REL_FOREIGN' } })
      expect(answer.error.message).toContain('channel stable offers what is not the newest in the log')
    }
  })

  it('grace time and critical are changed alone, and refused where there is no policy: CLI_USAGE', async () => {
    const propose = async (...words: string[]) => await command(world, ['roles', 'propose', ...words])
    expect((await propose('--log-grace', '0')).error.code).toBe('CLI_USAGE')
    expect((await propose('--log-critical')).error.code).toBe('CLI_USAGE')
    const { key } = seedNoteSigner('log.example/p/test/log', 'note', new Uint8Array(32).fill(9))
    await writeFile(world.path('policy'), `log ${formatVerifierKey(key)}\nquorum none\n`)
    const sealed = async (...words: string[]): Promise<unknown> => {
      expect((await propose(...words)).ok).toBe(true)
      expect((await command(world, ['roles', 'seal', '--local'])).ok).toBe(true)
      const { log, critical } = (await home()).data
      return { grace: (log as { grace_hours: number } | null)?.grace_hours, critical }
    }
    const home = async () => await command(world, ['roles', 'show'])
    expect(await sealed('--log-policy', world.path('policy'))).toEqual({ grace: 48, critical: [] })
    expect(await sealed('--log-grace', '0', '--log-critical')).toEqual({ grace: 0, critical: ['log'] })
    // Another change of the document, and a rotation, leave both as they are.
    expect(await sealed('--days', '300')).toEqual({ grace: 0, critical: ['log'] })
    expect((await command(world, ['rotate', 'release', '--local'])).ok).toBe(true)
    expect(await sealed('--log-policy', world.path('policy'))).toEqual({ grace: 0, critical: ['log'] })
    expect(await sealed('--no-log-critical', '--log-grace', '24')).toEqual({ grace: 24, critical: [] })
    expect(await sealed('--log-critical')).toEqual({ grace: 24, critical: ['log'] })
    expect(await sealed('--no-log-policy')).toEqual({ grace: undefined, critical: [] })
  })

  it('a home without a log policy has nothing to monitor: REL_NO_LOG', async () => {
    expect((await command(world, ['release', 'monitor', '--server', 'http://127.0.0.1:1'])).error.code).toBe(
      'REL_NO_LOG',
    )
  })
})
