import { readFile, stat } from 'node:fs/promises'
import { createReleaseServer } from '@keyturn/release-server'
import type { ReleaseServer } from '@keyturn/release-server'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { keepPublisherToken } from '../src/publisher-token.ts'
import { World } from './support/world.ts'

const DAY_MS = 86_400_000

let world: World
let server: ReleaseServer
let days = 0
const clock = (): number => Date.UTC(2026, 11, 1) + days * DAY_MS
const warn = vi.fn()

beforeEach(async () => {
  world = await World.create()
  days = 0
  server = await createReleaseServer({ dataDir: world.path('data'), clock })
})
afterEach(async () => {
  vi.useRealTimers()
  await server.close()
  await world.remove()
})

async function tokenAtStart(): Promise<string> {
  const { file, stop } = await keepPublisherToken(server, world.path('data'), { clock, warn })
  stop()
  expect((await stat(file)).mode & 0o77).toBe(0)
  return await readFile(file, 'utf8')
}

it('the token of the publisher is replaced before it expires, and also long after', async () => {
  const first = await tokenAtStart()
  days = 59
  expect(await tokenAtStart()).toBe(first)
  days = 61
  const second = await tokenAtStart()
  expect(second).not.toBe(first)
  days = 1000
  const third = await tokenAtStart()
  expect(third).not.toBe(second)
  expect(await server.tokenExpiry(third.trim())).toBe(clock() + 90 * DAY_MS)
})

it('a server that runs for months replaces it, too', async () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
  const { file, stop } = await keepPublisherToken(server, world.path('data'), { clock, warn })
  const first = await readFile(file, 'utf8')
  days = 61
  vi.advanceTimersByTime(3_600_000)
  await vi.waitFor(async () => expect(await readFile(file, 'utf8')).not.toBe(first), { interval: 10, timeout: 60_000 })
  stop()
  expect(warn).not.toHaveBeenCalled()
})

it('a token that was revoked stays revoked', async () => {
  const first = await tokenAtStart()
  const id = first.split('_')[1] ?? ''
  await server.listen().then(async ({ url }) => {
    const headers = { authorization: `Bearer ${first.trim()}` }
    expect((await fetch(`${url}/v1/tokens/${id}`, { method: 'DELETE', headers })).ok).toBe(true)
  })
  days = 61
  expect(await tokenAtStart()).toBe(first)
})
