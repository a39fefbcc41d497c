import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { command } from '../support/command.ts'
import { codeOf, keyturn } from '../support/keyturn.ts'
import { World } from '../support/world.ts'

let world: World
const later = Date.now() + 400 * 86_400_000
const turns: [string, readonly string[], number?][] = [
  ['content', ['rotate', 'content']],
  ['content --full', ['rotate', 'content', '--full']],
  ['identity', ['rotate', 'identity']],
  ['release --revoke', ['rotate', 'release', '--revoke']],
  ['head', ['rotate', 'head']],
  ['transport --now', ['rotate', 'transport', '--now']],
  ['vault', ['rotate', 'vault']],
  ['all --due', ['rotate', 'all', '--due'], later],
  ['id rotate', ['id', 'rotate']],
  ['roles seal', ['roles', 'seal']],
  ['emergency rotate-now', ['emergency', 'rotate-now']],
  ['noise revoke', ['noise', 'revoke', 'server']],
]

beforeAll(async () => {
  world = await World.create()
  await world.release()
  for (const args of [
    ['noise', 'publish'],
    ['roles', 'propose', '--revoke', 'head/1', '--add-head', 'new'],
  ])
    expect(await command(world, args)).toMatchObject({ code: 0 })
})
afterAll(async () => {
  await world.remove()
})

/** Every file and folder of the home, with modes and content, in one digest. */
function digestOf(folder: string): string {
  const hash = createHash('sha256')
  for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' }).sort()) {
    const { mode, mtimeMs } = statSync(join(folder, name))
    const isFile = statSync(join(folder, name)).isFile()
    hash.update(`${name} ${mode} ${isFile ? mtimeMs : ''}\0`)
    if (isFile) hash.update(readFileSync(join(folder, name)))
  }
  return hash.digest('hex')
}

describe('--dry-run', () => {
  it('changes no file, whatever is rotated, and says what it would do (row 270)', async () => {
    for (const [name, args, nowMs] of turns) {
      const before = digestOf(world.path('home'))
      const { code, data } = await command(world, [...args, '--dry-run'], nowMs === undefined ? {} : { nowMs })
      expect([name, code]).toEqual([name, 0])
      expect(
        Object.keys(data).some((key) => ['steps', 'would', 'plans', 'before'].includes(key)),
        name,
      ).toBe(true)
      expect(digestOf(world.path('home')), name).toBe(before)
    }
  })

  it('shows the downloads a rotation causes, and what stays valid until when', async () => {
    const head = (await command(world, ['status'])).data['items'] as { kind: string; due?: string }[]
    const expires = head.find(({ kind }) => kind === 'head-document')?.due
    const content = (await command(world, ['rotate', 'content', '--dry-run'])).data
    expect(content).toMatchObject({ download_bytes_at_most: expect.any(Number), full: false })
    expect(JSON.stringify(content['overlaps'])).toContain(String(expires).slice(0, 10))
    const full = (await command(world, ['rotate', 'content', '--full', '--dry-run'])).data
    expect(full['download_bytes_at_most']).toBeGreaterThanOrEqual(content['download_bytes_at_most'] as number)
    expect((await command(world, ['rotate', 'identity', '--dry-run'])).data).toMatchObject({
      download_bytes_at_most: 0,
      overlaps: expect.any(Array),
    })
    const { plans } = (await command(world, ['rotate', 'all', '--due', '--dry-run'], { nowMs: later })).data as {
      plans: Record<string, { steps?: unknown; download_bytes_at_most?: number }>
    }
    expect(Object.keys(plans)).toEqual(['identity', 'content', 'transport', 'vault'])
    expect(plans['content']).toMatchObject({
      steps: expect.any(Array),
      overlaps: expect.any(Array),
      download_bytes_at_most: expect.any(Number),
    })
    expect(JSON.stringify(plans['transport'])).toContain('announced')
  })
})

describe('without a terminal and without --yes', () => {
  it('no rotation begins: exit 2, never a yes that nobody gave (row 269)', async () => {
    const before = digestOf(world.path('home'))
    const flags = ['--home', world.path('home'), '--passphrase-file', world.path('passphrase'), '--json']
    for (const args of [
      ['rotate', 'content'],
      ['rotate', 'identity'],
      ['rotate', 'vault'],
      ['roles', 'seal'],
      ['emergency', 'rotate-now'],
      ['emergency', 'freeze'],
      ['noise', 'revoke', 'server'],
    ]) {
      const outcome = await keyturn([...args, ...flags])
      expect([args, outcome.code, codeOf(outcome)]).toEqual([args, 2, 'CLI_NO_TERMINAL'])
    }
    expect(digestOf(world.path('home'))).toBe(before)
  })
})
