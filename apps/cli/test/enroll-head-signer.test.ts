import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises'
import { rolesInForce } from '@keyturn/publisher/records'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { command } from './support/command.ts'
import { SERVER, TEST_ENVIRONMENT } from './support/program.ts'
import { World } from './support/world.ts'

let world: World
const children: ChildProcess[] = []
beforeEach(async () => {
  world = await World.create()
})
afterEach(async () => {
  for (const child of children.splice(0).toReversed()) {
    child.kill('SIGTERM')
    if (child.exitCode === null) await once(child, 'exit')
  }
  await world.remove()
})

/** Runs `keyturn-server` and waits for its answer, which a program that goes on running gives when it is ready. */
async function keyturnServer(args: readonly string[]): Promise<Record<string, unknown>> {
  const env = {
    PATH: process.env['PATH'] ?? '',
    ...TEST_ENVIRONMENT,
    KEYTURN_DATA_DIR: world.path('server'),
    KEYTURN_LOG_REQUESTS: 'false',
    KEYTURN_HEAD_SIGNER: world.path('signer.sock'),
  }
  const child = spawn(process.execPath, [SERVER, '--json', ...args], { env, stdio: ['ignore', 'pipe', 'inherit'] })
  children.push(child)
  const line = await new Promise<string>((resolve, reject) => {
    let printed = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      printed += text
      if (printed.includes('\n')) resolve(printed.split('\n')[0] ?? '')
    })
    child.once('exit', () => reject(new Error(`keyturn-server ${args[0]} ended: ${printed}`)))
  })
  return (JSON.parse(line) as { data: Record<string, unknown> }).data
}

async function succeed(...args: string[]): Promise<Record<string, unknown>> {
  const answer = await command(world, args)
  if (!answer.ok) throw new Error(`${args.join(' ')}: ${JSON.stringify(answer.error)}`)
  return answer.data
}

async function headKeys(): Promise<readonly string[]> {
  const home = await world.home()
  return (await rolesInForce(home.paths, home.description.identity.prefix)).document.roles.head.keys
}

async function publish(text: string): Promise<void> {
  const tree = world.path(`tree-${text}`)
  await mkdir(tree, { recursive: true })
  await writeFile(world.path(`tree-${text}`, 'game.txt'), text)
  await succeed('release', 'prepare', tree)
  await succeed('release', 'sign')
  await succeed('release', 'offer')
  await succeed('release', 'publish')
}

describe('keyturn roles enroll-head-signer', () => {
  it('puts the key of a service in force, which then halts at once', async () => {
    const { url } = await keyturnServer(['serve', '--port', '0'])
    const { secret } = await keyturnServer(['token', 'create', '--name', 'admin', '--scope', 'admin'])
    await writeFile(world.path('token'), `${String(secret)}\n`, { mode: 0o600 })
    await (await world.home()).update({ server: String(url) })
    process.env['KEYTURN_TOKEN_FILE'] = world.path('token')
    try {
      await publish('good')
      await publish('bad')
      const { public_key: publicKey } = await keyturnServer(['head-signer-key', '--key-file', world.path('head.key')])
      expect((await stat(world.path('head.key'))).mode & 0o777).toBe(0o600)
      const enrolled = await succeed('roles', 'enroll-head-signer', '--public-key', String(publicKey))
      expect(enrolled).toMatchObject({ enrolled: true, public_key: publicKey, roles_version: 2 })
      expect(await headKeys()).toContain(publicKey)
      await keyturnServer([
        'head-signer',
        '--socket',
        world.path('signer.sock'),
        '--key-file',
        world.path('head.key'),
        '--server',
        String(url),
        '--pin',
        String(enrolled['pin']),
        '--socket-group',
      ])
      expect((await stat(world.path('signer.sock'))).mode & 0o777).toBe(0o660)
      // It has to have seen what everybody had before: as a service it runs all the time.
      await succeed('release', 'renew')
      const remembered = world.path('signer.sock.state', 'test', 'stable.json')
      await expect
        .poll(async () => await readFile(remembered, 'utf8').catch(() => ''), { timeout: 60_000 })
        .toContain('"offered":[{')
      await publish('worse')
      const halt = (): Promise<Response> =>
        fetch(`${String(url)}/v1/products/test/channels/stable:halt`, {
          method: 'POST',
          headers: { authorization: `Bearer ${String(secret)}`, 'content-type': 'application/json' },
          body: JSON.stringify({ reason: 'it crashes' }),
        })
      await expect.poll(async () => (await halt()).status, { timeout: 60_000 }).toBe(200)
      // Again: nothing to do.
      expect(await succeed('roles', 'enroll-head-signer', '--public-key', String(publicKey))).toMatchObject({
        roles_version: 2,
      })
    } finally {
      delete process.env['KEYTURN_TOKEN_FILE']
    }
  }, 300_000)

  it('makes the key itself when none is given, and a refused command leaves nothing behind', async () => {
    const keyFile = world.path('signer.key')
    const enroll = ['roles', 'enroll-head-signer', '--local', '--key-file', keyFile]
    await writeFile(keyFile, 'somebody else needs this\n', { mode: 0o600 })
    expect((await command(world, enroll)).error.code).toBe('CLI_EXISTS')
    expect(await readFile(keyFile, 'utf8')).toBe('somebody else needs this\n')
    const other = [...enroll.slice(0, -1), world.path('other.key')]
    await succeed('roles', 'propose', '--add-head', 'new')
    expect((await command(world, other)).error.code).toBe('CLI_TURN_UNREADY')
    await expect(stat(world.path('other.key'))).rejects.toThrow('ENOENT')
    await succeed('roles', 'seal', '--local')
    const before = await headKeys()
    expect((await command(world, [...other, '--dry-run'])).data).toMatchObject({ enrolled: false })
    await expect(stat(world.path('other.key'))).rejects.toThrow('ENOENT')
    const { public_key: publicKey } = await succeed(...other)
    expect(await headKeys()).toEqual([...before, publicKey])
    expect((await stat(world.path('other.key'))).mode & 0o777).toBe(0o600)
    expect((await command(world, ['roles', 'enroll-head-signer', '--public-key', 'beef'])).error.code).toBe('CLI_USAGE')
  }, 120_000)
})
