import { win32 } from 'node:path'
import { nodeFileSystem } from '@keyturn/primitives/node'
import type { FileSystem } from '@keyturn/primitives/node'
import { describe, expect, it } from 'vitest'
import { renamePatiently } from '../src/place/move.ts'
import { hostSystem, posixSystem, windowsSystem } from '../src/disk/host-system.ts'
import { layoutOf } from '../src/disk/layout.ts'

describe('paths', () => {
  const everywhere = [
    '',
    '.',
    '..',
    '../a',
    'a/../b',
    'a/./b',
    '/a',
    'a/',
    'a//b',
    'a\\b',
    '..\\a',
    'a\0b',
    '\\\\server\\share',
  ]
  const onWindows = [
    'C:',
    'C:/a',
    'a:b',
    'a.txt:stream',
    'a.',
    'a /b',
    'dir./b',
    'nul',
    'NUL.txt',
    'a/con',
    'aux/b',
    'COM1',
    'lpt9.log',
    'com¹',
    'prn .txt',
    'conin$',
    'a?b',
    'a*',
    'a<b',
    'a|b',
    'a"b',
    'a\u0001b',
  ]
  const fine = [
    'a',
    'a/b.txt',
    'pack/metin2_map_a1.m2p',
    '...a',
    'a..b',
    '.config',
    'údolí/ř.mp3',
    'console.log',
    'comma.txt',
    'nullable',
    'com10',
    'auxiliary/x',
  ]

  it.each([
    ['posix', posixSystem],
    ['windows', windowsSystem],
  ] as const)('%s: nothing that could leave the install, everything else', (_name, system) => {
    for (const path of everywhere) expect(system.isInside(path), JSON.stringify(path)).toBe(false)
    for (const path of fine) expect(system.isInside(path), path).toBe(true)
    for (const path of onWindows) expect(system.isInside(path), JSON.stringify(path)).toBe(system.name === 'posix')
  })

  it('are written as the system writes them', () => {
    expect(posixSystem.place('/games/client', 'pack/a.m2p')).toBe('/games/client/pack/a.m2p')
    expect(posixSystem.place('/', 'a')).toBe('/a')
    expect(windowsSystem.place('C:\\games\\client', 'pack/a.m2p')).toBe('C:\\games\\client\\pack\\a.m2p')
    expect(windowsSystem.place('C:\\', 'a')).toBe('C:\\a')
    for (const path of fine)
      expect(win32.relative('C:\\i', windowsSystem.place('C:\\i', path)).startsWith('..\\')).toBe(false)
  })

  it('of a user lie where the system keeps such things', () => {
    expect(posixSystem.userFolder({ HOME: '/home/a' })).toBe('/home/a/.local/share/keyturn-launcher')
    expect(posixSystem.userFolder({ HOME: '/home/a', XDG_DATA_HOME: '/d' })).toBe('/d/keyturn-launcher')
    expect(windowsSystem.userFolder({ LOCALAPPDATA: 'C:\\Users\\a\\AppData\\Local' })).toBe(
      'C:\\Users\\a\\AppData\\Local\\keyturn-launcher',
    )
    expect(windowsSystem.userFolder({ USERPROFILE: 'C:\\Users\\a' })).toBe(
      'C:\\Users\\a\\AppData\\Local\\keyturn-launcher',
    )
    expect(hostSystem.name).toBe(process.platform === 'win32' ? 'windows' : 'posix')
  })
})

describe('a file that another program holds (row 214)', () => {
  function held(code: string, times: number): { fs: FileSystem; tries: () => number } {
    let tries = 0
    const rename = async (): Promise<void> => {
      tries += 1
      if (tries <= times) throw Object.assign(new Error(code), { code, syscall: 'rename' })
    }
    return { fs: { ...nodeFileSystem, rename } as FileSystem, tries: () => tries }
  }
  const context = { layout: layoutOf('/nowhere'), lockPatienceMs: 60_000 }

  it.each(['EPERM', 'EACCES', 'EBUSY'])('is waited for under Windows when it says %s', async (code) => {
    const { fs, tries } = held(code, 2)
    expect(await renamePatiently({ ...context, fs, system: windowsSystem }, 'a', 'b')).toBe('renamed')
    expect(tries()).toBe(3)
  })

  it.each(['EPERM', 'EACCES'])('is a missing right elsewhere when it says %s: nothing is waited for', async (code) => {
    const { fs, tries } = held(code, 2)
    await expect(renamePatiently({ ...context, fs, system: posixSystem }, 'a', 'b')).rejects.toMatchObject({ code })
    expect(tries()).toBe(1)
  })

  it('ends the wait when patience does', async () => {
    const { fs } = held('EBUSY', Number.POSITIVE_INFINITY)
    for (const system of [posixSystem, windowsSystem])
      await expect(renamePatiently({ ...context, lockPatienceMs: 150, fs, system }, 'a', 'b')).rejects.toMatchObject({
        code: 'LA_LOCKED',
        details: { errno: 'EBUSY' },
      })
  })
})
