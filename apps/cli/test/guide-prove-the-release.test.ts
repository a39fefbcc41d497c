import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { SERVER, TEST_ENVIRONMENT } from './support/program.ts'
import { putKeyturn, shell } from './support/shell.ts'
import { World } from './support/world.ts'

const GUIDE = fileURLToPath(new URL('../../../docs/guides/prove-the-release.md', import.meta.url))
const OWN = 'updates.example.org'
/** Whose servers are witnesses in the guide. */
const FRIENDS = ['friend', 'guild', 'studio'] as const

let world: World
let hook: Server
const hooks: string[] = []
const running = new Map<string, { child: ChildProcess; url: string; port: number }>()

beforeEach(async () => {
  world = await World.create()
  hook = createServer((request, response) => {
    let text = ''
    request.setEncoding('utf8').on('data', (part: string) => (text += part))
    request.once('end', () => {
      hooks.push(text)
      response.end()
    })
  })
  await new Promise<void>((resolve) => hook.listen(0, '127.0.0.1', resolve))
})
afterEach(async () => {
  for (const name of running.keys()) await stop(name)
  hook.close()
  await world.remove()
})

function serverEnvironment(name: string, settings: Readonly<Record<string, string>>): Record<string, string> {
  return {
    PATH: process.env['PATH'] ?? '',
    ...TEST_ENVIRONMENT,
    KEYTURN_LOG_REQUESTS: 'false',
    KEYTURN_PORT: String(running.get(name)?.port ?? 0),
    KEYTURN_DATA_DIR: world.path(`server-${name}`),
    KEYTURN_PASSPHRASE_FILE: world.path('passphrase'),
    ...settings,
  }
}

