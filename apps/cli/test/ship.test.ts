import { execFileSync } from 'node:child_process'
import { chmod, chown, mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { createEngine } from '@keyturn/install-engine'
import type { Engine } from '@keyturn/install-engine'
import { ReleaseServerClient, ServerError } from '@keyturn/release-client'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { run } from '../src/program.ts'
import { command } from './support/command.ts'
import type { Answer } from './support/command.ts'
import { World } from './support/world.ts'

let world: World
let tokenBefore: string | undefined
let folderBefore: string
beforeEach(async () => {
  world = await World.create()
  tokenBefore = process.env['KEYTURN_TOKEN']
  folderBefore = process.cwd()
  await world.startServer()
  process.env['KEYTURN_TOKEN'] = world.token
  await (await world.home()).update({ server: world.url })
  await mkdir(world.path('game/client/data'), { recursive: true })
  await writeFile(world.path('game/client/data/a.txt'), 'first words')
  await writeFile(world.path('game/client/user.cfg'), 'volume=5')
  await writeFile(world.path('game/client/game.sh'), '#!/bin/sh\nexit 0\n')
  await chmod(world.path('game/client/game.sh'), 0o755)
  await project({})
})
afterEach(async () => {
  if (tokenBefore === undefined) delete process.env['KEYTURN_TOKEN']
  else process.env['KEYTURN_TOKEN'] = tokenBefore
  process.chdir(folderBefore)
  await world.remove()
})

async function project(change: object): Promise<void> {
  const base = { schema: 1, product: 'test', source: 'client', keep: ['user.cfg'], program: { linux: 'game.sh' } }
  await writeFile(world.path('game/keyturn.json'), JSON.stringify({ ...base, ...change }))
}

/** A release differs from the one before it. */
const edit = (line: string): Promise<void> => writeFile(world.path('game/client/game.sh'), `#!/bin/sh\n${line}\n`)

async function keyturn(...args: string[]): Promise<Answer> {
  return await command(world, args)
}

const file = (): string => world.path('game/keyturn.json')

/** What people read of a command. */
async function text(args: readonly string[]): Promise<string> {
  let printed = ''
  const write = (part: string): void => {
    printed += part
  }
  await run(['--home', world.path('home'), '--passphrase-file', world.path('passphrase'), '--yes', ...args], {
    stdout: { write },
    stderr: { write },
    env: {},
    signal: world.signal,
  })
  return printed
}

async function ship(...args: string[]): Promise<Record<string, unknown>> {
  const answer = await keyturn('ship', '--project', file(), ...args)
  if (!answer.ok) throw new Error(JSON.stringify(answer.error))
  return answer.data
}

async function refusal(...args: string[]): Promise<string> {
  const answer = await keyturn('ship', '--project', file(), ...args)
  return answer.ok ? 'shipped' : answer.error.code
}

interface Listed {
  readonly version: string
  readonly state: string
}

async function listed(...flags: string[]): Promise<readonly Listed[]> {
  return (await keyturn('release', 'list', ...flags)).data['releases'] as Listed[]
}

/** What the home lists, by version. */
async function states(): Promise<Record<string, unknown>> {
  return Object.fromEntries((await listed()).map(({ version, state }) => [version, state]))
}

/** What the manifest of a release says of its archive. */
async function archiveHash(version: string): Promise<string | undefined> {
  const manifest = JSON.parse(await readFile(world.path('home/releases/stable', version, 'manifest.json'), 'utf8')) as {
    files: { path: string; sha256: string }[]
  }
  return manifest.files.find(({ path }) => path === 'pack/data.m2p')?.sha256
}

async function player(): Promise<Engine> {
  const { data } = await keyturn('release', 'trust')
  return createEngine({
    folder: world.path('player'),
    server: `${world.url}/p/test/`,
    trust: String(data['pin']),
    target: 'linux',
  })
}

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

  it.each(['../..', '..', '', 'a/b', '.'])('touches nothing for a version named "%s"', async (name) => {
    const first = await ship('--version-name', '1.0.0')
    expect(await refusal('--version-name', name)).toBe('MAN_VERSION')
    expect(Object.keys(await states())).toEqual([first['version']])
    expect(existsSync(join((await world.home()).paths.trees, 'stable', '1.0.0', 'game.sh'))).toBe(true)
    expect(await ship('--version-name', '1.1.0')).toMatchObject({ previous: '1.0.0' })
  })

  it.each(['source', 'notes'])('follows no link of a project to what is outside of it: %s', async (member) => {
    await mkdir(world.path('private'))
    await writeFile(world.path('private/letters.txt'), 'dear')
    const target = member === 'source' ? 'private' : 'private/letters.txt'
    await symlink(world.path(target), world.path('game/art'))
    await project({ [member]: 'art' })
    expect(await refusal()).toBe('PRJ_FORMAT')
  })

  it('runs no program that the git settings of a project name', async () => {
    const run = (...args: string[]): Buffer =>
      execFileSync('git', ['-C', world.path('game'), '-c', 'user.name=a', '-c', 'user.email=a@b', ...args])
    run('init', '--quiet')
    await writeFile(world.path('game/.gitattributes'), '*.cfg filter=planted\n')
    run('add', '.')
    run('commit', '--quiet', '-m', 'first')
    await project({ version: 'git' })
    const version = run('describe', '--always', '--dirty').toString().trim()
    expect(version).toMatch(/-dirty$/)
    expect(await ship()).toMatchObject({ version })
    await writeFile(world.path('game/client/user.cfg'), 'volume=6')
    run('config', 'filter.planted.clean', `touch '${world.path('ran')}'; cat`)
    expect(await refusal()).toBe('CLI_USAGE')
    expect(existsSync(world.path('ran'))).toBe(false)
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

  it('takes no junk, and refuses what looks like a secret until it is named (row 408)', async () => {
    await mkdir(world.path('game/client/.git'), { recursive: true })
    await writeFile(world.path('game/client/.git/config'), 'x')
    await writeFile(world.path('game/client/data/Thumbs.db'), 'x')
    expect(await ship()).toMatchObject({ added: 4 })
    await writeFile(world.path('game/client/data/server.pem'), 'private')
    await writeFile(world.path('game/client/.env'), 'TOKEN=1')
    const answer = await keyturn('ship', '--project', file())
    expect(answer.error.code).toBe('BUILD_SECRET')
    expect(answer.error.message).toContain('.env')
    expect(answer.error.message).toContain('data/server.pem')
    expect(answer.error.hint).toContain('"exclude" and "include"')
    await project({ exclude: ['.env'], include: ['data/server.pem'] })
    expect(await ship()).toMatchObject({ changed: 1 })
  })

  it('refuses a project that is not one, naming the member and the nearest known one (PRJ_FORMAT)', async () => {
    await project({ exlude: [] })
    const answer = await keyturn('ship', '--project', file())
    expect(answer.error).toMatchObject({ code: 'PRJ_FORMAT', hint: 'Did you mean "exclude"?' })
    for (const wrong of [
      { schema: 2 },
      { source: '../elsewhere' },
      { source: '/etc' },
      { keep: 'user.cfg' },
      { program: { dos: 'x' } },
      { launcher: { accent: 'red' } },
      { server: 'ftp://x' },
    ]) {
      await project(wrong)
      expect(await refusal(), JSON.stringify(wrong)).toBe('PRJ_FORMAT')
    }
    await writeFile(file(), '{')
    expect(await refusal()).toBe('PRJ_FORMAT')
    await rm(file())
    expect(await refusal()).toBe('PRJ_NOT_FOUND')
    await project({ product: 'other' })
    expect(await refusal()).toBe('CLI_USAGE')
  })
})

describe('keep', () => {
  it('warns when it names a file that goes into an archive, and only then', async () => {
    const said = async (...args: string[]): Promise<string> => {
      let text = ''
      const onStderr = (part: string): void => void (text += part)
      const answer = await command(world, ['ship', '--project', file(), ...args], { onStderr })
      expect(answer.ok).toBe(true)
      return text
    }
    await project({ keep: ['user.cfg', 'saves/**'] })
    expect(await said('--dry-run')).not.toContain('no effect')
    await project({ keep: ['user.cfg', 'data/*.txt'] })
    expect(await said('--dry-run')).toContain(
      '"keep" has no effect on "data/a.txt": it goes into archive "pack/data.m2p"',
    )
    await project({ keep: ['data/*.txt'], exclude: ['data/a.txt'] })
    expect(await said()).toContain('No file of the release fits "data/*.txt" of "keep"')
  })
})

describe('a project that describes its archives', () => {
  it('gives players what it says: archives, plain files, components and platforms', async () => {
    for (const path of ['voices/de/hello.ogg', 'voices/en/hello.ogg', 'bin/win/game.dll', 'bin/linux/run.so']) {
      await mkdir(world.path('game/client', path, '..'), { recursive: true })
      await writeFile(world.path('game/client', path), path)
    }
    await project({
      archives: [{ path: 'pack/art.m2p', include: ['data/**'], root: 'data' }],
      plain: ['bin/**'],
      platforms: { windows: ['bin/win/**'], linux: ['bin/linux/**'] },
      components: { 'voices-de': { title: 'German voices', include: ['voices/de/**'], default: false } },
      requires: { freeBytes: 1000, os: ['linux', 'windows'] },
    })
    await ship()
    await (await player()).update()
    for (const path of ['pack/art.m2p', 'pack/voices.m2p', 'bin/linux/run.so', 'game.sh'])
      expect(existsSync(world.path('player', path)), path).toBe(true)
    for (const path of ['pack/voices.voices-de.m2p', 'bin/win/game.dll', 'pack/data.m2p'])
      expect(existsSync(world.path('player', path)), path).toBe(false)
    await project({
      archives: [
        { path: 'a.m2p', include: ['data/**'] },
        { path: 'b.m2p', include: ['**/a.txt'] },
      ],
    })
    expect(await refusal('--version-name', '9')).toBe('BUILD_CLAIM')
    await project({ program: { linux: 'games.sh' } })
    expect(await refusal('--version-name', '9')).toBe('PRJ_FORMAT')
    expect(existsSync(world.path('home/trees/stable/9'))).toBe(false)
  })
})

describe('keyturn project init', () => {
  it('writes a first project from what it sees, and replaces none', async () => {
    await rm(file())
    process.chdir(world.path('game'))
    expect((await keyturn('project', 'init', '--source', 'client', '--name', 'My Game')).ok).toBe(true)
    expect(JSON.parse(await readFile(file(), 'utf8'))).toMatchObject({
      schema: 1,
      product: 'test',
      name: 'My Game',
      source: 'client',
      program: { linux: 'game.sh' },
    })
    expect((await keyturn('project', 'init', '--source', 'client')).error.code).toBe('PRIM_EXISTS')
    process.chdir(world.path('game/client/data'))
    expect((await keyturn('ship')).ok).toBe(true) // found by walking up
    if (process.getuid?.() !== 0) return
    await chown(file(), 65_534, 65_534)
    expect((await keyturn('ship')).error.code).toBe('PRJ_FORMAT') // somebody else's: named only
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

  it('"project init" says what the format of archives costs where a file is large, and takes the choice', async () => {
    await rm(file())
    process.chdir(world.path('game'))
    await writeFile(world.path('game/client/data/map.bin'), Buffer.alloc(5_000_000))
    const said = await text(['project', 'init', '--source', 'client'])
    expect(said).toContain('The largest file has 5.00 MB')
    expect(said).toContain('"archiveFormat": 2 makes that about 1 MB')
    expect(JSON.parse(await readFile(file(), 'utf8'))).not.toHaveProperty('archiveFormat')
    await rm(file())
    expect(await keyturn('project', 'init', '--archive-format', '3')).toMatchObject({ error: { code: 'CLI_USAGE' } })
    expect(await text(['project', 'init', '--source', 'client', '--archive-format', '2'])).not.toContain('largest')
    expect(JSON.parse(await readFile(file(), 'utf8'))).toMatchObject({ archiveFormat: 2 })
    expect(await ship('--dry-run', '--level', '1')).toMatchObject({ format: 'm2pack' })
  })

  it('"project init" names files that players may edit, and keeps none by itself', async () => {
    await rm(file())
    process.chdir(world.path('game'))
    const { data } = await keyturn('project', 'init', '--source', 'client')
    expect(data).toMatchObject({ keep_suggestions: ['user.cfg'], project: { keep: [] } })
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

describe('an access token', () => {
  it('goes to the server of the home only, unless its file is named with the other one (REL_SERVER_TOKEN)', async () => {
    const other = ['--server', 'http://127.0.0.1:1']
    expect((await keyturn('release', 'list', '--remote', ...other)).error.code).toBe('REL_SERVER_TOKEN')
    await writeFile(world.path('token.txt'), 'another', { mode: 0o600 })
    const named = await keyturn('release', 'list', '--remote', ...other, '--token-file', world.path('token.txt'))
    expect(named.error.code).not.toBe('REL_SERVER_TOKEN')
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

describe('keyturn rotate content', () => {
  it('writes the public keys for the client where the project asks for it', async () => {
    await project({ clientConfig: 'src/M2PackKeys.h' })
    await mkdir(world.path('game/src'))
    await ship()
    process.chdir(world.path('game'))
    expect((await keyturn('rotate', 'content')).data).toMatchObject({ to_key_id: 2, client_config: true })
    const header = await readFile(world.path('game/src/M2PackKeys.h'), 'utf8')
    const exported = await keyturn('pack', 'export-client-config', '--output', world.path('keys.h'))
    expect(exported.data).toMatchObject({ key_ids: [1, 2], key_id: 2 })
    expect(header).toBe(await readFile(world.path('keys.h'), 'utf8'))
    await project({ clientConfig: '../keys.h' })
    expect(await refusal()).toBe('PRJ_FORMAT')
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
})
