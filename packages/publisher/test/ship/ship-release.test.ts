import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { pathExists } from '@keyturn/primitives/node'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { readProject } from '../../src/project/project.ts'
import { reissueRelease } from '../../src/release/reissue.ts'
import { readReleases } from '../../src/records/store.ts'
import { moveRelease } from '../../src/ship/move-release.ts'
import { shipRelease } from '../../src/ship/ship-release.ts'
import type { ShipPlan, ShipSummary } from '../../src/ship/ship-release.ts'
import type { PublisherHost } from '../../src/session.ts'
import { HomeWorld } from '../support/home-world.ts'

let world: HomeWorld
let server: Server
let url: string
beforeEach(async () => {
  world = await HomeWorld.create()
  // A server that has nothing: a first release needs no more until it is uploaded.
  server = createServer((_request, response) => response.writeHead(404).end())
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  await (await world.home()).update({ server: url })
  await mkdir(world.path('game/client/data'), { recursive: true })
  await writeFile(world.path('game/client/data/a.txt'), 'first words')
})
afterEach(async () => {
  await new Promise((resolve) => server.close(resolve))
  await world.remove()
})

async function plan(project: object, change: Partial<ShipPlan> = {}): Promise<ShipPlan> {
  await writeFile(world.path('game/keyturn.json'), JSON.stringify({ schema: 1, source: 'client', ...project }))
  const confirm = (): Promise<undefined> => Promise.resolve(undefined)
  return { project: await readProject(world.path('game/keyturn.json')), version: '1.0.0', level: 1, confirm, ...change }
}

/** What a call left in the home: releases and trees. */
async function left(): Promise<readonly unknown[]> {
  const { paths } = await world.home()
  const releases = await readReleases(paths, 'stable')
  const trees = await readdir(`${paths.trees}/stable`).catch(() => [])
  return [...releases.map(({ manifest }) => manifest.version), ...trees]
}

async function host(change: Partial<PublisherHost> = {}): Promise<PublisherHost> {
  await world.settle()
  return { ...world.host(), ...change }
}

describe('shipRelease', () => {
  it('tells the program what would change, and leaves nothing behind when it says no', async () => {
    const seen: ShipSummary[] = []
    const worked: string[] = []
    const no = new Error('not today')
    const ship = shipRelease(
      await host(),
      await plan(
        {},
        {
          confirm: (summary) => {
            seen.push(summary)
            return Promise.reject(no)
          },
          progress: (work) => ({ update: () => {}, end: () => void worked.push(work) }),
        },
      ),
    )
    await expect(ship).rejects.toBe(no)
    expect(seen).toMatchObject([{ channel: 'stable', version: '1.0.0', previous: undefined, keyId: 1, percent: 100 }])
    expect(worked).toEqual(['packing', 'hashing'])
    expect(await left()).toEqual([])
  })

  it('stops without an error when the program says so, and leaves nothing', async () => {
    const shipped = await shipRelease(await host(), await plan({}, { confirm: () => Promise.resolve(false) }))
    expect(shipped).toMatchObject({ version: '1.0.0', unchanged: false, headSequence: undefined })
    expect(await left()).toEqual([])
  })

  it('asks nobody in a dry run', async () => {
    const confirm = (): Promise<undefined> => Promise.reject(new Error('asked'))
    const shipped = await shipRelease(await host({ dryRun: true }), await plan({}, { confirm }))
    expect(shipped).toMatchObject({ added: 2, headSequence: undefined, report: undefined })
    expect(await left()).toEqual([])
  })

  it.each([
    ['of another product', { product: 'other' }, {}, 'CLI_USAGE'],
    ['of another server', { server: 'https://other.example' }, {}, 'CLI_USAGE'],
    ['on a channel that is a path', {}, { channel: '..' }, 'CLI_USAGE'],
    ['of a version that is a path', {}, { version: '../..' }, 'MAN_VERSION'],
  ])('refuses a release %s before it makes anything', async (_case, project, change, code) => {
    await expect(shipRelease(await host(), await plan(project, change))).rejects.toMatchObject({ code })
    expect(await left()).toEqual([])
  })

  it('refuses while the home is frozen', async () => {
    const until = '2026-12-24T00:00:00.000Z'
    const freeze = { frozen_at: until, frozen_until: until, reason: 'a theft' }
    await writeFile(world.path('home/freeze.json'), JSON.stringify(freeze))
    await expect(shipRelease(await host(), await plan({}))).rejects.toMatchObject({ code: 'KEL_FROZEN' })
    await expect(moveRelease(await host(), { rollback: true })).rejects.toMatchObject({ code: 'KEL_FROZEN' })
  })
})

describe('reissueRelease', () => {
  it('never empties the tree of a release whose name it is given (CLI_EXISTS)', async () => {
    await world.release()
    const home = await world.home()
    const [source] = await readReleases(home.paths, 'stable')
    if (source === undefined) throw new Error('no release')
    const again = { channel: 'stable', rollback: true, version: source.manifest.version }
    const reissue = reissueRelease(world.host(), home, source, again)
    await expect(reissue).rejects.toMatchObject({ code: 'CLI_EXISTS' })
    const outside = reissueRelease(world.host(), home, source, { ...again, version: '../..' })
    await expect(outside).rejects.toMatchObject({ code: 'MAN_VERSION' })
    expect(await pathExists(source.tree)).toBe(true)
  })
})
