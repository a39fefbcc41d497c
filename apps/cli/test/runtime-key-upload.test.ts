import { existsSync } from 'node:fs'
import { cp, mkdir, writeFile } from 'node:fs/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { packTree, prepareRelease, publishRelease, issueHead, signRelease } from '@keyturn/publisher/release'
import type { PublishReport } from '@keyturn/publisher/release'
import { ReleaseServerClient } from '@keyturn/release-client'
import { createReleaseServer } from '@keyturn/release-server'
import { command } from './support/command.ts'
import { World } from './support/world.ts'

let world: World
beforeEach(async () => {
  world = await World.create()
})
afterEach(async () => {
  await world.remove()
})

/** Publishes a release whose tree holds no key file, to a server with or without a vault. */
async function publishWithoutKeyFile(
  vault: { passphrase: string; scryptLogN: number } | undefined,
): Promise<PublishReport> {
  const server = await createReleaseServer({ dataDir: world.path('server'), ...(vault === undefined ? {} : { vault }) })
  try {
    const { url } = await server.listen()
    const { secret } = await server.createToken({ name: 'test', scopes: ['admin'], days: 1 })
    const home = await world.home()
    const tree = world.path('tree')
    await packTree(home, { input: await world.source(), output: tree, signal: world.signal, level: 1 })
    const terms = { nowMs: Date.now(), signal: world.signal }
    const release = await signRelease(home, await prepareRelease(home, { tree, channel: 'stable', ...terms }))
    const head = await issueHead(home, release, terms)
    const client = new ReleaseServerClient(url, { token: secret, retries: 0 })
    return await publishRelease(home, client, { release, head }, { signal: world.signal })
  } finally {
    await server.close()
  }
}

describe('publishRelease() of a release that carries no key file', () => {
  it('gives the server the runtime key to deliver over Noise, sealed in its vault', async () => {
    const { runtimeKeys } = await publishWithoutKeyFile({ passphrase: 'of the server', scryptLogN: 4 })
    expect(runtimeKeys).toEqual({ keyIds: [1] })
  })

  it('publishes all the same where the server has no vault, and says that players get no key from it', async () => {
    const { runtimeKeys } = await publishWithoutKeyFile(undefined)
    expect(runtimeKeys).toMatchObject({ keyIds: [], problem: expect.stringMatching(/SRV_/) })
  })
})

describe('a release without a key file, to a server that takes no keys', () => {
  it('is shipped and rotated all the same, says so, and names the command that repeats it', async () => {
    await world.startServer()
    await (await world.home()).update({ server: world.url })
    await mkdir(world.path('game'))
    const project = world.path('game/keyturn.json')
    await writeFile(project, JSON.stringify({ schema: 1, source: 'client' }))
    await cp(await world.source(), world.path('game/client'), { recursive: true })
    const said = async (...args: string[]): Promise<string> => {
      let text = ''
      const onStderr = (part: string): void => void (text += part)
      const token = ['--token-file', world.path('token.txt')]
      const answer = await command(world, [...args, ...token], { onStderr })
      expect(answer.ok, JSON.stringify(answer.error)).toBe(true)
      return text
    }
    await writeFile(world.path('token.txt'), world.token, { mode: 0o600 })
    const ship = ['ship', '--project', project]
    const repeat = 'keyturn release publish --channel stable'
    expect(await said(...ship, '--no-runtime-key-file', '--version-name', '1')).toContain(repeat)
    // The next release is like the one before: its key does not end up in a file by the way.
    await writeFile(world.path('game/client/data/0.txt'), 'changed')
    expect(await said(...ship, '--version-name', '2')).toContain(repeat)
    expect(existsSync(world.path('home/trees/stable/2/runtime-key.json'))).toBe(false)
    expect(await said('rotate', 'content')).toContain(repeat)
    expect(await said('release', 'publish')).toContain(repeat)
  })
})
