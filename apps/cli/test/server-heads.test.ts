import { cp, mkdir, writeFile } from 'node:fs/promises'
import { createHome } from '@keyturn/publisher/keys'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { command } from './support/command.ts'
import type { Answer } from './support/command.ts'
import { World } from './support/world.ts'

const DAY_MS = 86_400_000

let world: World
beforeEach(async () => {
  world = await World.create()
})
afterEach(async () => {
  await world.remove()
})

interface Finding {
  readonly check: string
  readonly level: string
  readonly message: string
}

describe('heads that somebody else renews', () => {
  it('are not due and no fault of the home; heads that nobody renews are a warning', async () => {
    const now = Date.now()
    const passphrase = new TextEncoder().encode('test')
    await world.startServer()
    await createHome({
      folder: world.path('old'),
      product: 'test',
      channel: 'stable',
      server: world.url,
      rolesDays: 365,
      passphrase,
      nextPassphrase: passphrase,
      clock: () => now - 6 * DAY_MS,
      scryptLogN: 4,
    })
    world.useToken(world.token)
    let printed = ''
    const run = async (args: readonly string[], nowMs: number, home = 'old'): Promise<Answer> => {
      printed = ''
      const onStderr = (text: string): void => {
        printed += text
      }
      return await command(world, args, { home: world.path(home), nowMs, onStderr })
    }
    await mkdir(world.path('tree'))
    await writeFile(world.path('tree', 'game.txt'), 'game')
    const before = now - 5 * DAY_MS
    for (const args of [['prepare', world.path('tree')], ['sign'], ['offer'], ['publish']])
      expect((await run(['release', ...args], before)).code).toBe(0)
    expect((await run(['status'], now)).data['due']).toEqual(['head-document stable'])
    expect(printed).toContain('no head signer is connected')
    const unrenewed = (await run(['doctor'], now)).data['findings'] as Finding[]
    expect(unrenewed.filter(({ message }) => message.includes('no head signer is connected'))).toHaveLength(1)

    await cp(world.path('old'), world.path('ci'), { recursive: true })
    expect((await run(['release', 'renew'], now, 'ci')).code).toBe(0)
    expect((await run(['status'], now)).data['due']).toEqual([])
    expect(printed).not.toContain('no head signer')
    const renewed = (await run(['doctor'], now)).data['findings'] as Finding[]
    expect(renewed.filter(({ check }) => check === 'server' || check === 'due').map(({ level }) => level)).toEqual([
      'ok',
      'ok',
    ])
    // A server that does not answer changes nothing.
    await world.stopServer()
    expect((await run(['status'], now)).data['due']).toEqual(['head-document stable'])
  }, 120_000)
})
