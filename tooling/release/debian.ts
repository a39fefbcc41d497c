import { createHash } from 'node:crypto'
import {
  chmodSync,
  copyFileSync,
  cpSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { root } from '../checks/workspace.ts'
import {
  controlFile,
  COPYRIGHT,
  CONFFILES,
  debianChangelog,
  newestSection,
  POSTINST,
  POSTRM,
  PRERM,
  settingsFile,
  SYSUSERS,
  unitFile,
} from './debian-texts.ts'
import { serverHelps, serverManual } from './manual.ts'
import { run } from './run.ts'

/** What Debian calls the processors for which npm has a plain Node. */
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' }
const HOME = 'usr/lib/keyturn-server'
const DOC = 'usr/share/doc/keyturn-server'
const OPERATIONS = join(root, 'docs/operations/files')

/** What the package of the server says of itself, as Debian writes it. */
interface Shipped {
  readonly version: string
  readonly homepage: string
  readonly bugs: { readonly url: string }
}

/** When the commit was made that is built. */
const commitMs = (): number => Number(run(root, 'git', 'log', '-1', '--format=%ct')) * 1000

function readServer(): Shipped {
  const text = readFileSync(join(root, 'apps/release-server/package.json'), 'utf8')
  const { version, homepage, bugs } = JSON.parse(text) as Partial<Shipped>
  if (version === undefined || homepage === undefined || bugs === undefined)
    throw new Error(
      'Cannot build a Debian package: run tooling/pack/set-repository.ts first, which says who to write to',
    )
  // A prerelease of npm comes before its version in Debian too.
  return { version: version.replace('-', '~'), homepage, bugs }
}

/** Replaces all but the dependencies of a package by the content of its tarball. */
function replaceByTarball(folder: string, tarball: string): void {
  for (const name of readdirSync(folder)) if (name !== 'node_modules') rmSync(join(folder, name), { recursive: true })
  run(folder, 'tar', '-xzf', tarball, '--strip-components=1', '--no-same-owner')
}

/** Removes what an installer notes for itself, and native code for other machines. */
function prune(home: string): void {
  const modules = join(home, 'node_modules')
  for (const name of readdirSync(modules)) if (name.startsWith('.')) rmSync(join(modules, name), { recursive: true })
  for (const entry of readdirSync(modules, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name)
    if (entry.name === '.bin') rmSync(path, { recursive: true })
    if (entry.isDirectory() && entry.parentPath.endsWith('/prebuilds') && entry.name !== `linux-${process.arch}`)
      rmSync(path, { recursive: true })
  }
}

/** The server as its tarball has it, with the dependencies of the lockfile and a Node of its own. */
function stageProgram(stage: string, tarballs: ReadonlyMap<string, string>): void {
  const home = join(stage, HOME)
  const deploy = ['--filter', '@keyturn/release-server', '--config.node-linker=hoisted', 'deploy', '--prod', '--legacy']
  run(root, 'pnpm', ...deploy, home)
  prune(home)
  replaceByTarball(home, tarballs.get('@keyturn/release-server') as string)
  const scope = join(home, 'node_modules/@keyturn')
  for (const name of readdirSync(scope)) replaceByTarball(join(scope, name), tarballs.get(`@keyturn/${name}`) as string)
  const node = join(root, 'node_modules', `node-linux-${process.arch}`)
  mkdirSync(join(home, 'bin'))
  copyFileSync(join(node, 'bin/node'), join(home, 'bin/node'))
  mkdirSync(join(stage, DOC), { recursive: true })
  copyFileSync(join(node, 'LICENSE'), join(stage, DOC, 'LICENSE.node'))
}

/** Debian's changelog has the newest version alone; what `CHANGELOG.md` says of all of them is beside it. */
function stageChangelogs(write: (path: string, content: Uint8Array) => void, stage: string, server: Shipped): void {
  const changelog = readFileSync(join(stage, HOME, 'CHANGELOG.md'), 'utf8')
  const facts = { version: server.version, section: newestSection(changelog), reports: server.bugs.url }
  write(`${DOC}/changelog.gz`, gzipSync(debianChangelog({ ...facts, timeMs: commitMs() }), { level: 9 }))
  write(`${DOC}/CHANGELOG.md.gz`, gzipSync(changelog, { level: 9 }))
}

function stageSystemFiles(stage: string, server: Shipped): void {
  const write = (path: string, content: string | Uint8Array): void => {
    mkdirSync(join(stage, path, '..'), { recursive: true })
    writeFileSync(join(stage, path), content)
  }
  const operations = (name: string): string => readFileSync(join(OPERATIONS, name), 'utf8')
  write('usr/bin/keyturn-server', `#!/bin/sh\nexec /${HOME}/bin/node /${HOME}/dist/main.js "$@"\n`)
  write('usr/lib/systemd/system/keyturn-server.service', unitFile(operations('keyturn-server.service')))
  write('usr/lib/sysusers.d/keyturn-server.conf', SYSUSERS)
  write('etc/keyturn/settings.json', settingsFile(operations('settings.json')))
  const manual = serverManual(
    server.version,
    serverHelps(join(stage, HOME, 'bin/node'), join(stage, HOME, 'dist/main.js')),
  )
  write('usr/share/man/man8/keyturn-server.8.gz', gzipSync(manual, { level: 9 }))
  write(`${DOC}/copyright`, COPYRIGHT)
  stageChangelogs(write, stage, server)
  write(`${DOC}/examples/keyturn-head-signer.service`, unitFile(operations('keyturn-head-signer.service')))
  for (const name of ['Caddyfile', 'nginx.conf', 'settings.json']) write(`${DOC}/examples/${name}`, operations(name))
}

/** Modes that say nothing of the machine that built: programs can be run, everything can be read. */
function setModes(stage: string): void {
  for (const entry of readdirSync(stage, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name)
    if (entry.isSymbolicLink()) continue
    const program = entry.isDirectory() || /\/(?:usr\/bin\/keyturn-server|bin\/node)$|\/DEBIAN\/p/.test(path)
    chmodSync(path, program ? 0o755 : 0o644)
  }
}

function stageControl(stage: string, { version, homepage, bugs }: Shipped): void {
  const files = readdirSync(stage, { recursive: true, encoding: 'utf8' })
    .filter((path) => lstatSync(join(stage, path)).isFile())
    .sort()
  const bytes = files.reduce((sum, path) => sum + lstatSync(join(stage, path)).size, 0)
  const sums = files
    .filter((path) => !CONFFILES.includes(`/${path}`))
    .map(
      (path) =>
        `${createHash('md5')
          .update(readFileSync(join(stage, path)))
          .digest('hex')}  ${path}\n`,
    )
  const control = join(stage, 'DEBIAN')
  mkdirSync(control)
  const facts = { version, architecture: ARCHITECTURES[process.arch] as string, bytes, homepage, reports: bugs.url }
  writeFileSync(join(control, 'control'), controlFile(facts))
  writeFileSync(join(control, 'conffiles'), CONFFILES.map((path) => `${path}\n`).join(''))
  writeFileSync(join(control, 'md5sums'), sums.join(''))
  for (const [name, text] of Object.entries({ postinst: POSTINST, prerm: PRERM, postrm: POSTRM }))
    writeFileSync(join(control, name), text)
}

/**
 * Builds the Debian package of the server for the processor of this machine. The same commit gives the same bytes.
 * @param tarballs every package, by name, as they are released.
 * @returns the name of the file in `folder`.
 */
export function buildDebianPackage(tarballs: ReadonlyMap<string, string>, folder: string): string {
  const architecture = ARCHITECTURES[process.arch]
  if (process.platform !== 'linux' || architecture === undefined)
    throw new Error(`Cannot build a Debian package on ${process.platform} ${process.arch}: there is no Node for it`)
  const server = readServer()
  const work = mkdtempSync(join(tmpdir(), 'keyturn-debian-'))
  try {
    const stage = join(work, 'stage')
    mkdirSync(stage)
    stageProgram(stage, tarballs)
    stageSystemFiles(stage, server)
    stageControl(stage, server)
    setModes(stage)
    chmodSync(stage, 0o755)
    const epoch = commitMs() / 1000
    run(stage, 'find', '.', '-exec', 'touch', '--no-dereference', `--date=@${epoch}`, '{}', '+')
    const name = `keyturn-server_${server.version}_${architecture}.deb`
    const options = [`SOURCE_DATE_EPOCH=${epoch}`, 'dpkg-deb', '--root-owner-group', '-Zxz', '-z3', '--threads-max=1']
    run(work, 'env', ...options, '--build', stage, join(work, name))
    cpSync(join(work, name), join(folder, name))
    return name
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}
