import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { readRuntime } from '../../src/build/runtimes.ts'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'keyturn-runtimes-'))
})
afterEach(async () => {
  vi.unstubAllEnvs()
  await rm(folder, { recursive: true, force: true })
})

it.skipIf(process.platform === 'win32')('npm sees neither the folder of a project nor our secrets', async () => {
  // npm reads .npmrc of the folder it starts in, and puts variables of the environment into the addresses there.
  const npm = join(folder, 'npm')
  await writeFile(npm, `#!/bin/sh\n{ pwd; ls -A; env; } > '${join(folder, 'seen')}'\nexit 1\n`)
  await chmod(npm, 0o755)
  vi.stubEnv('PATH', [folder, process.env['PATH']].join(delimiter))
  for (const name of ['KEYTURN_TOKEN', 'KEYTURN_PASSPHRASE', 'Keyturn_Token_File']) vi.stubEnv(name, 'a secret')
  vi.stubEnv('NPM_TOKEN', 'of npm itself')
  await expect(readRuntime('linux-x64', { cacheFolder: join(folder, 'cache') })).rejects.toMatchObject({
    code: 'LB_RUNTIME',
  })
  const [place, ...seen] = (await readFile(join(folder, 'seen'), 'utf8')).split('\n')
  expect(place).not.toBe(process.cwd())
  // With a package.json npm looks no further up, where the folder may be open to all.
  expect(seen[0]).toBe('package.json')
  expect(seen.filter((line) => line.includes('a secret'))).toEqual([])
  expect(seen).toContain('NPM_TOKEN=of npm itself')
})
