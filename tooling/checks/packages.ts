/** Packs every package and app, checks each tarball, and installs each alone in an empty folder. */
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { members, report, sourceFiles } from './workspace.ts'
import type { Member, PackageManifest } from './workspace.ts'

/** For a step that hangs; long enough for a busy machine. */
const TIMEOUT_MS = 900_000
const findings: string[] = []

function run(what: string, cwd: string, program: string, ...args: readonly string[]): boolean {
  const { status, stdout, stderr, error } = spawnSync(program, args, { cwd, encoding: 'utf8', timeout: TIMEOUT_MS })
  if (status !== 0) findings.push(`${what} failed:\n${stdout ?? ''}${stderr ?? ''}${error?.message ?? ''}`)
  return status === 0
}

const work = mkdtempSync(join(tmpdir(), 'keyturn-packages-'))
const tarballs = new Map<string, string>()

function pack({ folder, path, manifest }: Member): void {
  const target = join(work, 'tarballs', folder)
  mkdirSync(target, { recursive: true })
  if (!run(`${folder}: pack`, path, 'pnpm', 'pack', '--pack-destination', target)) return
  const name = readdirSync(target).find((file) => file.endsWith('.tgz'))
  if (name === undefined) findings.push(`${folder}: pack left no tarball`)
  else tarballs.set(manifest.name, join(target, name))
}

function check({ folder, path, manifest }: Member): void {
  const tarball = tarballs.get(manifest.name)
  if (tarball === undefined) return
  run(`${folder}: publint`, path, 'publint', tarball, '--strict')
  // node10 resolution does not know subpath exports, and the packages are ESM on purpose.
  run(`${folder}: attw`, path, 'attw', tarball, '--profile', 'esm-only')
}

/** Other packages of the workspace that the examples import by name: their READMEs say to install them too. */
function companions(path: string, manifest: PackageManifest): Record<string, string> {
  const texts = sourceFiles(join(path, 'examples')).map((name) => readFileSync(join(path, 'examples', name), 'utf8'))
  const names = texts.flatMap((text) =>
    [...text.matchAll(/from '(@keyturn\/[a-z0-9-]+)/g)].map((match) => match[1] as string),
  )
  const others = names.filter((name) => name !== manifest.name && tarballs.has(name))
  return Object.fromEntries(others.map((name) => [name, `file:${tarballs.get(name)}`]))
}

/** A TypeScript user's view of every entry point, with both kinds of module resolution that are in use. */
function typecheckConsumer(folder: string, home: string, manifest: PackageManifest): void {
  const lines = Object.entries(manifest.exports ?? {}).flatMap(([subpath, target], index) =>
    typeof target === 'string' ? [] : [`export * as entry${index} from '${manifest.name}${subpath.slice(1)}'`],
  )
  writeFileSync(join(home, 'consumer.ts'), `${lines.join('\n')}\n`)
  for (const [module, moduleResolution] of [
    ['node16', 'node16'],
    ['esnext', 'bundler'],
  ] as const) {
    // No skipLibCheck: the declarations themselves must be right in any project.
    const options = {
      strict: true,
      noEmit: true,
      target: 'es2023',
      lib: ['es2024', 'dom', 'dom.iterable', 'dom.asynciterable'],
      module,
      moduleResolution,
      types: ['node'],
    }
    writeFileSync(join(home, 'tsconfig.json'), JSON.stringify({ compilerOptions: options, files: ['consumer.ts'] }))
    run(`${folder}: TypeScript with moduleResolution ${moduleResolution}`, home, 'tsc', '-p', 'tsconfig.json')
  }
}

/** Installs one tarball alone; the workspace packages it needs come from their tarballs too. */
function installAlone({ folder, path, manifest }: Member): void {
  const tarball = tarballs.get(manifest.name)
  if (tarball === undefined) return
  const home = join(work, 'install', folder)
  mkdirSync(home, { recursive: true })
  const overrides = Object.fromEntries([...tarballs].map(([name, file]) => [name, `file:${file}`]))
  writeFileSync(
    join(home, 'package.json'),
    JSON.stringify({
      name: 'alone',
      private: true,
      type: 'module',
      dependencies: { [manifest.name]: `file:${tarball}`, ...companions(path, manifest) },
      devDependencies: { '@types/node': '^24' },
    }),
  )
  const settings = [
    'packages: []',
    'overrides:',
    ...Object.entries(overrides).map(([name, file]) => `  '${name}': '${file}'`),
  ]
  writeFileSync(join(home, 'pnpm-workspace.yaml'), `${settings.join('\n')}\n`)
  if (!run(`${folder}: install alone`, home, 'pnpm', 'install', '--prefer-offline', '--ignore-scripts')) return
  for (const [subpath, target] of Object.entries(manifest.exports ?? {})) {
    if (typeof target === 'string') continue
    const specifier = manifest.name + subpath.slice(1)
    run(
      `${folder}: import ${specifier}`,
      home,
      process.execPath,
      '--input-type=module',
      '-e',
      `await import('${specifier}')`,
    )
  }
  if (existsSync(join(path, 'examples'))) {
    cpSync(join(path, 'examples'), join(home, 'examples'), { recursive: true })
    for (const name of sourceFiles(join(home, 'examples'))) {
      run(`${folder}: example ${name} alone`, home, process.execPath, join('examples', name))
    }
  }
  typecheckConsumer(folder, home, manifest)
  for (const name of Object.keys(manifest.bin ?? {}))
    run(`${folder}: ${name} --version`, home, join(home, 'node_modules/.bin', name), '--version')
}

try {
  const all = members().filter(({ manifest }) => manifest.private !== true)
  for (const member of all) pack(member)
  for (const member of all) check(member)
  for (const member of all) if (process.argv[2] === undefined || process.argv[2] === member.folder) installAlone(member)
  report(`packages (${all.length})`, findings)
} finally {
  rmSync(work, { recursive: true, force: true })
}
