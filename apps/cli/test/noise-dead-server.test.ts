import { createServer } from 'node:http'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { existsSync } from 'node:fs'
import { readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { command } from './support/command.ts'
import type { Answer } from './support/command.ts'
import { World } from './support/world.ts'

let world: World
let dead: Server
let url = ''
/** What the server that was taken over answers. */
let status = 500

beforeEach(async () => {
  world = await World.create()
  status = 500
  dead = createServer((_request, response) => {
    response.writeHead(status, { 'content-type': 'application/json' })
    response.end('{}')
  })
  await new Promise<void>((resolve) => {
    dead.listen(0, '127.0.0.1', resolve)
  })
  url = `http://127.0.0.1:${(dead.address() as AddressInfo).port}`
  expect(await noise('publish')).toMatchObject({ code: 0 })
})
afterEach(async () => {
  dead.closeAllConnections()
  await new Promise((resolve) => {
    dead.close(resolve)
  })
  await world.remove()
})

function noise(...args: string[]): Promise<Answer> {
  return command(world, ['noise', ...args])
}

async function noteDeadServer(): Promise<void> {
  await writeFile(world.path('home', 'transport', 'hand-over.json'), JSON.stringify({ version: 1, servers: [url] }))
}

async function publishedRecords(): Promise<string> {
  const folder = world.path('home', 'transport', 'published')
  const names = (await readdir(folder, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile())
  return (
    await Promise.all(names.map(async ({ parentPath, name }) => await readFile(`${parentPath}/${name}`, 'latin1')))
  ).join('\n')
}

const isPending = (): boolean => existsSync(world.path('home', 'journals', 'transport.json'))

describe("a server that uses the transport keys and is dead, or a thief's", { timeout: 300_000 }, () => {
  it.each([500, 403])(
    'does not hold a revocation up, answering %i: it is published, and the answer names the server',
    async (answer) => {
      status = answer
      await noteDeadServer()
      const revoked = await noise('revoke', 'server', '--replace')
      expect(revoked).toMatchObject({ code: 0, data: { handed_to: [], not_handed_to: [url] } })
      expect(await publishedRecords()).toContain('st=revoked')
      expect(isPending()).toBe(false)
    },
  )

  it('does not hold a revocation up after an interrupted rotation either', async () => {
    await noteDeadServer()
    const turn = await noise('rotate', '--now')
    expect(turn).toMatchObject({
      code: 3,
      error: { code: 'CLI_NETWORK', hint: expect.stringContaining(`keyturn noise servers --remove ${url}`) },
    })
    expect(isPending()).toBe(true)
    expect(await noise('revoke', 'nobody')).toMatchObject({ error: { code: 'NK_DEVICE_ID' } })
    expect(isPending()).toBe(true)
    expect(await noise('revoke', 'server', '--replace')).toMatchObject({ code: 0, data: { not_handed_to: [url] } })
    expect(await publishedRecords()).toContain('st=revoked')
    expect(isPending()).toBe(false)
  })

  it('that a revocation is published to: every other place has it, and --to leaves that one out', async () => {
    const folder = world.path('home', 'transport', 'published')
    const places = ['--to', url, '--to', folder]
    const revoked = await noise('revoke', 'server', ...places)
    expect(revoked).toMatchObject({
      code: 3,
      error: { code: 'CLI_NETWORK', hint: expect.stringContaining(`--to ${folder}`) },
    })
    expect(await publishedRecords()).toContain('st=revoked')
    expect(await noise('revoke', 'server', ...places)).toMatchObject({ code: 3 })
    expect(await noise('revoke', 'server', '--to', folder)).toMatchObject({ code: 0, data: { resumed: true } })
    expect(isPending()).toBe(false)
  })

  it('leaves a rotation two ways out: strike the server off, or --abandon while nothing is published', async () => {
    await noteDeadServer()
    expect(await noise('rotate')).toMatchObject({ code: 3 })
    const before = await publishedRecords()
    expect(await noise('rotate', '--abandon', '--dry-run')).toMatchObject({
      code: 0,
      data: { abandoned: 'transport', dry_run: true },
    })
    expect(await command(world, ['rotate', 'transport', '--abandon'])).toMatchObject({
      code: 0,
      data: { abandoned: 'transport' },
    })
    expect([isPending(), await publishedRecords()]).toEqual([false, before])
    expect(await noise('rotate', '--abandon')).toMatchObject({ error: { code: 'CLI_TURN_UNREADY' } })
    expect(await noise('rotate')).toMatchObject({ code: 3 })
    expect(await noise('servers')).toMatchObject({ code: 0, data: { servers: [url] } })
    expect(await noise('servers', '--remove', url, '--dry-run')).toMatchObject({
      data: { removed: true, dry_run: true },
    })
    expect(await noise('servers', '--remove', url)).toMatchObject({ code: 0, data: { servers: [], removed: true } })
    expect(await noise('servers', '--remove', url)).toMatchObject({ code: 0, data: { servers: [], removed: false } })
    expect(await noise('rotate')).toMatchObject({ code: 0, data: { resumed: true, handed_to: [] } })
  })

  it('is no reason to give up what may be published: CLI_TURN_PENDING', async () => {
    expect(await noise('rotate', '--to', url, '--to', world.path('elsewhere'))).toMatchObject({
      error: { code: expect.stringMatching(/NK_|CLI_NETWORK|SRV_/) },
    })
    const answer = await noise('rotate', '--abandon')
    expect(answer.error.code).toBe('CLI_TURN_PENDING')
    await rm(world.path('elsewhere'), { recursive: true, force: true })
  })

  it('rotate --now behind an interrupted revocation or publication: both are done', async () => {
    await noteDeadServer()
    expect(await noise('publish')).toMatchObject({ code: 3 })
    expect(await noise('servers', '--remove', url)).toMatchObject({ code: 0 })
    const turned = await noise('rotate', '--now')
    expect(turned).toMatchObject({
      code: 0,
      data: { resumed: false, did: expect.stringContaining('cut over to server-v2') },
    })
  })
})
