// The real program: what a halt does at three in the morning, and what the home gives the server.
import { once } from 'node:events'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { parseHead, parseHeadEnvelope } from '@keyturn/manifest'
import type { Head } from '@keyturn/manifest'
import { createReleaseServer } from '@keyturn/release-server'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { keyAlias } from '@keyturn/publisher'
import { codeOf, dataOf, keyturn } from './support/keyturn.ts'
import { startServing } from './support/serving.ts'
import type { Serving } from './support/serving.ts'
import { World } from './support/world.ts'

let world: World
const ends: (() => Promise<unknown>)[] = []
beforeEach(async () => {
  world = await World.create()
})
afterEach(async () => {
  for (const end of ends.splice(0).toReversed()) await end()
  await world.remove()
})

const home = (): string[] => ['--home', world.path('home')]
const passphrase = (): string[] => ['--passphrase-file', world.path('passphrase')]

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

/** Starts `keyturn serve` with the home of the world. */
async function serve(...flags: string[]): Promise<Serving> {
  const serving = await startServing([...home(), ...flags])
  ends.push(() => serving.stop())
  return serving
}

/** Packs nothing: a release of one file, offered to everyone. */
async function publish(serving: Serving, text: string): Promise<string> {
  const tree = world.path(`tree-${text}`)
  await mkdir(tree, { recursive: true })
  await writeFile(world.path(`tree-${text}`, 'game.txt'), text)
  const common = [...home(), ...passphrase(), '--json', '--yes']
  const env = { KEYTURN_TOKEN: serving.token }
  const prepared = dataOf(await keyturn(['release', 'prepare', tree, ...common]))
  dataOf(await keyturn(['release', 'sign', ...common]))
  dataOf(await keyturn(['release', 'offer', ...common, '--server', serving.url], { env }))
  dataOf(await keyturn(['release', 'publish', ...common, '--server', serving.url], { env }))
  return String(prepared['version'])
}

async function head({ url }: Serving): Promise<Head> {
  const answer = await fetch(`${url}/p/test/channels/stable/head.json`)
  expect(answer.headers.get('cache-control')).toContain('max-age=15')
  return parseHead(parseHeadEnvelope(new Uint8Array(await answer.arrayBuffer())).payload)
}

/** What the dashboard does: log in with the token, then press a button. */
async function press({ url, token }: Serving, path: string, body: unknown, method = 'POST'): Promise<Response> {
  const headers = { origin: url, 'content-type': 'application/json' }
  const login = await fetch(`${url}/dashboard/login`, { method: 'POST', headers, body: JSON.stringify({ token }) })
  const cookie = login.headers.get('set-cookie')?.split(';')[0] ?? ''
  return await fetch(`${url}${path}`, { method, headers: { ...headers, cookie }, body: JSON.stringify(body) })
}

async function installed(serving: Serving, folder: string): Promise<string> {
  const trust = dataOf(await keyturn(['release', 'trust', ...home(), '--json']))
  dataOf(
    await keyturn([
      'update',
      '--dir',
      world.path(folder),
      '--server',
      serving.url,
      '--trust',
      String(trust['pin']),
      '--product',
      'test',
      '--json',
    ]),
  )
  return await readFile(world.path(folder, 'game.txt'), 'utf8')
}

