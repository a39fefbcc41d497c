/**
 * Tries the Debian package of the server in a chroot of Debian 12: `node tooling/release/campaign/debian.ts [DEB]`.
 *
 * It installs the package, publishes a release with the CLI of this checkout and upgrades over it, starts on the data
 * that each released version left, and purges. Without DEB it makes a whole dry run of a release first. Needs root and
 * `debootstrap`; `KEYTURN_DEBIAN_BASE` names the folder of a chroot to copy, in place of making one.
 */
import { spawn, spawnSync } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { root } from '../../checks/workspace.ts'
import { freePort } from './free-port.ts'
import { run } from '../run.ts'

const STATES = join(root, 'tooling/compatibility/states')
/** Passphrase of every committed state. */
const STATE_PASSPHRASE = 'a state that was published\n'
const DATA = 'var/lib/keyturn'
const PASSPHRASE = 'etc/keyturn/passphrase'
const START_MS = 60_000

function check(what: string, holds: boolean): void {
  if (!holds) throw new Error(`Does not hold: ${what}`)
  console.log(`  checked: ${what}`)
}

/** One Debian, and the server in it. Nothing of systemd runs here: the service is started as its unit would. */
class Machine {
  readonly path: string
  url = ''
  #server: ChildProcess | undefined

  constructor(path: string, base: string) {
    this.path = path
    run('/', 'cp', '--archive', base, path)
  }

  run(...command: readonly string[]): string {
    return run('/', 'chroot', this.path, ...command)
  }

  asService(...command: readonly string[]): string {
    return run('/', 'chroot', '--userspec=keyturn:keyturn', this.path, 'env', `KEYTURN_DATA_DIR=/${DATA}`, ...command)
  }

  /** @returns what dpkg and the scripts of the package print. */
  install(deb: string): string {
    cpSync(deb, join(this.path, 'root', basename(deb)))
    return this.run('dpkg', '--install', `/root/${basename(deb)}`)
  }

