import { spawn, spawnSync } from 'node:child_process'
import { chmod, chown, readFile, stat, writeFile } from 'node:fs/promises'
import { createConnection } from 'node:net'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { startDaemon } from '../src/daemon/daemon.ts'
import type { Daemon } from '../src/daemon/daemon.ts'
import { temporaryFolder, treeFetch } from '../../../packages/install-engine/test/support/install.ts'
import { NOW, Publisher } from '../../../packages/install-engine/test/support/publisher.ts'

// Another account of the same machine. The test has to be root to become somebody else.

/** Neither of them is anybody. */
const [somebody, owner] = [65_533, 65_532]
const become = (uid: number): string[] => [`--reuid=${uid}`, `--regid=${uid}`, '--clear-groups', '--', process.execPath]
const isRoot = process.platform === 'linux' && process.getuid?.() === 0
const canTry =
  isRoot && spawnSync('setpriv', [...become(somebody), '-e', ''], { cwd: '/', stdio: 'ignore' }).status === 0
if (!canTry) console.info('Another user on the socket: skipped, it needs root, setpriv, and a Node that others may run')

let running: Daemon | undefined
afterEach(async () => {
  await running?.close()
  running = undefined
})

/** Runs a script of Node as another user, without any of root's rights; its stdout. */
async function asUser(uid: number, script: string, ...args: string[]): Promise<string> {
  const child = spawn('setpriv', [...become(uid), '--input-type=module', '-e', script, ...args], {
    env: {},
    cwd: '/',
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let text = ''
  child.stdout.setEncoding('utf8').on('data', (part: string) => {
    text += part
  })
  await new Promise((resolve) => child.once('close', resolve))
  return text.trim()
}

const speak = `
import { request } from 'node:http'
const [path, token] = process.argv.slice(1)
const asked = request({ socketPath: path, path: '/api/status', headers: token === undefined ? {} : { authorization: 'Bearer ' + token } }, (answer) => { answer.resume(); answer.on('end', () => console.log(answer.statusCode)) })
asked.on('error', (error) => console.log(error.code))
asked.end()`

const read = `
import { readFileSync } from 'node:fs'
try { readFileSync(process.argv[1]); console.log('read') } catch (error) { console.log(error.code) }`

describe.skipIf(!canTry)('another user of the machine', () => {
  async function start(socketName?: string): Promise<{ daemon: Daemon; folder: string; socket: string | undefined }> {
    const publisher = await Publisher.create()
    await publisher.release({ 'a.txt': 'one' })
    const folder = await temporaryFolder()
    await chmod(folder, 0o755) // what keeps the other user out is not the folder
    const socket = socketName === undefined ? undefined : join(folder, socketName)
    running = await startDaemon({
      folder,
      check: false,
      settings: { server: 'http://releases.test/', trust: publisher.trust },
      ...(socket === undefined ? {} : { socket }),
      engine: { fetch: treeFetch(publisher.tree), clock: () => NOW + 1000 },
    })
    return { daemon: running, folder, socket }
  }

  it('cannot connect to the socket, with the token or without (row 228)', async () => {
    const { daemon, socket = '' } = await start('api.sock')
    expect((await stat(socket)).mode & 0o777).toBe(0o600)
    expect(await asUser(somebody, speak, socket)).toBe('EACCES')
    expect(await asUser(somebody, speak, socket, daemon.token)).toBe('EACCES')
    await chown(socket, owner, owner) // its owner gets through to the check of the token
    expect(await asUser(owner, speak, socket)).toBe('403')
    expect(await asUser(owner, speak, socket, daemon.token)).toBe('200')
  })

  it('finds the socket closed at every moment of its birth (row 228)', async () => {
    const folder = await temporaryFolder()
    await chmod(folder, 0o755)
    const socket = join(folder, 'api.sock')
    const ready = join(folder, 'ready')
    await writeFile(ready, '')
    await chmod(ready, 0o666)
    // The other user tries without a pause, from before there is a socket until long after.
    const trying = asUser(
      somebody,
      `
      import { createConnection } from 'node:net'
      import { appendFileSync } from 'node:fs'
      const seen = {}
      const tryOnce = () => new Promise((resolve) => { const socket = createConnection(process.argv[1]); socket.on('connect', () => { socket.destroy(); resolve('in') }); socket.on('error', (error) => resolve(error.code)) })
      let closed = 0
      while (closed < 200) { const how = await tryOnce(); if (Object.keys(seen).length === 0) appendFileSync(process.argv[2], 'x'); seen[how] = 1; if (how === 'EACCES') closed += 1 }
      console.log(Object.keys(seen).sort().join(' '))`,
      socket,
      ready,
    )
    await expect.poll(async () => (await readFile(ready)).length, { timeout: 60_000 }).toBeGreaterThan(0)
    const publisher = await Publisher.create()
    await publisher.release({ 'a.txt': 'one' })
    running = await startDaemon({
      folder,
      check: false,
      socket,
      settings: { server: 'http://releases.test/', trust: publisher.trust },
      engine: { fetch: treeFetch(publisher.tree), clock: () => NOW + 1000 },
    })
    expect(await trying).toBe('EACCES ENOENT')
    await new Promise<void>((resolve, reject) =>
      createConnection(socket).on('connect', resolve).on('error', reject).unref(),
    )
  })

  it('reads neither token nor trust nor log, and the port without the token says no (row 228)', async () => {
    const { daemon, folder } = await start()
    for (const name of ['api.json', 'settings.json', 'daemon.lock'])
      expect(await asUser(somebody, read, join(folder, '.updates', name)), name).toBe('EACCES')
    expect((await stat(join(folder, '.updates'))).mode & 0o777).toBe(0o700)
    expect(
      await asUser(
        somebody,
        `const answer = await fetch(process.argv[1]); console.log(answer.status)`,
        `${daemon.address}api/status`,
      ),
    ).toBe('403')
  })
})
