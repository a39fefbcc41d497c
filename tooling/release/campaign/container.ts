/**
 * Builds the container image of the server from its Containerfile, and starts it:
 * `node tooling/release/campaign/container.ts`.
 *
 * Needs root, `buildah` and `debootstrap`, and no image registry: the base image is Debian 12 with the Node of this
 * workspace and the npm of this machine. `KEYTURN_DEBIAN_BASE` names the folder of a Debian to copy, in place of making
 * one. Takes about five minutes.
 */
import { spawn, spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdtempSync, realpathSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { root } from '../../checks/workspace.ts'
import { freePort } from './free-port.ts'
import { run } from '../run.ts'

const BASE = 'docker.io/library/node:24-slim'
const START_MS = 120_000

process.env['STORAGE_DRIVER'] = 'vfs'
process.env['BUILDAH_ISOLATION'] = 'chroot'

function check(what: string, holds: boolean): void {
  if (!holds) throw new Error(`Does not hold: ${what}`)
  console.log(`  checked: ${what}`)
}

/** The arguments by which every call of buildah stays in one folder. */
const within = (work: string): readonly string[] => ['--root', join(work, 'images'), '--runroot', join(work, 'run')]

/** Makes what stands for the base image. */
function makeBase(work: string): void {
  const buildah = (...words: readonly string[]): string => run('/', 'buildah', ...within(work), ...words).trim()
  const debian = process.env['KEYTURN_DEBIAN_BASE'] ?? join(work, 'debian')
  if (!existsSync(debian)) run(work, 'debootstrap', '--variant=minbase', 'bookworm', debian)
  const container = buildah('from', 'scratch')
  const place = buildah('mount', container)
  run('/', 'cp', '--archive', `${debian}/.`, place)
  const local = join(place, 'usr/local')
  cpSync(join(root, `node_modules/node-linux-${process.arch}/bin/node`), join(local, 'bin/node'))
  const npm = dirname(dirname(realpathSync(run('/', 'sh', '-c', 'command -v npm').trim())))
  run('/', 'mkdir', '--parents', join(local, 'lib/node_modules'))
  run('/', 'cp', '--archive', npm, join(local, 'lib/node_modules'))
  for (const name of ['npm', 'npx']) symlinkSync(`../lib/node_modules/npm/bin/${name}-cli.js`, join(local, 'bin', name))
  const authorities = process.env['NODE_EXTRA_CA_CERTS']
  if (authorities !== undefined) {
    cpSync(authorities, join(place, 'etc/extra-ca.crt'))
    buildah('config', '--env', 'NODE_EXTRA_CA_CERTS=/etc/extra-ca.crt', container)
  }
  buildah('umount', container)
  buildah('commit', '--quiet', container, BASE)
  buildah('rm', container)
}

/** Starts the server of the image as its user, asks whether it is ready, and ends it. */
async function tryImage(work: string): Promise<void> {
  const container = run('/', 'buildah', ...within(work), 'from', 'localhost/keyturn-server').trim()
  const words = (...more: readonly string[]): string[] => [...within(work), 'run', ...more]
  // By the exit code: what a command prints may be cut off when it ends on a busy machine.
  const holds = (test: string): boolean =>
    spawnSync('buildah', words(container, '--', 'sh', '-c', test), { cwd: '/' }).status === 0
  check('it runs under a user of its own', holds('test "$(id --user)" = 10001'))
  check('it says its version', holds('node /app/dist/main.js --version | grep -Eq "^[0-9]+[.][0-9]+[.][0-9]+"'))
  const port = await freePort()
  const serve = words('--env', `KEYTURN_PORT=${port}`, container, '--', 'node', '/app/dist/main.js', 'serve')
  const server = spawn('buildah', serve, { stdio: 'ignore', detached: true })
  try {
    let answer: Response | undefined
    for (const began = Date.now(); answer?.ok !== true && Date.now() - began < START_MS; await delay(500))
      answer = await fetch(`http://127.0.0.1:${port}/readyz`).catch(() => undefined)
    check('it answers at /readyz', answer?.ok === true)
  } finally {
    if (server.pid !== undefined) process.kill(-server.pid, 'SIGTERM')
  }
}

const missing = ['buildah', 'debootstrap'].filter((name) => spawnSync('which', [name]).status !== 0)
if (process.getuid?.() !== 0) missing.push('root')
if (missing.length > 0) console.log(`not tried here: the container image needs ${missing.join(', ')}`)
else {
  const work = mkdtempSync(join(tmpdir(), 'keyturn-container-'))
  try {
    makeBase(work)
    const file = join(root, 'docs/operations/files/Containerfile')
    run(
      root,
      'buildah',
      ...within(work),
      'bud',
      '--pull-never',
      '--format',
      'docker',
      '-f',
      file,
      '-t',
      'keyturn-server',
      '.',
    )
    const image = run('/', 'buildah', ...within(work), 'inspect', '--type', 'image', 'localhost/keyturn-server')
    check('it has its version as a label', /org\.opencontainers\.image\.version/.test(image))
    check('it has a health check', image.includes('Healthcheck'))
    await tryImage(work)
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}