describe('keyturn serve', () => {
  it('halts and resumes from the dashboard at once, and players get the release before', async () => {
    const serving = await serve(...passphrase())
    expect(serving.announced).toMatchObject({ head_signer: true, witness: true })
    const good = await publish(serving, 'good')
    const bad = await publish(serving, 'bad')
    expect((await head(serving)).manifest.version).toBe(bad)
    const halted = await press(serving, '/v1/products/test/channels/stable:halt', { reason: 'it crashes' })
    expect([halted.status, await halted.json()]).toMatchObject([200, { wanted: null, rollout: { paused: true } }])
    expect(await head(serving)).toMatchObject({ rollout: { paused: true }, fallback: { version: good } })
    expect(await installed(serving, 'game')).toBe('good')
    const rollout = '/v1/products/test/channels/stable/rollout'
    expect((await press(serving, rollout, { paused: false }, 'PATCH')).status).toBe(200)
    expect((await head(serving)).rollout).toMatchObject({ paused: false, percent: 100 })
    expect(await installed(serving, 'game')).toBe('bad')
    // The command line goes on from the heads that the server made.
    const env = { KEYTURN_TOKEN: serving.token }
    dataOf(await keyturn(['release', 'renew', ...home(), ...passphrase(), '--json', '--server', serving.url], { env }))
    expect((await head(serving)).sequence).toBe(5)
  }, 240_000)

  it('without a head signer a halt waits, and there is no witness without a passphrase', async () => {
    const serving = await serve('--no-head-signer')
    expect(serving.announced).toMatchObject({ head_signer: false, witness: false })
    expect((await fetch(`${serving.url}/witness`)).status).toBe(404)
    await publish(serving, 'good')
    await publish(serving, 'bad')
    const halted = await press(serving, '/v1/products/test/channels/stable:halt', { reason: '' })
    expect([halted.status, await halted.json()]).toMatchObject([202, { wanted: { action: 'halt' } }])
    expect((await head(serving)).rollout).toBeUndefined()
    await serving.stop()
    const again = await serve('--no-head-signer', ...passphrase())
    expect(again.announced).toMatchObject({ head_signer: false, witness: true })
    expect((await fetch(`${again.url}/witness`)).status).toBe(200)
  }, 240_000)

  it('keeps the secret of its vault in the home, so that another passphrase does not lock it', async () => {
    const first = await serve(...passphrase())
    const witness = await (await fetch(`${first.url}/witness`)).json()
    await first.stop()
    expect((await (await world.home()).keys()).has(keyAlias.serverVault(1))).toBe(true)
    await writeFile(world.path('new'), 'another one\n', { mode: 0o600 })
    dataOf(
      await keyturn([
        'passphrase',
        ...home(),
        ...passphrase(),
        '--new-passphrase-file',
        world.path('new'),
        '--json',
        '--yes',
      ]),
    )
    const second = await serve('--passphrase-file', world.path('new'))
    expect(await (await fetch(`${second.url}/witness`)).json()).toEqual(witness)
    // What `keyturn-server` is given: the passphrase that the owner knows.
    await second.stop()
    const taken = await createReleaseServer({
      dataDir: world.path('home', 'server'),
      port: 0,
      vault: { passphrase: 'another one' },
    })
    ends.push(() => taken.close())
    expect(await (await fetch(`${(await taken.listen()).url}/witness`)).json()).toEqual(witness)
  }, 240_000)

  it('signs nothing while the home is frozen', async () => {
    const serving = await serve(...passphrase())
    await publish(serving, 'good')
    await publish(serving, 'bad')
    dataOf(await keyturn(['emergency', 'freeze', '--duration', '1d', ...home(), '--json', '--yes']))
    const halted = await press(serving, '/v1/products/test/channels/stable:halt', { reason: '' })
    expect([halted.status, await halted.json()]).toMatchObject([409, { code: 'KEL_FROZEN' }])
  }, 240_000)

  it('does not start in the background without the passphrase of a home: CLI_NO_TERMINAL', async () => {
    const outcome = await keyturn(['serve', '--port', String(await freePort()), '--json', ...home()])
    expect([outcome.code, codeOf(outcome)]).toEqual([2, 'CLI_NO_TERMINAL'])
    expect(outcome.stdout).toContain('--no-head-signer')
  }, 60_000)

  it('opens a scheduled release at its hour, without anybody', async () => {
    const serving = await serve(...passphrase())
    const common = [...home(), ...passphrase(), '--json', '--yes']
    const env = { KEYTURN_TOKEN: serving.token }
    const to = ['--server', serving.url]
    const prepared = async (version: string, text: string): Promise<void> => {
      await mkdir(world.path('source', 'data'), { recursive: true })
      await writeFile(world.path('source', 'data', `${version}.txt`), text)
      const tree = world.path(`packed-${version}`)
      dataOf(await keyturn(['pack', 'tree', '--input', world.path('source'), '--output', tree, ...common]))
      dataOf(await keyturn(['release', 'prepare', tree, '--release', version, ...common]))
    }
    await prepared('1.0', 'one')
    dataOf(await keyturn(['release', 'sign', ...common]))
    dataOf(await keyturn(['release', 'offer', '1.0', ...common, ...to], { env }))
    dataOf(await keyturn(['release', 'publish', ...common, ...to], { env }))
    await prepared('1.1', 'two')
    const at = new Date(Date.now() + 25_000).toISOString()
    const hour = `${at.slice(0, 19)}Z`
    dataOf(await keyturn(['release', 'schedule', '1.1', '--at', hour, ...common, ...to], { env }))
    expect((await head(serving)).preload).toMatchObject({ version: '1.1', at: hour })
    while ((await head(serving)).manifest.version !== '1.1') await new Promise((resolve) => setTimeout(resolve, 200))
    expect(Date.now()).toBeGreaterThanOrEqual(Date.parse(hour))
    expect((await head(serving)).preload).toBeUndefined()
  })
})
