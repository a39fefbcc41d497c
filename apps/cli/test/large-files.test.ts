import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { readArchiveHeader, memorySource } from '@keyturn/m2pack-format'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { command } from './support/command.ts'
import { randomBytesOf } from './support/random-bytes.ts'
import { World } from './support/world.ts'

const MB = 1_000_000
/** A segment has 1 MiB on average and 4 MiB at most; with it come its neighbors in a chunk, table and index. */
const ONE_SEGMENT = 4 * 1024 * 1024 + 64 * 1024
let world: World

async function writeProject(archiveFormat?: 1 | 2): Promise<void> {
  const project = {
    schema: 1,
    product: 'test',
    source: 'client',
    ...(archiveFormat === undefined ? {} : { archiveFormat }),
  }
  await writeFile(world.path('game/keyturn.json'), JSON.stringify(project))
}

beforeEach(async () => {
  world = await World.create()
  await world.connect()
  await mkdir(world.path('game/client/data'), { recursive: true })
  await writeFile(world.path('game/client/data/big.bin'), randomBytesOf('big', 8 * MB))
  await writeFile(world.path('game/client/data/small.txt'), 'small\n')
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

async function changeOneByte(): Promise<void> {
  const path = world.path('game/client/data/big.bin')
  const bytes = await readFile(path)
  bytes[3 * MB]! ^= 1
  await writeFile(path, bytes)
}

async function installedVersion(): Promise<number> {
  const bytes = new Uint8Array(await readFile(join(world.path('game-of-a-player'), 'pack/data.m2p')))
  return (await readArchiveHeader(memorySource(bytes))).version
}

describe('one byte of a packed file of 8 MB', () => {
  it('costs upload and launcher the file with archives of version 1', { timeout: 300_000 }, async () => {
    await writeProject()
    await ship()
    const engine = await world.engine('game-of-a-player')
    await engine.update()
    await changeOneByte()
    expect((await ship())['uploaded_bytes']).toBeGreaterThan(7 * MB)
    expect((await engine.update()).downloadedBytes).toBeGreaterThan(7 * MB)
  })

  it('costs both about one segment with archives of version 2', { timeout: 300_000 }, async () => {
    await writeProject(2)
    await ship()
    const engine = await world.engine('game-of-a-player')
    await engine.update()
    expect(await installedVersion()).toBe(2)
    await changeOneByte()
    const second = await ship()
    const { downloadedBytes } = await engine.update()
    expect(second['uploaded_bytes']).toBeLessThan(ONE_SEGMENT)
    expect(second['uploaded_bytes']).toBeLessThanOrEqual(1.1 * Number(second['download_bytes']))
    expect(downloadedBytes).toBeLessThan(ONE_SEGMENT)
    console.info(`one byte of 8 MB: ${String(second['uploaded_bytes'])} uploaded, ${downloadedBytes} downloaded`)
    // A rotation of the content key stays cheap, and keeps the format.
    await keyturn('rotate', 'content')
    expect((await engine.update()).downloadedBytes).toBeLessThan(100_000)
    expect(await installedVersion()).toBe(2)
  })

  it(
    'the format of a release is that of the one before it, until the project says another',
    { timeout: 300_000 },
    async () => {
      await writeProject(2)
      await ship()
      await writeProject()
      await changeOneByte()
      expect((await ship())['uploaded_bytes']).toBeLessThan(ONE_SEGMENT)
      await writeProject(1)
      // Nothing else changed: what the home remembers of the files does not bring the archive of version 2 back.
      expect((await ship())['uploaded_bytes']).toBeGreaterThan(7 * MB)
    },
  )
})
