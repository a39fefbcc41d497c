import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/**
 * Writes an empty project that depends on tarballs, so that "pnpm install" there installs them as their users do.
 * @param tarballs every package of this workspace, by name: what one needs of another comes from here.
 * @param wanted names of those that the project depends on.
 */
export function writeLoneHome(
  home: string,
  tarballs: ReadonlyMap<string, string>,
  wanted: readonly string[],
  devDependencies: Readonly<Record<string, string>> = {},
): void {
  mkdirSync(home, { recursive: true })
  const dependencies = Object.fromEntries(wanted.map((name) => [name, `file:${tarballs.get(name)}`]))
  const manifest = { name: 'alone', private: true, type: 'module', dependencies, devDependencies }
  writeFileSync(join(home, 'package.json'), JSON.stringify(manifest))
  const overrides = [...tarballs].map(([name, file]) => `  '${name}': 'file:${file}'`)
  writeFileSync(join(home, 'pnpm-workspace.yaml'), `${['packages: []', 'overrides:', ...overrides].join('\n')}\n`)
}
