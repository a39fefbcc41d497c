import { execFile, spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { chmod, chown, mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** A server that tests started. */
export interface Service {
  readonly url: string
  stop(): Promise<void>
}

/** A port of this machine that nobody uses now. */
export async function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer().once('error', reject)
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address()
      probe.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0))
    })
  })
}

function postgresBin(): string | undefined {
  const root = '/usr/lib/postgresql'
  const versions = existsSync(root) ? readdirSync(root).sort((a, b) => Number(b) - Number(a)) : []
  return versions.map((version) => join(root, version, 'bin')).find((bin) => existsSync(join(bin, 'initdb')))
}

/** PostgreSQL refuses to run as root: then it runs as the user its package made. */
async function postgresUser(): Promise<{ uid: number; gid: number } | undefined> {
  if (process.getuid?.() !== 0) return undefined
  const id = async (flag: string): Promise<number> => Number((await run('id', [flag, 'postgres'])).stdout)
  return { uid: await id('-u'), gid: await id('-g') }
}

/**
 * A real PostgreSQL: the one of KEYTURN_TEST_DATABASE_URL, else one brought up here; undefined when none is installed.
 */
export async function startPostgres(): Promise<Service | undefined> {
  const given = process.env['KEYTURN_TEST_DATABASE_URL']
  if (given !== undefined) return { url: given, stop: async () => undefined }
  const bin = postgresBin()
  if (bin === undefined) return undefined
  const user = await postgresUser().catch(() => undefined)
  if (user === undefined && process.getuid?.() === 0) return undefined
  const folder = await mkdtemp(join(tmpdir(), 'keyturn-postgres-'))
  if (user !== undefined) await chown(folder, user.uid, user.gid)
  await chmod(folder, 0o700)
  await run(
    join(bin, 'initdb'),
    ['-D', join(folder, 'data'), '-U', 'keyturn', '-A', 'trust', '-E', 'UTF8', '--no-sync'],
    { ...user, cwd: folder },
  )
  const port = await freePort()
  const server = spawn(
    join(bin, 'postgres'),
    [
      '-D',
      join(folder, 'data'),
      '-p',
      String(port),
      '-k',
      folder,
      '-c',
      'listen_addresses=127.0.0.1',
      '-c',
      'fsync=off',
      '-c',
      'max_connections=200',
    ],
    { ...user, cwd: folder, stdio: 'ignore' },
  )
  const url = `postgres://keyturn@127.0.0.1:${port}/postgres`
  await until(() => run(join(bin, 'pg_isready'), ['-h', '127.0.0.1', '-p', String(port)]))
  return {
    url,
    stop: async () => {
      await ended(server, 'SIGINT')
      await rm(folder, { recursive: true, force: true })
    },
  }
}

/** Ends a process and waits until it has ended. */
export async function ended(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const over = new Promise((resolve) => child.once('exit', resolve))
  child.kill(signal)
  await over
}

/** Waits until a check passes. */
export async function until(check: () => Promise<unknown>, timeoutMs = 60_000): Promise<void> {
  const end = Date.now() + timeoutMs
  for (;;) {
    try {
      await check()
      return
    } catch (error) {
      if (Date.now() > end) throw error
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
}
