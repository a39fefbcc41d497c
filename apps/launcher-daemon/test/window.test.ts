import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openWindow, removeHandOver } from '../src/daemon/window.ts'

const CODE = 'a-code-that-opens-the-page-once'
const ADDRESS = `http://127.0.0.1:4321/?code=${CODE}`

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'keyturn-window-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

/** The words that a browser is started with. */
async function startedWith(path: string, platform: NodeJS.Platform): Promise<readonly string[]> {
  const words: string[] = []
  await openWindow(ADDRESS, {
    folder: join(folder, 'updates'),
    platform,
    env: { PATH: path },
    start: (program, args) => words.push(program, ...args),
  })
  return words
}

describe.skipIf(process.platform === 'win32')('openWindow()', () => {
  it.each(['a window of its own', 'the default browser'])(
    'hands %s a file that only this user reads: other users see the arguments of a program',
    async (how) => {
      const program = join(folder, 'chromium')
      await writeFile(program, '#!/bin/sh\n')
      await chmod(program, how === 'the default browser' ? 0o600 : 0o755)
      const words = await startedWith(folder, 'linux')
      expect(words[0]).toBe(how === 'the default browser' ? 'xdg-open' : program)
      expect(words.join(' ')).not.toContain(CODE)
      const [file = ''] = words.flatMap((word) => /^(?:--app=)?(file:.*)$/.exec(word)?.[1] ?? [])
      const handOver = fileURLToPath(file)
      expect(await readFile(handOver, 'utf8')).toContain(CODE)
      expect((await stat(handOver)).mode & 0o777).toBe(0o600)
      expect((await stat(join(folder, 'updates'))).mode & 0o777).toBe(0o700)
      await removeHandOver(join(folder, 'updates'))
      await expect(stat(handOver)).rejects.toThrow('ENOENT')
    },
  )
})
