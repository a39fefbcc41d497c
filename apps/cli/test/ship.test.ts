import { existsSync } from 'node:fs'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ReleaseServerClient, ServerError } from '@keyturn/release-client'
import { describe, expect, it, vi } from 'vitest'
import { run } from '../src/program.ts'
import {
  edit,
  file,
  keyturn,
  listed,
  player,
  project,
  refusal,
  ship,
  states,
  useStudio,
  world,
} from './support/studio.ts'

useStudio()

describe('keyturn ship', () => {
  it('takes a client to players in one command, and the next one as what changed', async () => {
    const first = await ship()
    expect(first).toMatchObject({ format: 'm2pack', added: 4, key_id: 1 })
    const engine = await player()
    await engine.update()
    expect(await readFile(world.path('player/game.sh'), 'utf8')).toContain('#!/bin/sh')
    await writeFile(world.path('game/client/game.sh'), '#!/bin/sh\nexit 3\n')
    expect(await ship()).toMatchObject({ added: 0, changed: 1, removed: 0, previous: first['version'] })
    await engine.update()
    expect(await readFile(world.path('player/game.sh'), 'utf8')).toContain('exit 3')
    expect(Object.values(await states())).toEqual(['superseded', 'offered'])
  })

  it('leaves alone what players may change, and starts what the project names (B4, B5)', async () => {
    await ship()
    const engine = await player()
    await engine.update()
    await writeFile(world.path('player/user.cfg'), 'volume=11')
    const started = await engine.launch({ stdio: ['ignore', 'ignore', 'ignore'] })
    expect(await started.exited).toBe(0)
    while (!(await engine.status()).confirmed) await new Promise((resolve) => setTimeout(resolve, 20))
    expect(await readFile(world.path('player/user.cfg'), 'utf8')).toBe('volume=11')
  })

  it('names releases as the publisher does, and never gives one name to two builds', async () => {
    expect(await ship('--version-name', '1.4.2')).toMatchObject({ version: '1.4.2', shipped: true })
    // Repeated, because its answer was lost: the same build is out, and there is nothing left to do.
    for (const flags of [[], ['--dry-run'], ['--percent', '100']])
      expect(await ship('--version-name', '1.4.2', ...flags)).toMatchObject({ unchanged: true, version: '1.4.2' })
    expect(await states()).toEqual({ '1.4.2': 'offered' })
    expect(await refusal('--version-name', '1.4.2', '--percent', '20')).toBe('REL_OFFERED')
    await writeFile(world.path('game/client/game.sh'), '#!/bin/sh\nexit 4\n')
    expect(await refusal('--version-name', '1.4.2')).toBe('REL_OFFERED')
    expect(await ship('--version-name', '1.4.3')).toMatchObject({ version: '1.4.3', previous: '1.4.2' })
  })

  it.each([
    ['a release that is there', (version: string) => version],
    ['one that nobody made', () => '9.9'],
  ])('takes no sequence from a server that nobody signed: %s', async (_, named) => {
    const { version } = await ship()
    const real = globalThis.fetch
    globalThis.fetch = async (input, init) => {
      const response = await real(input, init)
      if (!String(input).includes('/releases?')) return response
      const { items, ...rest } = (await response.json()) as { items: object[] }
      const forged = { ...items[0], version: named(String(version)), state: 'published', sequence: 90_000_000 }
      return Response.json({ ...rest, items: [...items, forged] })
    }
    try {
      await edit('exit 6')
      const shipped = await ship()
      const manifest = await readFile(
        world.path('home/releases/stable', String(shipped['version']), 'manifest.json'),
        'utf8',
      )
      expect(JSON.parse(manifest)).toMatchObject({ sequence: 2 })
    } finally {
      globalThis.fetch = real
    }
  })

  it.each(['../..', '..', '', 'a/b', '.'])('touches nothing for a version named "%s"', async (name) => {
    const first = await ship('--version-name', '1.0.0')
    expect(await refusal('--version-name', name)).toBe('MAN_VERSION')
    expect(Object.keys(await states())).toEqual([first['version']])
    expect(existsSync(join((await world.home()).paths.trees, 'stable', '1.0.0', 'game.sh'))).toBe(true)
    expect(await ship('--version-name', '1.1.0')).toMatchObject({ previous: '1.0.0' })
  })

  it('never touches the files of an earlier release whose name is given again, nor a draft in a dry run', async () => {
    await ship('--version-name', '1.0.0')
    await edit('exit 7')
    await ship('--version-name', '1.1.0')
    const tree = world.path('home/trees/stable/1.0.0/pack/data.m2p')
    expect(await refusal('--version-name', '1.0.0')).toBe('REL_OFFERED')
    expect(existsSync(tree)).toBe(true)
    const prepare = ['release', 'prepare', world.path('home/trees/stable/1.1.0'), '--release', '1.2.0']
    expect((await keyturn(...prepare)).ok).toBe(true)
    expect(await refusal('--version-name', '1.2.0', '--dry-run')).toBe('CLI_EXISTS')
    expect(await states()).toMatchObject({ '1.2.0': 'draft' })
    await edit('exit 8')
    expect(await ship('--version-name', '1.2.0')).toMatchObject({ previous: '1.1.0' })
  })

  it('shows what it would do with --dry-run, and leaves nothing behind', async () => {
    expect(await ship('--dry-run', '--version-name', '1.0.0')).toMatchObject({ version: '1.0.0', added: 4 })
    expect(await states()).toEqual({})
    expect(existsSync(world.path('home/trees/stable/1.0.0'))).toBe(false)
  })

  it('lifts no halt without a word, and leaves no draft behind when it is refused (B1)', async () => {
    await ship('--version-name', '1.0.0')
    await edit('exit 7')
    await ship('--version-name', '1.1.0')
    expect((await keyturn('release', 'halt')).ok).toBe(true)
    expect(await refusal('--version-name', '1.2.0')).toBe('REL_HALTED')
    expect(await states()).toEqual({ '1.0.0': 'offered', '1.1.0': 'halted' })
    await ship('--version-name', '1.2.0', '--resume')
    expect(await states()).toMatchObject({ '1.1.0': 'superseded', '1.2.0': 'offered' })
  })

  it('prints with --yes once what players download, and what was shipped', async () => {
    let printed = ''
    const stream = { write: (text: string) => void (printed += text) }
    const flags = ['--home', world.path('home'), '--passphrase-file', world.path('passphrase'), '--yes']
    const environment = { stdout: stream, stderr: stream, env: {}, signal: world.signal }
    expect(await run([...flags, 'ship', '--project', file(), '--version-name', '1.0.0'], environment)).toBe(0)
    expect(printed.match(/players download/g)).toHaveLength(1)
    expect(printed).toContain('Shipped 1.0.0 on stable')
  })

  it('ships nothing when nothing changed and nobody is asked; notes, rules and a rollout are a change', async () => {
    const first = await ship('--version-name', '1.0.0')
    expect(first).toMatchObject({ shipped: true, unchanged: false })
    expect(await ship('--version-name', '1.1.0')).toMatchObject({ shipped: false, unchanged: true, previous: '1.0.0' })
    expect(await ship('--version-name', '1.1.0', '--dry-run')).toMatchObject({ unchanged: true })
    expect(Object.keys(await states())).toEqual(['1.0.0'])
    expect(existsSync(world.path('home/trees/stable/1.1.0'))).toBe(false)
    await writeFile(world.path('notes.md'), 'News')
    expect(await ship('--version-name', '1.1.0', '--notes-file', world.path('notes.md'))).toMatchObject({
      shipped: true,
    })
    await project({ keep: [] })
    const notes = ['--notes-file', world.path('notes.md')]
    expect(await ship('--version-name', '1.2.0', ...notes)).toMatchObject({ shipped: true })
    expect(await ship('--version-name', '1.3.0', ...notes, '--percent', '20')).toMatchObject({ shipped: true })
    // Not everybody is offered it yet, so it does not count as a repetition.
    expect((await keyturn('ship', '--project', file(), '--version-name', '1.4.0', ...notes)).error.code).toBe(
      'REL_ROLLING_OUT',
    )
  })

  it('has the rollout halt by itself with --auto-halt; a first release has nothing to halt to', async () => {
    expect(await refusal('--auto-halt', '97')).toBe('CLI_USAGE')
    expect(await refusal('--at', '2099-01-01T00:00Z', '--auto-halt', '97')).toBe('CLI_USAGE')
    expect(await states()).toEqual({})
    await ship('--version-name', '1.0')
    await edit('exit 7')
    expect(
      await ship('--version-name', '1.1', '--percent', '20', '--auto-halt', '97', '--auto-halt-sample', '50'),
    ).toMatchObject({ shipped: true, auto_halt: { version: '1.1', percent: 97, sample: 50 } })
    expect(await world.client?.health('test', 'stable')).toMatchObject({ auto_halt: { percent: 97, sample: 50 } })
    // Nothing changed: the rule that is there stays as it is.
    await ship('--version-name', '1.1', '--auto-halt', 'off')
    expect(await world.client?.health('test', 'stable')).toMatchObject({ auto_halt: { percent: 97 } })
    // A token that may publish and not set rules: the release is out, and the rule is a failure of its own.
    await edit('exit 8')
    const setAutoHalt = vi
      .spyOn(ReleaseServerClient.prototype, 'setAutoHalt')
      .mockRejectedValueOnce(new ServerError('SRV_SCOPE', 'The token may not'))
    const answer = await keyturn(
      'ship',
      '--project',
      file(),
      '--version-name',
      '1.2',
      '--percent',
      '30',
      '--auto-halt',
      '97',
    )
    setAutoHalt.mockRestore()
    expect(answer.data).toMatchObject({ shipped: true, version: '1.2' })
    expect(answer.error.code).toBe('SRV_SCOPE')
  })

  it('says how far a rollout is', async () => {
    await ship('--version-name', '1.0.0')
    await ship('--version-name', '1.1.0', '--percent', '20')
    expect(await states()).toEqual({ '1.0.0': 'offered', '1.1.0': 'rolling out 20 %' })
    expect((await listed('--remote')).map(({ state }) => state)).toEqual(['offered', 'rolling out 20 %'])
    const channel = async (): Promise<unknown> => ((await keyturn('status')).data['channels'] as unknown[])[0]
    expect(await channel()).toMatchObject({ offered: '1.1.0', state: 'rolling out 20 %', others: '1.0.0' })
    await keyturn('release', 'halt')
    expect(await channel()).toMatchObject({ offered: '1.1.0', state: 'halted', others: '1.0.0' })
    await rm(world.path('home/trees/stable/1.0.0'), { recursive: true })
    const findings = async (...flags: string[]): Promise<{ level: string; message: string }[]> =>
      (await keyturn('doctor', ...flags)).data['findings'] as { level: string; message: string }[]
    expect((await findings()).find(({ message }) => message.includes('1.0.0'))?.level).toBe('ok')
    const alone = (await findings('--offline')).find(({ message }) => message.includes('The tree of 1.0.0 is gone'))
    expect(alone?.level).toBe('warning')
  })
})

