import { readFile, writeFile } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { command } from './support/command.ts'
import { edit, keyturn, refusal, ship, states, useStudio, world } from './support/studio.ts'

useStudio()

describe('ship --at', () => {
  const HOUR = (hours: number): string => `${new Date(Date.now() + hours * 3_600_000).toISOString().slice(0, 19)}Z`

  it('says in a dry run what players can read before, and makes nothing', async () => {
    await ship('--version-name', '1.0')
    await edit('echo 2')
    await writeFile(world.path('game/client/data/b.txt'), 'sealed words')
    const before = await readFile(world.path('home/home.json'), 'utf8')
    const at = HOUR(2)
    const data = await ship('--version-name', '1.1', '--at', at, '--dry-run')
    expect(data).toMatchObject({ shipped: false, opens_at: at, readable_before: ['the bytes of game.sh'] })
    expect(await states()).toEqual({ '1.0': 'offered' })
    expect(await readFile(world.path('home/home.json'), 'utf8')).toBe(before)
    expect(await refusal('--version-name', '1.1', '--at', at)).toBe('REL_READABLE')
    expect(await states()).toEqual({ '1.0': 'offered' })
    expect(await readFile(world.path('home/home.json'), 'utf8')).toBe(before)
  })

  it('seals and schedules in one command, and the release opens with the first renewal after its hour', async () => {
    await ship('--version-name', '1.0')
    await writeFile(world.path('game/client/data/b.txt'), 'sealed words')
    const at = HOUR(2)
    expect(await ship('--version-name', '1.1', '--at', at)).toMatchObject({ shipped: true, opens_at: at })
    expect(await states()).toEqual({ '1.0': 'offered', '1.1': `scheduled for ${at}` })
    expect((await keyturn('doctor', '--deep')).data['findings']).toContainEqual(
      expect.objectContaining({ check: 'schedules', level: 'ok' }),
    )
    const later = { nowMs: Date.now() + 3 * 3_600_000 }
    expect((await command(world, ['release', 'schedule', '--list'], later)).data).toMatchObject({
      scheduled: [{ version: '1.1', key_here: true }],
    })
    expect(await refusal('--version-name', '1.2', '--at', HOUR(3))).toBe('REL_SCHEDULED')
  })

  it('refuses before anything is packed: a time that is over, a first release, a rollout, a lone flag', async () => {
    expect(await refusal('--at', HOUR(2))).toBe('REL_NO_OFFER')
    await ship('--version-name', '1.0')
    expect(await refusal('--at', HOUR(-1))).toBe('REL_SCHEDULE_TIME')
    expect(await refusal('--at', '18:00')).toBe('CLI_USAGE')
    expect(await refusal('--at', HOUR(2), '--percent', '20')).toBe('CLI_USAGE')
    expect(await refusal('--at', HOUR(2), '--resume')).toBe('CLI_USAGE')
    expect(await refusal('--allow-readable')).toBe('CLI_USAGE')
    expect(await states()).toEqual({ '1.0': 'offered' })
  })
})