  async start(): Promise<void> {
    const credentials = '/run/credentials/keyturn-server.service'
    this.run('install', '-d', '-o', 'keyturn', '-m', '0700', '/run/credentials', credentials)
    this.run('install', '-o', 'keyturn', '-m', '0400', `/${PASSPHRASE}`, `${credentials}/passphrase`)
    const port = await freePort()
    this.url = `http://127.0.0.1:${port}`
    const unit = readFileSync(join(this.path, 'usr/lib/systemd/system/keyturn-server.service'), 'utf8')
    const command = /^ExecStart=(.*)$/m.exec(unit)?.[1]?.split(' ') ?? []
    const server = spawn('chroot', ['--userspec=keyturn:keyturn', this.path, ...command], {
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', NODE_ENV: 'production', KEYTURN_PORT: String(port) },
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    let said = ''
    server.stderr?.on('data', (chunk: Buffer) => (said += chunk.toString()))
    this.#server = server
    for (const started = Date.now(); Date.now() - started < START_MS && server.exitCode === null; await delay(200)) {
      const answer = await fetch(`${this.url}/readyz`).catch(() => undefined)
      if (answer?.ok === true) return
    }
    throw new Error(`The server in the chroot is not ready (exit code ${server.exitCode}): ${said}`)
  }

  async stop(): Promise<void> {
    const server = this.#server
    this.#server = undefined
    if (server === undefined || server.exitCode !== null) return
    const ended = new Promise<number | null>((resolve) => server.once('exit', (code) => resolve(code)))
    server.kill('SIGTERM')
    check('the server ends with 0 on SIGTERM', (await ended) === 0)
  }

  async manifest(): Promise<string> {
    const answer = await fetch(`${this.url}/manifest.json`)
    if (!answer.ok) throw new Error(`GET /manifest.json was answered ${answer.status}`)
    return await answer.text()
  }
}

/** Publishes one release with the command line of this checkout. */
function publish(machine: Machine, folder: string, name: string, text: string): void {
  const at = (...parts: readonly string[]): string => join(folder, ...parts)
  const first = !existsSync(at('home'))
  const keyturn = (...words: readonly string[]): string => {
    const globals = ['--json', '--yes', '--home', at('home'), '--passphrase-file', at('passphrase')]
    return run(root, 'node', 'bin/keyturn', ...words, ...globals)
  }
  mkdirSync(at('source'), { recursive: true })
  writeFileSync(at('source/file.txt'), text)
  if (first) {
    writeFileSync(at('passphrase'), 'of a test\n', { mode: 0o600 })
    const words = ['token', 'create', '--name', 'admin', '--scope', 'admin', '--days', '1', '--json']
    const token = /kt_\S+?(?=")|"(?:secret|token)":\s*"([^"]+)"/.exec(machine.asService('keyturn-server', ...words))
    writeFileSync(at('token'), token?.[1] ?? token?.[0] ?? '', { mode: 0o600 })
    keyturn('init', '--product', 'game')
  }
  keyturn('pack', 'tree', '--input', at('source'), '--output', at('trees', name))
  keyturn('release', 'prepare', at('trees', name))
  keyturn('release', 'sign')
  keyturn('release', 'head')
  keyturn('release', 'publish', '--server', machine.url, '--token-file', at('token'))
}

/** The same package under an earlier version, so that an upgrade has something to start from. */
function earlierPackage(deb: string, work: string): string {
  const stage = join(work, 'earlier')
  run(work, 'dpkg-deb', '--raw-extract', deb, stage)
  const control = join(stage, 'DEBIAN/control')
  writeFileSync(control, readFileSync(control, 'utf8').replace(/^Version: (.*)$/m, 'Version: $1~earlier'))
  const earlier = join(work, 'keyturn-server_earlier.deb')
  run(work, 'dpkg-deb', '--root-owner-group', '-Zgzip', '-z1', '--build', stage, earlier)
  rmSync(stage, { recursive: true })
  return earlier
}

/** Installs, publishes, upgrades and publishes again, and purges. */
async function ownData(machine: Machine, deb: string, work: string): Promise<void> {
  machine.install(earlierPackage(deb, work))
  const settings = join(machine.path, 'etc/keyturn/settings.json')
  const edited = readFileSync(settings, 'utf8').replace('{', '{\n  "KEYTURN_KEEP_WHOLE": 3,')
  writeFileSync(settings, edited)
  const passphrase = readFileSync(join(machine.path, PASSPHRASE), 'utf8')
  check('its manual page is there', existsSync(join(machine.path, 'usr/share/man/man8/keyturn-server.8.gz')))
  await machine.start()
  publish(machine, join(work, 'publisher'), '1', 'first')
  const before = await machine.manifest()
  await machine.stop()
  // Installing over it asks nothing: the file that the operator changed stays.
  machine.install(deb)
  check('an upgrade keeps edited settings', readFileSync(settings, 'utf8') === edited)
  check('an upgrade keeps the passphrase', readFileSync(join(machine.path, PASSPHRASE), 'utf8') === passphrase)
  await machine.start()
  check('a release that was published before the upgrade is served', (await machine.manifest()) === before)
  publish(machine, join(work, 'publisher'), '2', 'second')
  check('a release is published after the upgrade', (await machine.manifest()) !== before)
  await machine.stop()
  machine.asService('keyturn-server', 'fsck')
  const kept = readdirSync(join(machine.path, DATA), { recursive: true }).length
  machine.run('dpkg', '--purge', 'keyturn-server')
  check('a purge removes the program', !existsSync(join(machine.path, 'usr/lib/keyturn-server')))
  check('a purge leaves the data', readdirSync(join(machine.path, DATA), { recursive: true }).length === kept)
  check('a purge leaves the passphrase', readFileSync(join(machine.path, PASSPHRASE), 'utf8') === passphrase)
  machine.install(deb)
  await machine.start()
  check('an installation after a purge serves the data', (await machine.manifest()) !== before)
  await machine.stop()
}

/** The data that a released version left is served by the package. */
async function releasedData(machine: Machine, deb: string, version: string): Promise<void> {
  mkdirSync(join(machine.path, 'etc/keyturn'), { recursive: true })
  writeFileSync(join(machine.path, PASSPHRASE), STATE_PASSPHRASE, { mode: 0o600 })
  machine.install(deb)
  check('an installation keeps a passphrase', readFileSync(join(machine.path, PASSPHRASE), 'utf8') === STATE_PASSPHRASE)
  cpSync(join(STATES, version, 'server'), join(machine.path, DATA), { recursive: true })
  machine.run('chown', '--recursive', 'keyturn:keyturn', `/${DATA}`)
  machine.run('chmod', '--recursive', 'u=rwX,go=', `/${DATA}`)
  await machine.start()
  const manifest = await machine.manifest()
  check(`the manifest of ${version} is served`, manifest.length > 0)
  const blobs = readdirSync(join(STATES, version, 'server/blobs/files'), { recursive: true, encoding: 'utf8' })
  const files = blobs.filter((name) => /\/[0-9a-f]{64}$/.test(name))
  for (const name of files) {
    const answer = await fetch(`${machine.url}/files/${name}`)
    const digest = createHash('sha256')
      .update(new Uint8Array(await answer.arrayBuffer()))
      .digest('hex')
    if (!name.endsWith(digest)) throw new Error(`GET /files/${name} was answered ${answer.status}, other bytes`)
  }
  check(`its ${files.length} files are served with their bytes`, files.length > 0)
  await machine.stop()
  machine.asService('keyturn-server', 'fsck')
  check(`fsck finds the data of ${version} sound`, true)
}

/** What the chroot needs and this machine lacks. */
function missingHere(): string[] {
  const programs = ['debootstrap', 'dpkg-deb', 'chroot'].filter((name) => spawnSync('which', [name]).status !== 0)
  return process.getuid?.() === 0 ? programs : ['root', ...programs]
}

/** The package of a whole dry run; undefined where the machine cannot build it. */
function dryRunPackage(work: string): string | undefined {
  const folder = join(work, 'release')
  const words = ['--dry-run', '--address', 'https://example.org/keyturn/keyturn', '--folder', folder]
  console.log(run(root, 'node', 'tooling/release/release.ts', ...words))
  const name = readdirSync(folder).find((file) => file.endsWith('.deb'))
  return name === undefined ? undefined : join(folder, name)
}

async function tryPackage(deb: string, work: string): Promise<void> {
  const base = process.env['KEYTURN_DEBIAN_BASE'] ?? join(work, 'base')
  if (!existsSync(base)) {
    const included = '--include=ca-certificates,systemd-standalone-sysusers'
    run(work, 'debootstrap', '--variant=minbase', included, 'bookworm', base)
  }
  const machines: Machine[] = []
  const machine = (name: string): Machine => {
    const made = new Machine(join(work, name), base)
    machines.push(made)
    return made
  }
  try {
    for (const version of readdirSync(STATES)) await releasedData(machine(`state-${version}`), deb, version)
    await ownData(machine('own'), deb, work)
  } finally {
    for (const made of machines) await made.stop()
  }
}

const work = mkdtempSync(join(tmpdir(), 'keyturn-debian-campaign-'))
try {
  const deb = process.argv[2] ?? dryRunPackage(work)
  const missing = missingHere()
  if (missing.length > 0 || deb === undefined)
    console.log(`not tried here: the Debian package in a chroot needs ${missing.join(', ')}`)
  else await tryPackage(deb, work)
} finally {
  rmSync(work, { recursive: true, force: true })
}
