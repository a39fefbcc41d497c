import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** Root of the checkout, with a slash at the end. */
export const root: string = fileURLToPath(new URL('../..', import.meta.url))

/** What the checks read of a package.json. */
export interface PackageManifest {
  readonly name: string
  readonly version: string
  readonly description?: string
  readonly private?: boolean
  readonly keywords?: readonly string[]
  readonly exports?: Readonly<Record<string, string | { readonly types: string; readonly default: string }>>
  readonly dependencies?: Readonly<Record<string, string>>
  readonly optionalDependencies?: Readonly<Record<string, string>>
  readonly peerDependencies?: Readonly<Record<string, string>>
  readonly devDependencies?: Readonly<Record<string, string>>
  readonly bin?: Readonly<Record<string, string>>
}

/** One package or app of the workspace. */
export interface Member {
  readonly group: 'packages' | 'apps'
  readonly folder: string
  readonly path: string
  readonly manifest: PackageManifest
}

/** Packages that do I/O, on disks and networks, and so need Node in every file. */
export const NODE_PACKAGES: readonly string[] = ['install-engine', 'publisher']

/** Every package and app, packages first, by name. */
export function members(): Member[] {
  return (['packages', 'apps'] as const).flatMap((group) =>
    readdirSync(join(root, group))
      .sort()
      .filter((folder) => existsSync(join(root, group, folder, 'package.json')))
      .map((folder) => {
        const path = join(root, group, folder)
        const manifest = JSON.parse(readFileSync(join(path, 'package.json'), 'utf8')) as PackageManifest
        return { group, folder, path, manifest }
      }),
  )
}

/** Every TypeScript file below a folder, as paths relative to it. */
export function sourceFiles(folder: string): string[] {
  if (!existsSync(folder)) return []
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts') && !name.endsWith('.d.ts') && !name.includes('node_modules'))
    .sort()
}

/** Every file that is in the repository or about to be, as paths from its root. */
export function trackedFiles(): string[] {
  const listed = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
  })
  const files = listed.split('\0').filter((name) => name !== '' && existsSync(join(root, name)))
  return [...new Set(files)].sort()
}

/** Prints findings and sets the exit code; says what was checked when there are none. */
export function report(what: string, findings: readonly string[]): void {
  for (const finding of findings) console.error(`  ${finding}`)
  console.log(findings.length === 0 ? `${what}: sound` : `${what}: ${findings.length} findings`)
  if (findings.length > 0) process.exitCode = 1
}
