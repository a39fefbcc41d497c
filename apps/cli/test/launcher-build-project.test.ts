import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { file, keyturn, project, useStudio, world } from './support/studio.ts'

useStudio()

describe('keyturn launcher build', () => {
  it('takes from the project what no flag says, and refuses what it names and is not there', async () => {
    await project({ name: 'My Game', launcher: { accent: '#b3202a', icon: 'art/game.ico', publisher: 'My Studio' } })
    const build = ['launcher', 'build', '--project', file(), '--platform', 'win-x64', '--out', world.path('dist')]
    const refused = await keyturn(...build)
    expect(refused.error).toMatchObject({ code: 'LB_ICON' })
    expect(refused.error.message).toContain(world.path('game/art/game.ico'))
    expect((await keyturn(...build, '--accent', 'red', '--icon', '/nowhere.ico')).error.code).toBe('LB_ICON')
    await project({ launcher: { telemetry: 'yes' } })
    expect((await keyturn(...build)).error.code).toBe('PRJ_FORMAT')
    await project({ launcher: { telemetry: true } })
    const open = ['--platform', 'linux-x64', '--server', 'http://updates.example.org']
    expect((await keyturn(...build, ...open)).error.code).toBe('LB_SERVER')
    expect(existsSync(world.path('dist'))).toBe(false)
  })

  it('says with --dry-run what it would make and what is missing, and makes nothing', async () => {
    await project({ name: 'My Game' })
    const out = world.path('dist')
    const dry = ['launcher', 'build', '--project', file(), '--server', 'https://updates.example.org', '--dry-run']
    const pathBefore = process.env['PATH']
    process.env['PATH'] = world.path('bin')
    try {
      const bare = await keyturn(...dry, '--out', out)
      expect(bare.data).toMatchObject({
        can_build: false,
        files: [
          { kind: 'executable', path: join(out, 'win-x64', 'My Game.exe') },
          { kind: 'executable', path: join(out, 'linux-x64', 'test') },
          { kind: 'package', path: join(out, 'linux-x64', 'test-1.0.0-linux-x64.tar.gz') },
        ],
      })
      const missing = bare.data['missing'] as { part: string; stops: boolean }[]
      expect(missing.map(({ part, stops }) => `${part} ${stops}`)).toEqual([
        'icon true',
        'nsis false',
        'sign false',
        'runtime false',
        'runtime false',
      ])
      const linux = ['--platform', 'linux-x64', '--runtime', `linux-x64=${process.execPath}`]
      const able = await keyturn(...dry, '--out', out, ...linux)
      expect(able.data).toMatchObject({ can_build: true, missing: [] })
      const [program] = able.data['files'] as { max_bytes: number }[]
      expect(program?.max_bytes).toBeGreaterThan(50_000_000)
      const sign = await keyturn(...dry, '--out', out, '--sign', 'nobody-has-this {in} {out}')
      expect(sign.data['missing']).toContainEqual(expect.objectContaining({ part: 'sign', stops: true }))
      const runtime = await keyturn(...dry, '--platform', 'linux-x64', '--runtime', 'linux-x64=/nowhere/node')
      expect(runtime.data).toMatchObject({ can_build: false, missing: [{ part: 'runtime', stops: true }] })
      expect((await keyturn(...dry, '--accent', 'red')).error.code).toBe('LB_CONFIG')
    } finally {
      process.env['PATH'] = pathBefore
    }
    expect(existsSync(out)).toBe(false)
    expect(existsSync(world.path('home/cache'))).toBe(false)
  })
})
