import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { stripTypeScriptTypes } from 'node:module'
import { join } from 'node:path'
import { members, root } from '../checks/workspace.ts'
import { packMember } from '../pack/pack-member.ts'
import { PACKAGES, README_PACKAGES } from './runtimes.ts'
import type { Runtime } from './runtimes.ts'

/** For an install that hangs; long enough for a slow network. */
const TIMEOUT_MS = 900_000

const IMPORT = /^import [\s\S]*? from '[^']+'\n/gm

/** Tarballs of the packages, by name. */
function packAll(target: string): Map<string, string> {
  mkdirSync(target, { recursive: true })
  const chosen = members().filter(({ folder }) => PACKAGES.includes(folder))
  return new Map(chosen.map((member) => [member.manifest.name, `file:${packMember(member, target)}`]))
}

/**
 * The first program of a README, as a newcomer copies it.
 *
 * @returns Its imports, and the rest as one feature.
 */
export function readmeProgram(name: string): string {
  const text = readFileSync(join(root, 'packages', name, 'README.md'), 'utf8')
  const [, block] = /^## Example\n[\s\S]*?```ts\n([\s\S]*?)```/m.exec(text) ?? []
  if (block === undefined) throw new Error(`The README of ${name} has no example`)
  const program = stripTypeScriptTypes(block)
  const imports = program.match(IMPORT) ?? []
  const body = program.replaceAll(IMPORT, '')
  return `${imports.join('')}\nexport const features = {\n  'the first program of the README': async () => {\n${body}\n  },\n}\n`
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
  for (const name of README_PACKAGES) writeFileSync(join(home, `${name}.readme.mjs`), readmeProgram(name))
}
