// A beta with a code, with the real programs: what a publisher types, and what a tester has on disk in the end.
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { codeOf, dataOf, keyturn } from './support/keyturn.ts'
import type { Outcome } from './support/keyturn.ts'
import { startServing } from './support/serving.ts'
import type { Serving } from './support/serving.ts'
import { World } from './support/world.ts'

let world: World
let serving: Serving
beforeEach(async () => {
  world = await World.create()
  serving = await startServing(['--home', world.path('home'), '--passphrase-file', world.path('passphrase')])
})
afterEach(async () => {
  await serving.stop()
  await world.remove()
})

async function publisher(...args: string[]): Promise<Outcome> {
  const common = ['--home', world.path('home'), '--passphrase-file', world.path('passphrase'), '--json', '--yes']
  return await keyturn([...args, ...common], { env: { KEYTURN_TOKEN: serving.token } })
}

async function publish(text: string, channel: string): Promise<void> {
  const tree = world.path(`tree-${text}`)
  await mkdir(tree, { recursive: true })
  await writeFile(world.path(`tree-${text}`, 'game.txt'), text)
  const server = ['--server', serving.url]
  dataOf(await publisher('release', 'prepare', tree, '--channel', channel))
  dataOf(await publisher('release', 'sign', '--channel', channel))
  dataOf(await publisher('release', 'offer', '--channel', channel, ...server))
  dataOf(await publisher('release', 'publish', '--channel', channel, ...server))
}

const game = (): Promise<string> => readFile(world.path('game', 'game.txt'), 'utf8')

it('beta with a code', { timeout: 300_000 }, async () => {
  const server = ['--server', serving.url]
  await publish('stable', 'stable')
  await publish('beta-1', 'beta')
  const made = dataOf(await publisher('channel', 'protect', 'beta', '--code-file', world.path('beta.code'), ...server))
  expect(made).toMatchObject({ channel: 'beta', protected: true, replaced: false })
  expect(made['code']).toBeUndefined()
  expect((await stat(world.path('beta.code'))).mode & 0o777).toBe(0o600)
  const code = (await readFile(world.path('beta.code'), 'utf8')).trim()
  expect(code).toMatch(/^(?:[a-z0-9]{5}-){3}[a-z0-9]{5}$/)
  expect((await fetch(`${serving.url}/p/test/channels/beta/head.json`)).status).toBe(403)

  const { pin } = dataOf(await publisher('release', 'trust'))
  const player = (...flags: string[]): Promise<Outcome> =>
    keyturn(['update', '--dir', world.path('game'), '--json', ...flags])
  dataOf(await player(...server, '--trust', String(pin), '--product', 'test'))
  expect(await game()).toBe('stable')
  // Neither without a code nor with another one, and what is installed stays.
  expect(codeOf(await player('--channel', 'beta'))).toBe('LA_ACCESS')
  await writeFile(world.path('wrong.code'), 'not-the-right-code\n')
  expect(codeOf(await player('--channel', 'beta', '--access-code-file', world.path('wrong.code')))).toBe('LA_ACCESS')
  expect(await game()).toBe('stable')
  dataOf(await player('--channel', 'beta', '--access-code-file', world.path('beta.code')))
  expect(await game()).toBe('beta-1')

  // The publisher goes on without the code, and so does the tester whose launcher kept it.
  await publish('beta-2', 'beta')
  dataOf(await publisher('release', 'renew', '--all', ...server))
  dataOf(await player())
  expect(await game()).toBe('beta-2')

  // Another code ends the first one; the game that is there stays.
  expect(dataOf(await publisher('channel', 'protect', 'beta', ...server))).toMatchObject({ replaced: true })
  await publish('beta-3', 'beta')
  expect(codeOf(await player())).toBe('LA_ACCESS')
  expect(await game()).toBe('beta-2')
  dataOf(await publisher('channel', 'unprotect', 'beta', ...server))
  expect(dataOf(await publisher('channel', 'show', 'beta', ...server))).toMatchObject({ protected: false })
  dataOf(await player())
  expect(await game()).toBe('beta-3')
})