describe('an access token', () => {
  it('goes to the server of the home only, unless its file is named with the other one (REL_SERVER_TOKEN)', async () => {
    const other = ['--server', 'http://127.0.0.1:1']
    expect((await keyturn('release', 'list', '--remote', ...other)).error.code).toBe('REL_SERVER_TOKEN')
    await writeFile(world.path('token.txt'), 'another', { mode: 0o600 })
    const named = await keyturn('release', 'list', '--remote', ...other, '--token-file', world.path('token.txt'))
    expect(named.error.code).not.toBe('REL_SERVER_TOKEN')
  })

  it('whose file is not there is refused by what named the file', async () => {
    const nowhere = world.path('no-token.txt')
    const byFlag = await keyturn('doctor', '--token-file', nowhere)
    expect(byFlag.error).toMatchObject({ code: 'CLI_PATH_UNKNOWN', hint: expect.stringContaining('--token-file') })
    vi.stubEnv('KEYTURN_TOKEN_FILE', nowhere)
    const byVariable = await keyturn('doctor')
    vi.unstubAllEnvs()
    expect(byVariable.error).toMatchObject({
      code: 'CLI_PATH_UNKNOWN',
      hint: expect.stringContaining('the variable KEYTURN_TOKEN_FILE'),
    })
  })

  it('goes over plain http to this machine only (REL_INSECURE_SERVER)', async () => {
    await (await world.home()).update({ server: 'http://updates.example.org' })
    const refused = await keyturn('release', 'list', '--remote')
    expect(refused.error.code).toBe('REL_INSECURE_SERVER')
  })

  it('goes nowhere because a project says so', async () => {
    await project({ server: 'https://thief.example' })
    const refused = await keyturn('ship', '--project', file())
    expect(refused.error).toMatchObject({ code: 'CLI_USAGE', hint: expect.stringContaining('https://thief.example') })
    await project({ server: world.url })
    expect((await keyturn('ship', '--project', file())).ok).toBe(true)
  })
})
