import { cp, readFile, rm, writeFile } from 'node:fs/promises'
import { createEngine } from '@keyturn/install-engine'
import { trustPin } from '@keyturn/publisher/release'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { command } from './support/command.ts'
import type { Answer } from './support/command.ts'
import { World } from './support/world.ts'

let world: World
beforeEach(async () => {
  world = await World.create()
  await world.startServer()
  await writeFile(world.path('token.txt'), `${world.token}\n`, { mode: 0o600 })
  await (await world.home()).update({ server: world.url })
})
afterEach(async () => {
  await world.remove()
})

const keyturn = async (...args: string[]): Promise<Answer> => await command(world, args)
const token = (): string[] => ['--token-file', world.path('token.txt')]

async function succeed(...args: string[]): Promise<Record<string, unknown>> {
  const answer = await keyturn(...args)
  if (!answer.ok) throw new Error(`${args.join(' ')}: ${JSON.stringify(answer.error)}`)
  return answer.data
}

describe('keyturn release kill', () => {
  it('launchers install nothing that the thief signs and play on, until the identity speaks (row 387)', async () => {
    await world.release('one')
    const engine = await world.engine()
    expect(await engine.update()).toMatchObject({ outcome: 'updated' })
    await cp(world.path('home'), world.path('thief'), { recursive: true })

    expect(await succeed('release', 'kill')).toMatchObject({
      published: true,
      killed: [
        { role: 'release', alias: 'release/1' },
        { role: 'head', alias: 'head/1' },
      ],
    })
    // The thief has both keys and a copy of the home without the notices.
    const own = world.path('home')
    await cp(own, world.path('kept'), { recursive: true })
    await rm(own, { recursive: true })
    await cp(world.path('thief'), own, { recursive: true })
    await expect(world.release('evil')).rejects.toMatchObject({ code: 'MAN_KEY_KILLED' })
    await rm(own, { recursive: true })
    await cp(world.path('kept'), own, { recursive: true })

    expect((await engine.status()).version).toBeDefined()
    expect(await engine.update().catch((error: unknown) => error)).toMatchObject({ code: 'MAN_KEY_KILLED' })
    expect(await engine.status()).toMatchObject({ trust: 'stale', refused: { code: 'MAN_KEY_KILLED' } })
    expect((await keyturn('release', 'renew', ...token())).error.code).toBe('REL_KEY_KILLED')
    expect((await keyturn('status', '--check')).error.code).toBe('CLI_DUE')
    const findings = (await keyturn('doctor', ...token())).error
    expect(findings.code).toBe('CLI_DUE')

    // One rotation replaces both, whatever it was called for.
    await succeed('rotate', 'release', ...token())
    expect((await world.home()).description.aliases).toMatchObject({ release: 'release/2', head: 'head/2' })
    await world.release('two')
    expect(await engine.update()).toMatchObject({ outcome: 'updated' })
    expect(await engine.status()).toMatchObject({ trust: 'current', reason: undefined, refused: undefined })
    expect((await keyturn('doctor', ...token())).ok).toBe(true)
  })

  it('a launcher that has seen the notice keeps it when a server leaves it out', async () => {
    await world.release('one')
    const engine = await world.engine()
    await engine.update()
    await succeed('release', 'kill', 'head')
    expect(await engine.update().catch((error: unknown) => error)).toMatchObject({ code: 'MAN_KEY_KILLED' })
    const withholding = createEngine({
      folder: world.path('game'),
      server: `${world.url}/`,
      trust: await trustPin(await world.home()),
      product: 'test',
      channel: 'stable',
      retry: { tries: 1, firstPauseMs: 1, longestPauseMs: 1 },
      fetch: (url, init) => fetch(String(url).replace('kills.json', 'nothing.json'), init),
    })
    expect(await withholding.update().catch((error: unknown) => error)).toMatchObject({ code: 'MAN_KEY_KILLED' })
  })

  it('works without a server and without a second passphrase, and the notices can be sent from elsewhere', async () => {
    await world.release('one')
    expect((await keyturn('release', 'kill', 'nobody')).error.code).toBe('CLI_USAGE')
    expect(await succeed('release', 'kill', '--dry-run')).toMatchObject({ dry_run: true })
    const done = await succeed('release', 'kill', 'head', '--local', '--out', world.path('notices'))
    expect(done).toMatchObject({ published: false, files: [world.path('notices', 'kill-head.json')] })
    expect((await fetch(`${world.url}/kills.json`)).status).toBe(404)
    const sent = await fetch(`${world.url}/v1/products/test/kills`, {
      method: 'POST',
      headers: { 'content-type': 'application/octet-stream' },
      body: new Uint8Array(await readFile(world.path('notices', 'kill-head.json'))),
    })
    expect(sent.status).toBe(200)
    // Run again: the same notice, now shown.
    expect(await succeed('release', 'kill', 'head')).toMatchObject({ published: true })
    expect((await fetch(`${world.url}/kills.json`)).status).toBe(200)
  })

  it('refuses a key that no role document in force names: REL_NOT_IN_FORCE', async () => {
    const home = await world.home()
    await (await home.keys()).make('stray', 'head')
    await home.update({ aliases: { ...home.description.aliases, head: 'stray' } })
    expect((await keyturn('release', 'kill', 'head', '--local')).error.code).toBe('REL_NOT_IN_FORCE')
  })
})
