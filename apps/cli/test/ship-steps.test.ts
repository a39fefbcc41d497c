import { existsSync } from 'node:fs'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { command } from './support/command.ts'
import { archiveHash, edit, file, keyturn, project, refusal, ship, states, useStudio, world } from './support/studio.ts'

useStudio()

describe('the steps of ship', () => {
  it('make the manifest that ship makes of the same project', async () => {
    await writeFile(world.path('game/client/.env.example'), 'a secret by its name, which the project takes')
    await mkdir(world.path('game/client/voices'), { recursive: true })
    await writeFile(world.path('game/client/voices/de.txt'), 'Guten Tag')
    await writeFile(world.path('game/client/notes.pdb'), 'left out')
    await writeFile(world.path('game/NEWS.md'), 'What is new')
    await project({
      exclude: ['**/*.pdb'],
      include: ['.env.example'],
      components: { german: { title: 'German voices', include: ['voices/**'], default: false } },
      requires: { freeBytes: 1000 },
      notes: 'NEWS.md',
    })
    await ship('--version-name', '1.0', '--channel', 'shipped')
    const tree = world.path('out')
    const named = ['--project', file()]
    for (const args of [
      ['pack', 'tree', '--output', tree, ...named],
      ['release', 'prepare', tree, '--release', '1.0-steps', '--allow-tag', '--channel', 'stepped', ...named],
    ])
      expect(await keyturn(...args), args.join(' ')).toMatchObject({ code: 0 })
    const contentOf = async (channel: string, version: string): Promise<unknown> => {
      const path = world.path('home/releases', channel, version, 'manifest.json')
      const all = JSON.parse(await readFile(path, 'utf8')) as Record<string, unknown>
      const { files, keep, program, requires, components, notes, format, totals } = all
      return { files, keep, program, requires, components, notes, format, totals }
    }
    const shipped = await contentOf('shipped', '1.0')
    expect(shipped).toMatchObject({ keep: ['user.cfg'], program: { linux: 'game.sh' }, notes: 'What is new' })
    expect(await contentOf('stepped', '1.0-steps')).toEqual(shipped)
    const plain = [
      'release',
      'prepare',
      tree,
      '--release',
      '1.1-plain',
      '--allow-tag',
      '--no-project',
      '--channel',
      'p',
    ]
    // Without the project nobody has named the file that looks like a secret.
    expect((await keyturn(...plain)).error.code).toBe('BUILD_SECRET')
  })

  it('use the rules of a project for its own source only, and say so', async () => {
    let said = ''
    const args = ['pack', 'tree', '--input', await world.source(), '--output', world.path('other'), '--project', file()]
    const answer = await command(world, args, { onStderr: (text) => void (said += text) })
    expect(answer).toMatchObject({ code: 0 })
    expect(said).toContain('its rules are not used')
    expect((await keyturn('pack', 'tree', '--output', world.path('none'), '--no-project')).error.code).toBe('CLI_USAGE')
  })

  it('"pack tree" writes no tree into its own source, nor around it: CLI_USAGE', async () => {
    const client = world.path('game/client')
    for (const output of [join(client, 'out'), client, world.path('game')]) {
      const answer = await keyturn('pack', 'tree', '--input', client, '--output', output)
      expect([output, answer.error?.code]).toEqual([output, 'CLI_USAGE'])
    }
    expect(existsSync(join(client, 'out'))).toBe(false)
    expect((await keyturn('pack', 'tree', '--input', client, '--output', world.path('game/client-out'))).code).toBe(0)
  })

  it('takes tables from the server when the tree of the release before is gone; "pack tree" says so (B6)', async () => {
    await ship('--version-name', '1.0.0')
    const sha256 = await archiveHash('1.0.0')
    await rm(world.path('home/trees/stable/1.0.0'), { recursive: true })
    await writeFile(world.path('game/client/game.sh'), '#!/bin/sh\nexit 5\n')
    const warned: string[] = []
    const onStderr = (text: string): void => void warned.push(text)
    expect((await command(world, ['ship', '--project', file(), '--version-name', '1.1.0'], { onStderr })).ok).toBe(true)
    expect(warned.join('')).not.toContain('is gone')
    expect(await archiveHash('1.1.0')).toBe(sha256)
    await rm(world.path('home/trees/stable/1.1.0'), { recursive: true })
    const pack = ['pack', 'tree', '--input', world.path('game/client'), '--output', world.path('out')]
    expect((await command(world, pack, { onStderr })).ok).toBe(true)
    expect(warned.join('')).toContain('The tree of release 1.1.0 is gone')
  })
})

