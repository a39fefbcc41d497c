// The real program: a rollout that halts itself because launchers report failed starts.
import { once } from 'node:events'
import { mkdir, writeFile } from 'node:fs/promises'
import { request } from 'node:http'
import { parseHead, parseHeadEnvelope } from '@keyturn/manifest'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { codeOf, dataOf, keyturn } from './support/keyturn.ts'
import { startServing } from './support/serving.ts'
import type { Serving } from './support/serving.ts'
import { World } from './support/world.ts'

let world: World
const ends: (() => Promise<unknown>)[] = []
beforeEach(async () => {
  world = await World.create()
})
afterEach(async () => {
  for (const end of ends.splice(0).toReversed()) await end()
  await world.remove()
})

/** A release command with the home, its passphrase and the server. */
function release(serving: Serving, ...words: string[]) {
  const common = ['--home', world.path('home'), '--passphrase-file', world.path('passphrase'), '--json', '--yes']
  return keyturn(['release', ...words, ...common, '--server', serving.url], { env: { KEYTURN_TOKEN: serving.token } })
}

async function publish(serving: Serving, text: string): Promise<string> {
  const tree = world.path(`tree-${text}`)
  await mkdir(tree, { recursive: true })
  await writeFile(world.path(`tree-${text}`, 'game.txt'), text)
  const common = ['--home', world.path('home'), '--passphrase-file', world.path('passphrase'), '--json', '--yes']
  const prepared = dataOf(await keyturn(['release', 'prepare', tree, ...common]))
  dataOf(await keyturn(['release', 'sign', ...common]))
  dataOf(await release(serving, 'offer'))
  dataOf(await release(serving, 'publish'))
  return String(prepared['version'])
}

/** A report as the launcher of another machine sends it. */
async function report(serving: Serving, from: string, version: string): Promise<void> {
  const asked = request(`${serving.url}/v1/reports`, {
    method: 'POST',
    localAddress: from,
    headers: { 'content-type': 'application/json' },
  })
  asked.end(
    JSON.stringify({ product: 'test', channel: 'stable', version, step: 'start-failed', code: 'LA_RELEASE_FAILED' }),
  )
  const [answer] = (await once(asked, 'response')) as [{ statusCode: number; resume: () => void }]
  answer.resume()
  expect(answer.statusCode).toBe(202)
}

it('a rollout with --auto-halt halts itself when reported starts do not live, and goes on when it is resumed', async () => {
  const serving = await startServing(['--home', world.path('home'), '--passphrase-file', world.path('passphrase')])
  ends.push(() => serving.stop())
  await publish(serving, 'good')
  expect(codeOf(await release(serving, 'rollout', '--auto-halt', '97'))).toBe('SRV_CONFLICT')
  const bad = await publish(serving, 'bad')
  const set = dataOf(
    await release(serving, 'rollout', '--percent', '20', '--auto-halt', '97', '--auto-halt-sample', '10'),
  )
  expect(set).toMatchObject({ percent: 20, auto_halt: { version: bad, percent: 97, sample: 10, halted: null } })
  const paused = async (): Promise<boolean | undefined> => {
    const answer = await fetch(`${serving.url}/p/test/channels/stable/head.json`)
    const { rollout } = parseHead(parseHeadEnvelope(new Uint8Array(await answer.arrayBuffer())).payload)
    return rollout?.paused
  }
  for (let machine = 2; machine < 12; machine++) await report(serving, `127.0.0.${machine}`, bad)
  await vi.waitFor(async () => expect(await paused()).toBe(true), { timeout: 60_000, interval: 1000 })
  expect(dataOf(await release(serving, 'rollout', '--resume'))).toMatchObject({ paused: false, percent: 20 })
  expect(await paused()).toBe(false)
  expect(dataOf(await release(serving, 'rollout', '--auto-halt', 'off'))).toMatchObject({ auto_halt: null })
}, 240_000)

it('--auto-halt is refused out of its bounds, and where no server is asked', async () => {
  const serving = await startServing(['--home', world.path('home'), '--no-head-signer'])
  ends.push(() => serving.stop())
  for (const words of [
    ['--auto-halt', '100'],
    ['--auto-halt', 'on'],
    ['--auto-halt', '97', '--auto-halt-sample', '9'],
    ['--auto-halt', 'off', '--auto-halt-sample', '50'],
    ['--percent', '20', '--auto-halt', '97', '--local'],
    [],
  ])
    expect(codeOf(await release(serving, 'rollout', ...words))).toBe('CLI_USAGE')
  await publish(serving, 'good')
  await publish(serving, 'next')
  const result = await release(serving, 'rollout', '--auto-halt', '97')
  expect(dataOf(result)).toMatchObject({ auto_halt: { percent: 97, sample: 100 } })
  expect(result.stderr + result.stdout).toContain('No head signer is connected')
}, 240_000)
