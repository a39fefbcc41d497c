import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { chown, mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { run } from '../src/program.ts'
import { command } from './support/command.ts'
import { file, keyturn, player, project, refusal, ship, useStudio, world } from './support/studio.ts'

useStudio()

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

describe('keyturn ship, of a project', () => {
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
