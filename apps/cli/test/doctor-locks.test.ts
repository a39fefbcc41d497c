import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { diagnose } from '@keyturn/publisher/health'
import type { Finding } from '@keyturn/publisher/health'
import { World } from './support/world.ts'

let world: World
beforeEach(async () => {
  world = await World.create()
})
afterEach(async () => {
  await world.remove()
})

async function lockFindings(): Promise<Omit<Finding, 'check'>[]> {
  const options = { nowMs: Date.now(), deep: false, client: undefined, signal: world.signal }
  const findings = await diagnose(await world.home(), options)
  return findings.filter(({ check }) => check === 'locks').map(({ level, message, mend }) => ({ level, message, mend }))
}

const holder = (facts: object): string =>
  JSON.stringify({ pid: 2 ** 22 + 1, host: hostname(), started: '', token: 'ab'.repeat(12), ...facts })

it('doctor says that no other process holds a lock of a home at rest, and leaves none behind itself', async () => {
  const before = await readdir(world.path('home'))
  expect(await lockFindings()).toEqual([
    { level: 'ok', message: 'no other process holds a lock of the home', mend: '' },
  ])
  expect(await readdir(world.path('home'))).toEqual(before)
})

it('doctor names locks that ended processes left, and those whose holder nobody can ask, with the command (row 409)', async () => {
  await writeFile(world.path('home', 'keystore.lock'), holder({}))
  await mkdir(world.path('home', 'vault'), { recursive: true })
  await writeFile(world.path('home', 'vault', 'lock'), holder({ host: 'build-7', pid: 4711 }))
  const [left, unknown, ...more] = await lockFindings()
  expect(more).toEqual([])
  expect(left).toMatchObject({ level: 'ok', message: expect.stringContaining('has ended') as unknown })
  expect(unknown).toMatchObject({
    level: 'warning',
    message: expect.stringContaining('process 4711 on build-7') as unknown,
  })
  expect(unknown?.mend).toBe(`rm '${world.path('home', 'vault', 'lock')}', once that process has ended`)
})
