import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { members, root } from '../checks/workspace.ts'
import { packMember } from '../pack/pack-member.ts'
import { PACKAGES } from './runtimes.ts'
import type { Runtime } from './runtimes.ts'

/** For an install that hangs; long enough for a slow network. */
const TIMEOUT_MS = 900_000

/** Tarballs of the packages, by name. */
function packAll(target: string): Map<string, string> {
  mkdirSync(target, { recursive: true })
  const chosen = members().filter(({ folder }) => PACKAGES.includes(folder))
  return new Map(chosen.map((member) => [member.manifest.name, `file:${packMember(member, target)}`]))
}

/** A folder as a user would have it: the packages from their tarballs, the runtimes from npm, the programs. */
export function prepareHome(home: string, runtimes: readonly Runtime[]): void {
  const tarballs = packAll(join(home, 'tarballs'))
  const dependencies = Object.fromEntries([
    ...tarballs,
    // What the page of esbuild has to copy, in the version that is installed with the package.
    ['@bokuweb/zstd-wasm', '*'],
    ...runtimes.flatMap(({ packages }) => Object.entries(packages)),
  ])
  writeFileSync(join(home, 'package.json'), JSON.stringify({ private: true, type: 'module', dependencies }))
  const overrides = [...tarballs].map(([name, file]) => `  '${name}': '${file}'`)
  writeFileSync(join(home, 'pnpm-workspace.yaml'), ['packages: []', 'overrides:', ...overrides, ''].join('\n'))
  const options = { cwd: home, encoding: 'utf8', timeout: TIMEOUT_MS } as const
  const { status, stdout, stderr } = spawnSync('pnpm', ['install', '--prefer-offline', '--ignore-scripts'], options)
  if (status !== 0) throw new Error(`pnpm install failed:\n${stdout}${stderr}`)
  cpSync(join(root, 'tooling/runtimes/programs'), home, { recursive: true })
}
