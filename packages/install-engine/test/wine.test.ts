import { execFileSync, spawnSync } from 'node:child_process'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { engineFor, temporaryFolder } from './support/install.ts'
import { contentKey, Publisher } from './support/publisher.ts'

const works = (file: string, ...args: string[]): boolean => spawnSync(file, args, { stdio: 'ignore' }).status === 0
const compiler = 'x86_64-w64-mingw32-gcc'
const hasWine = process.platform === 'linux' && works('which', 'wine') && works(compiler, '--version')
if (!hasWine) console.info('Real wine: skipped, wine64 and mingw-w64 are not here; a stand-in is tried')

/** Tells what it was called with, as a script in place of wine. */
const standIn = `#!/bin/sh
printf '%s\\n' "$@" > "$HOME/called.txt"
printf '%s|%s|%s\\n' "$WINEPREFIX" "$M2PACK_MASTER_KEY_HEX" "$PWD" >> "$HOME/called.txt"
exit "\${WINE_EXIT:-0}"
`

async function world(exe: Uint8Array = new TextEncoder().encode('MZ no real program')) {
  const publisher = await Publisher.create()
  const key = contentKey(4)
  await publisher.release(
    {
      'Metin2.exe': exe,
      'other.exe': 'MZ',
      'linux/start.sh': { bytes: new TextEncoder().encode('#!/bin/sh\n'), platform: 'linux' },
      'runtime-key.json': key.json,
    },
    { format: 'm2pack', place: { contentKeys: [key.entry] } },
  )
  const home = await temporaryFolder()
  const wine = join(home, 'my wine')
  await writeFile(wine, standIn, { mode: 0o755 })
  const play = async (env: Record<string, string>, options: Parameters<typeof engineFor>[1] = {}) => {
    const { engine, folder } = await engineFor(publisher, {
      env: { PATH: process.env['PATH'] ?? '', HOME: home, ...env },
      ...options,
    })
    const { exited } = await engine.launch({ args: ['--windowed'], stdio: ['ignore', 'ignore', 'ignore'] })
    const code = await exited
    return {
      folder,
      code,
      called: (await readFile(join(home, 'called.txt'), 'utf8').catch(() => '')).trim().split('\n'),
    }
  }
  return { publisher, key, home, wine, play }
}

describe.skipIf(process.platform !== 'linux')('a Windows client on a Linux desktop', () => {
  it('is the program Metin2.exe of a release for Windows, started through the wine that KEYTURN_WINE names', async () => {
    const { wine, play, key } = await world()
    const { folder, code, called } = await play({ KEYTURN_WINE: wine })
    expect(code).toBe(0)
    expect(called).toEqual([join(folder, 'Metin2.exe'), '--windowed', `|${key.hex}|${folder}`])
    expect((await play({ KEYTURN_WINE: wine, WINE_EXIT: '7' })).code).toBe(7)
    expect(
      (await play({ KEYTURN_WINE: wine }, { program: ['other.exe', '-x'] })).called
        .slice(0, 3)
        .map((word) => word.split('/').at(-1)),
    ).toEqual(['other.exe', '-x', '--windowed'])
  })

  it('is started by the wine of the path, in the prefix of the original where it exists and none is chosen', async () => {
    const { home, wine, play, key } = await world()
    const bin = join(home, 'bin')
    await mkdir(bin)
    await writeFile(join(bin, 'wine'), await readFile(wine), { mode: 0o755 })
    const PATH = `${bin}:${process.env['PATH'] ?? ''}`
    await mkdir(join(home, 'metin/wine-metin'), { recursive: true })
    const { folder, called } = await play({ PATH })
    expect(called.at(-1)).toBe(`${join(home, 'metin/wine-metin')}|${key.hex}|${folder}`)
    expect((await play({ PATH, WINEPREFIX: '/my/prefix' })).called.at(-1)).toMatch(/^\/my\/prefix\|/)
  })

  it('says that wine is missing, and that wine passes neither descriptors nor shared memory on', async () => {
    const { wine, play } = await world()
    await expect(play({ KEYTURN_WINE: join(wine, 'nowhere') })).rejects.toMatchObject({
      code: expect.stringMatching(/^(RK_SPAWN|LA_CHILD)$/),
    })
    for (const delivery of ['fd', 'shared-memory'] as const)
      await expect(play({ KEYTURN_WINE: wine }, { delivery })).rejects.toMatchObject({ code: 'LA_SETTINGS' })
  })

  it.skipIf(!hasWine)('takes its key by the C receiver in real wine', async () => {
    const folder = await temporaryFolder()
    const receiver = fileURLToPath(new URL('../../runtime-key/c/example.c', import.meta.url))
    execFileSync(compiler, ['-O2', receiver, '-o', join(folder, 'client.exe')])
    const { publisher, home } = await world(new Uint8Array(await readFile(join(folder, 'client.exe'))))
    const env = {
      PATH: process.env['PATH'] ?? '',
      HOME: home,
      WINEPREFIX: join(home, 'prefix'),
      WINEDEBUG: '-all',
      WINEDLLOVERRIDES: 'mscoree,mshtml=',
    }
    const { engine } = await engineFor(publisher, { env })
    const started = await engine.launch({ stdio: ['ignore', 'pipe', 'ignore'] })
    let text = ''
    started.child.stdout?.setEncoding('utf8').on('data', (part: string) => {
      text += part
    })
    expect(await started.exited).toBe(0)
    await expect.poll(() => text).toContain('key_id 4 sum ')
    spawnSync('wineserver', ['-k', '-w'], { env, stdio: 'ignore' })
  })
})