/** Starts `keyturn-server` with the settings that the guide shows; on the port that it had before. */
async function start(name: string, settings: Readonly<Record<string, string>>): Promise<string> {
  const child = spawn(process.execPath, ['--no-warnings', SERVER, 'serve'], {
    env: serverEnvironment(name, settings),
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const url = await new Promise<string>((resolve, reject) => {
    child.once('exit', (code) => reject(new Error(`The server ${name} ended with ${code}`)))
    child.stdout.once('data', (part: Buffer) => resolve(/http:\/\/[^\s"]+/.exec(part.toString())?.[0] ?? ''))
  })
  running.set(name, { child, url, port: Number(new URL(url).port) })
  return url
}

async function stop(name: string): Promise<void> {
  const { child } = running.get(name) ?? {}
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
  await new Promise((resolve) => {
    child.removeAllListeners('exit').once('exit', resolve)
    child.kill('SIGTERM')
  })
}

async function succeed(script: string): Promise<string> {
  const { code, output } = await shell(world, script)
  expect(code, output).toBe(0)
  return output
}

/** The lines `NAME=value` of a block. */
const settingsOf = (block: string): Record<string, string> =>
  Object.fromEntries([...block.matchAll(/^([A-Z_]+)=(.*)$/gm)].map(([, name = '', value = '']) => [name, value]))

async function lineAt(url: string): Promise<string> {
  for (;;) {
    const answer = await fetch(url)
    if (answer.status === 200) return (await answer.text()).trim()
    await sleep(50)
  }
}

/** Makes the release of a version, as the reader does every week. */
const ship = (version: string): string =>
  `echo ${version} > game/client/data/v.txt && (cd game && keyturn ship --version-name ${version})`

it('docs/guides/prove-the-release.md does what it says, settings and policy included (row 389)', async () => {
  const text = await readFile(GUIDE, 'utf8')
  const blocks = [...text.matchAll(/```(sh|text)\n([\s\S]*?)```/g)].map(([, kind, block = '']) => ({ kind, block }))
  const [keep, witness, policy] = blocks.filter(({ kind }) => kind === 'text').map(({ block }) => block)
  const [seal, closeGap, watch] = blocks.filter(({ kind }) => kind === 'sh').map(({ block }) => block)
  // What the reader has: a server with a vault, a home, a client.
  await putKeyturn(world.folder, '--yes')
  await mkdir(world.path('game'))
  await cp(await world.source(), world.path('game/client'), { recursive: true })
  await writeFile(world.path('game/keyturn.json'), '{"schema": 1, "source": "client"}')
  const token = spawn(
    process.execPath,
    ['--no-warnings', SERVER, 'token', 'create', '--name', 't', '--scope', 'admin'],
    {
      env: serverEnvironment('own', {}),
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  )
  const secret = await new Promise<string>((resolve) =>
    token.stdout.once('data', (part: Buffer) => resolve(String(part))),
  )
  await writeFile(world.path('token'), secret, { mode: 0o600 })

  // 1. Keep a log.
  const own = await start('own', settingsOf(keep ?? ''))
  await (await world.home()).update({ server: own })
  await succeed(ship('1.0'))
  const logKey = await lineAt(`${own}/p/test/log/key`)
  expect(logKey).toContain(`${OWN}/p/test/log`)

  // 2. Find witnesses.
  await writeFile(world.path('watched'), `log ${logKey}\nquorum none\n`)
  const lines: Record<string, string> = {}
  for (const name of FRIENDS) {
    const settings = settingsOf((witness ?? '').replaceAll('friend', name).replace('/etc/keyturn', world.folder))
    const url = await start(name, settings)
    lines[name] = await lineAt(`${url}/log-witness`)
  }

  // 3. Write the policy.
  const filled = FRIENDS.reduce(
    (all, name) =>
      all
        .replace(new RegExp(`(witness +${name} +)<their key>`), `$1${lines[name] ?? ''}`)
        .replace(`https://${name}.example/`, `${running.get(name)?.url ?? ''}/`),
    (policy ?? '').replace('<your key>', logKey),
  )
  await writeFile(world.path('policy.txt'), filled)
  await stop('own')
  await start('own', { ...settingsOf(keep ?? ''), KEYTURN_LOG_POLICY_FILE: world.path('policy.txt') })
  await succeed(ship('1.1'))
  const proof = async (version: string): Promise<string> => await lineAt(`${own}/manifests/${version}.tlog-proof`)
  for (let signed = 0; signed < 2;) {
    const found = await proof('1.1')
    signed = FRIENDS.filter((name) => found.includes(`— ${name}.example/witness `)).length
    await sleep(50)
  }
  expect((await proof('1.1')).length).toBeLessThan(2048)

  // 4. Seal it; then without grace. 5. Watch it.
  await succeed(seal ?? '')
  await succeed(closeGap ?? '')
  const update = `keyturn update --dir player --server ${own} --trust "$(keyturn release trust --quiet)" --json`
  expect(await succeed(update)).toContain('1.1')
  // One witness may be down; with two of three down, nobody gets anything new, and what is there plays.
  await stop('studio')
  await succeed(ship('1.2'))
  for (let n = 0; n < 200 && !(await proof('1.2')).includes('— guild.example/witness '); n += 1) await sleep(50)
  expect(await succeed('keyturn update --dir player --json')).toContain('1.2')
  await stop('guild')
  await succeed(ship('1.3'))
  await lineAt(`${own}/manifests/1.3.tlog-proof`)
  expect((await shell(world, 'keyturn update --dir player')).output).toContain('MAN_UNWITNESSED')
  const hookUrl = `http://127.0.0.1:${(hook.address() as AddressInfo).port}/hook`
  const monitor = (watch ?? '').replace('https://chat.example.org/hook', hookUrl)
  await succeed(monitor)
  expect(hooks).toEqual([])
  // Somebody else has the keys: what they publish is reported, each time, until it was seen.
  await cp(world.path('home'), world.path('kept'), { recursive: true })
  await succeed(ship('1.4'))
  await lineAt(`${own}/manifests/1.4.tlog-proof`)
  await rm(world.path('home'), { recursive: true })
  await cp(world.path('kept'), world.path('home'), { recursive: true })
  for (const expected of [1, 2]) {
    const { code, output } = await shell(world, monitor)
    expect([code, hooks.length], output).toEqual([1, expected])
  }
  expect((await shell(world, `${monitor.trim()} --seen`)).code).toBe(1)
  await succeed(monitor)
}, 600_000)
