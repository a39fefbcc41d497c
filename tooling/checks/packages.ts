/** Packs every package and app, checks each tarball, and installs each alone in an empty folder. */
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { writeLoneHome } from '../pack/lone-home.ts'
import { LEAST_TYPESCRIPT, packMember } from '../pack/pack-member.ts'
import { relativeLinks } from '../pack/shipped-documents.ts'
import { members, report, root, sourceFiles } from './workspace.ts'
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

function pack(member: Member): void {
  const { folder, manifest } = member
  const target = join(work, 'tarballs', folder)
  mkdirSync(target, { recursive: true })
  try {
    tarballs.set(manifest.name, packMember(member, target))
  } catch (error) {
    findings.push(`${folder}: ${(error as Error).message}`)
  }
}

/** What npm shows of a package leads somewhere. */
function checkContent(member: Member): void {
  const { folder, manifest } = member
  const tarball = tarballs.get(manifest.name)
  if (tarball === undefined) return
  const content = join(work, 'content', folder)
  mkdirSync(content, { recursive: true })
  if (!run(`${folder}: unpack`, content, 'tar', '-xzf', tarball, '--strip-components=1')) return
  for (const name of readdirSync(content, { recursive: true, encoding: 'utf8' })) {
    if (!name.endsWith('.md') || name === 'CHANGELOG.md') continue
    const links = relativeLinks({ path: name, text: readFileSync(join(content, name), 'utf8') })
    for (const link of links)
      if (!existsSync(join(content, link)))
        findings.push(`${folder}: ${name} in its tarball links to ${link}, which is not in it`)
  }
  if ((manifest.keywords ?? []).length < 3) findings.push(`${folder}: package.json needs keywords, three at least`)
}

/** Shown by one package: the same code packs all of them. */
const SAMPLE = 'm2pack-format'

/** The same sources give the same bytes. */
function packAgain(member: Member): void {
  const { folder, manifest } = member
  const tarball = tarballs.get(manifest.name)
  if (folder !== SAMPLE || tarball === undefined) return
  const again = join(work, 'again', folder)
  mkdirSync(again, { recursive: true })
  if (!readFileSync(packMember(member, again)).equals(readFileSync(tarball)))
    findings.push(`${folder}: packing it twice gives two different tarballs`)
}

function check({ folder, path, manifest }: Member): void {
  const tarball = tarballs.get(manifest.name)
  if (tarball === undefined) return
  run(`${folder}: publint`, path, 'publint', tarball, '--strict')
  // node10 resolution does not know subpath exports, and the packages are ESM on purpose.
  run(`${folder}: attw`, path, 'attw', tarball, '--profile', 'esm-only')
}

/** Other packages of the workspace that the examples import by name: their READMEs say to install them too. */
function companions(path: string, manifest: PackageManifest): string[] {
  const texts = sourceFiles(join(path, 'examples')).map((name) => readFileSync(join(path, 'examples', name), 'utf8'))
  const names = texts.flatMap((text) =>
    [...text.matchAll(/from '(@keyturn\/[a-z0-9-]+)/g)].map((match) => match[1] as string),
  )
  return names.filter((name) => name !== manifest.name && tarballs.has(name))
}

/** A TypeScript user's view of every entry point, with both kinds of module resolution that are in use. */
function typecheckConsumer(folder: string, home: string, manifest: PackageManifest): void {
  const lines = Object.entries(manifest.exports ?? {}).flatMap(([subpath, target], index) =>
    typeof target === 'string' ? [] : [`export * as entry${index} from '${manifest.name}${subpath.slice(1)}'`],
  )
  writeFileSync(join(home, 'consumer.ts'), `${lines.join('\n')}\n`)
  // A program of Node has no types of browsers, one with a bundler usually has.
  for (const [module, moduleResolution, lib] of [
    ['node16', 'node16', []],
    ['esnext', 'bundler', ['dom', 'dom.iterable', 'dom.asynciterable']],
  ] as const) {
    // No skipLibCheck: the declarations themselves must be right in any project.
    const options = {
      strict: true,
      noEmit: true,
      target: 'es2023',
      lib: ['es2024', ...lib],
      module,
      moduleResolution,
      types: ['node'],
    }
    writeFileSync(join(home, 'tsconfig.json'), JSON.stringify({ compilerOptions: options, files: ['consumer.ts'] }))
    run(`${folder}: TypeScript with moduleResolution ${moduleResolution}`, home, 'tsc', '-p', 'tsconfig.json')
  }
  if (lines.length > 0) typecheckOld(folder, home, manifest)
}

/** The oldest compiler that is supported agrees; the one before it prints what is needed. */
function typecheckOld(folder: string, home: string, manifest: PackageManifest): void {
  const compiler = (name: string): string => join(root, 'node_modules', name, 'bin/tsc')
  const options =
    '--strict --noEmit --target es2022 --lib esnext,dom,dom.iterable --module nodenext --types node'.split(' ')
  run(
    `${folder}: TypeScript ${LEAST_TYPESCRIPT}`,
    home,
    process.execPath,
    compiler('typescript-oldest'),
    ...options,
    '--skipLibCheck', // the declarations of Node are for newer compilers
    'consumer.ts',
  )
  if (folder !== SAMPLE) return
  writeFileSync(
    join(home, 'old.ts'),
    `import { anything } from '${manifest.name}'\nexport const text: string = anything\n`,
  )
  const old = spawnSync(process.execPath, [compiler('typescript-too-old'), ...options, 'old.ts'], {
    cwd: home,
    encoding: 'utf8',
  })
  if (!old.stdout.includes(`${manifest.name} needs TypeScript ${LEAST_TYPESCRIPT} or newer`))
    findings.push(`${folder}: a compiler that is too old is not told so:\n${old.stdout.slice(0, 600)}`)
}

/** Installs one tarball alone; the workspace packages it needs come from their tarballs too. */
function installAlone({ folder, path, manifest }: Member): void {
  const tarball = tarballs.get(manifest.name)
  if (tarball === undefined) return
  const home = join(work, 'install', folder)
  writeLoneHome(home, tarballs, [manifest.name, ...companions(path, manifest)], { '@types/node': '^24' })
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
  for (const member of all) checkContent(member)
  for (const member of all) packAgain(member)
  for (const member of all) if (process.argv[2] === undefined || process.argv[2] === member.folder) installAlone(member)
  report(`packages (${all.length})`, findings)
} finally {
  rmSync(work, { recursive: true, force: true })
}
