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

  it('gives no content key the number of one that was made elsewhere, and can still stop a release', async () => {
    await world.connect()
    await world.release()
    const at = { home: world.path('again') }
    expect(await command(world, ['backup', world.path('old.backup')])).toMatchObject({ code: 0 })
    expect(await command(world, ['rotate', 'content'])).toMatchObject({ code: 0 })
    const report = (await command(world, ['doctor', '--offline'])).data
    expect(JSON.stringify(report)).toContain('the last backup has not content/2')
    expect(await command(world, ['restore', world.path('old.backup')], at)).toMatchObject({ code: 0 })
    for (const args of [
      ['rotate', 'content'],
      ['rotate', 'content', '--full'],
    ])
      expect(await command(world, args, at)).toMatchObject({ code: 4, error: { code: 'CLI_HOME_STALE' } })
    expect((await command(world, ['status'], at)).data).toMatchObject({ pending: [] })
    expect(await command(world, ['release', 'halt', '--withdraw'], at)).toMatchObject({ code: 0 })
  })

  it('names what is there where a channel or a version was mistyped, and a backup where the home is gone', async () => {
    await world.release()
    const hints = [
      [['release', 'halt', '--local', '--channel', 'stabel'], 'releases on stable'],
      [['release', 'rollback', '1.0', '--local'], 'Here are '],
      [['release', 'rollback', '1.0', '--local', '--channel', 'stabel'], 'releases on stable'],
    ] as const
    for (const [args, said] of hints) expect((await command(world, args)).error.hint).toContain(said)
    const gone = await command(world, ['status'], { home: world.path('gone') })
    expect(gone.error).toMatchObject({
      code: 'CLI_HOME_MISSING',
      hint: expect.stringContaining('keyturn restore FILE'),
    })
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
