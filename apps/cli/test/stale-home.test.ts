import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { command } from './support/command.ts'
import { World } from './support/world.ts'

let world: World
beforeEach(async () => {
  world = await World.create()
})
afterEach(async () => {
  await world.remove()
})

describe('a home that was restored from an old backup', () => {
  it('signs nothing that would rival the published log: CLI_HOME_STALE', async () => {
    await world.startServer()
    world.useToken(world.token)
    await world.release()
    const at = { home: world.path('again') }
    const server = ['--server', world.url]
    for (const args of [
      ['backup', world.path('old.backup')],
      ['rotate', 'identity', ...server],
    ])
      expect(await command(world, args), args[0]).toMatchObject({ code: 0 })
    expect(await command(world, ['restore', world.path('old.backup')], at)).toMatchObject({ code: 0 })
    for (const args of [
      ['rotate', 'identity', ...server],
      ['rotate', 'content', ...server],
    ])
      expect(await command(world, args, at), args.join(' ')).toMatchObject({
        code: 4,
        error: { code: 'CLI_HOME_STALE' },
      })
    expect((await command(world, ['status'], at)).data).toMatchObject({ pending: [] })
  })

  it('is marked until it was compared with the published log', async () => {
    await world.startServer()
    world.useToken(world.token)
    await world.release()
    const at = { home: world.path('again') }
    expect(await command(world, ['backup', world.path('new.backup')])).toMatchObject({ code: 0 })
    expect(await command(world, ['restore', world.path('new.backup')], at)).toMatchObject({ code: 0 })
    const warnings = async (): Promise<string[]> => {
      const { data } = await command(world, ['doctor', '--offline'], at)
      return (data['findings'] as { check: string; message: string }[])
        .filter(({ check, message }) => check === 'backup' && message.includes('restored'))
        .map(({ check }) => check)
    }
    expect(await warnings()).toEqual(['backup'])
    expect(await command(world, ['rotate', 'identity', '--server', world.url], at)).toMatchObject({ code: 0 })
    expect(await warnings()).toEqual([])
  })
})
