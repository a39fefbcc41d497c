import { mkdir, readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { readReleases } from '@keyturn/publisher/records'
import type { ReleaseServerClient } from '@keyturn/release-client'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { command } from './support/command.ts'
import { randomBytesOf } from './support/random-bytes.ts'
import { World } from './support/world.ts'

const MIB = 1024 * 1024
let world: World
let client: ReleaseServerClient

beforeEach(async () => {
  world = await World.create()
  client = await world.connect()
  // A folder that becomes an archive of many files, and a large file of its own.
  await mkdir(world.path('game/client/data'), { recursive: true })
  for (let at = 0; at < 60; at++)
    await writeFile(world.path(`game/client/data/${at}.bin`), randomBytesOf(`file ${at}`, MIB / 4 + at))
  await writeFile(world.path('game/client/big.bin'), randomBytesOf('big', 6 * MIB))
  await writeFile(world.path('game/client/same.bin'), randomBytesOf('same', MIB / 2))
  await writeFile(
    world.path('game/keyturn.json'),
    JSON.stringify({ schema: 1, product: 'test', source: 'client', plain: ['big.bin', 'same.bin'] }),
  )
})
afterEach(async () => {
  await world.remove()
})

async function keyturn(...args: string[]): Promise<Record<string, unknown>> {
  const answer = await command(world, args)
  if (!answer.ok) throw new Error(JSON.stringify(answer.error))
  return answer.data
}

const ship = (...args: string[]) => keyturn('ship', '--project', world.path('game/keyturn.json'), ...args)

/** Changes one file of the archive, and a few bytes in the middle of the large one. */
async function changeLittle(): Promise<void> {
  await writeFile(world.path('game/client/data/7.bin'), randomBytesOf('changed', MIB / 4))
  const big = randomBytesOf('big', 6 * MIB)
  big.write('changed in the middle', 3 * MIB)
  await writeFile(world.path('game/client/big.bin'), big)
}

const blobFolder = () => world.path('server/blobs/files')

describe('an upload', () => {
  it('sends what changed, not the archives it changed in', { timeout: 300_000 }, async () => {
    const first = await ship()
    expect(first['uploaded_bytes']).toBeGreaterThan(20 * MIB)
    await changeLittle()
    const second = await ship()
    expect(second['uploaded_bytes']).toBeLessThanOrEqual(1.1 * Number(second['download_bytes']))
    expect(second['uploaded_bytes']).toBeLessThan(1.5 * MIB)
    // What the server put together is what was signed.
    const check = await client.checkRelease('test', 'stable', String(second['version']))
    expect(check).toMatchObject({ sound: true, damaged: [], missing: [] })
    // A file that did not change has one chunk index, of both releases.
    const releases = await readReleases((await world.home()).paths, 'stable')
    const indexes = releases.map(({ manifest }) => manifest.files.find(({ path }) => path === 'same.bin')?.index)
    expect(indexes[0]).toBeDefined()
    expect(indexes[1]).toEqual(indexes[0])
  })

  it('of a rotation of the content key is a hundredth of the client', { timeout: 300_000 }, async () => {
    const first = await ship()
    const bodies: number[] = []
    const send = fetch
    vi.stubGlobal('fetch', (input: RequestInfo | URL, init?: RequestInit) => {
      bodies.push(init?.body instanceof Uint8Array ? init.body.length : String(init?.body ?? '').length)
      return send(input, init)
    })
    await keyturn('rotate', 'content').finally(() => vi.unstubAllGlobals())
    const sent = bodies.reduce((sum, length) => sum + length, 0)
    expect(sent).toBeGreaterThan(1000)
    expect(sent).toBeLessThan(Number(first['uploaded_bytes']) / 100)
    expect(await ship('--yes')).toMatchObject({ shipped: false, unchanged: true })
  })

  it('takes pieces from what is published, in a home that has no history', { timeout: 300_000 }, async () => {
    await ship()
    await changeLittle()
    const { paths } = await world.home()
    const [version = ''] = await readdir(join(paths.releases, 'stable'))
    await rm(join(paths.releases, 'stable', version, 'index'), { recursive: true })
    const second = await ship()
    expect(second['uploaded_bytes']).toBeLessThan(1.5 * MIB)
  })

  it('sends the whole file when the server has lost what it was made from', { timeout: 300_000 }, async () => {
    await ship()
    await changeLittle()
    for (const folder of await readdir(blobFolder()))
      await rm(join(blobFolder(), folder), { recursive: true, force: true })
    const second = await ship()
    expect(second['uploaded_bytes']).toBeGreaterThan(20 * MIB)
  })

  it('stops at the quota of its token before anything is offered, and goes on with a larger one', async () => {
    const first = await ship('--version-name', '1.0')
    await changeLittle()
    const { secret } = await client.createToken({ name: 'small', scopes: ['admin'], upload_quota: 3 * MIB })
    world.useToken(secret)
    const refused = await command(world, [
      'ship',
      '--project',
      world.path('game/keyturn.json'),
      '--version-name',
      '1.1',
    ])
    // What is new fits; an assembled blob counts in full.
    expect(refused.error).toMatchObject({ code: 'UP_QUOTA' })
    expect((await client.getChannel('test', 'stable'))?.manifest?.version).toBe(first['version'])
    world.useToken(world.token)
    expect(await ship('--version-name', '1.1')).toMatchObject({ shipped: true })
  }, 300_000)
})