describe('keyturn release', () => {
  it('discards a draft on the server too, and never what is published', async () => {
    await ship('--version-name', '1.0.0')
    const real = globalThis.fetch
    globalThis.fetch = async (input, init) => {
      if (String(input).endsWith(':publish')) throw new Error('the network is gone')
      return await real(input, init)
    }
    await edit('exit 9')
    expect(await refusal('--version-name', '1.1.0')).toBe('SRV_NETWORK')
    globalThis.fetch = real
    expect((await world.client?.getRelease('test', 'stable', '1.1.0'))?.state).toBe('draft')
    expect((await keyturn('release', 'drop-head')).ok).toBe(true)
    expect((await keyturn('release', 'discard', '1.1.0')).data).toMatchObject({ here: true, on_server: true })
    expect(await world.client?.getRelease('test', 'stable', '1.1.0')).toBeUndefined()
    expect((await keyturn('release', 'discard', '1.0.0')).error.code).toBe('REL_OFFERED')
    await rm(world.path('home/releases/stable/1.0.0'), { recursive: true })
    expect((await keyturn('release', 'discard', '1.0.0')).error.code).toBe('PUB_PUBLISHED')
  })

  it('discards what was never offered, and nothing else', async () => {
    await ship('--version-name', '1.0.0')
    const tree = world.path('home/trees/stable/1.0.0')
    expect((await keyturn('release', 'prepare', tree, '--release', '1.1.0')).ok).toBe(true)
    expect(await states()).toEqual({ '1.0.0': 'offered', '1.1.0': 'draft' })
    expect((await keyturn('release', 'discard', '1.0.0')).error.code).toBe('REL_OFFERED')
    expect((await keyturn('release', 'discard', '1.1.0')).ok).toBe(true)
    expect(await states()).toEqual({ '1.0.0': 'offered' })
    expect(existsSync(tree)).toBe(true)
  })

  it('refuses a source folder in place of a release tree where archives were before (B8)', async () => {
    await ship()
    const refused = await keyturn('release', 'prepare', world.path('game/client'))
    expect(refused.error.code).toBe('BUILD_FORMAT_CHANGED')
    const meant = ['release', 'prepare', world.path('game/client'), '--format', 'legacy-json-blob']
    expect((await keyturn(...meant, '--keep', '*.cfg', '--program', 'linux=game.sh')).ok).toBe(true)
    expect((await keyturn(...meant, '--program', 'game.sh')).error.code).toBe('CLI_USAGE')
  })
})

describe('what is said beside a release', () => {
  it('"release list" names the other channels, here and on the server', async () => {
    await ship('--version-name', '1.0.0')
    await ship('--version-name', '1.0.0', '--channel', 'beta')
    for (const flags of [[], ['--remote']])
      expect((await keyturn('release', 'list', '--channel', 'beta', ...flags)).data['other_channels']).toEqual([
        'stable',
      ])
  })

  it('a published launcher says what comes next, and doctor counts no archives of it', async () => {
    await mkdir(world.path('dist/update'), { recursive: true })
    await writeFile(world.path('dist/update/player.cjs'), 'code')
    await writeFile(world.path('dist/launcher.json'), JSON.stringify({ version: '1.0.0' }))
    expect((await keyturn('launcher', 'publish', world.path('dist'))).ok).toBe(true)
    const { data } = await keyturn('doctor')
    const archives = (data['findings'] as { check: string; message: string }[]).filter(
      ({ check }) => check === 'archives',
    )
    expect(archives.map(({ message }) => message)).toEqual(['1.0.0 on launcher has no archives, only loose files'])
  })
})
