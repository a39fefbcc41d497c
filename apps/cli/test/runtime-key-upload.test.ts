import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { packTree, prepareRelease, publishRelease, issueHead, signRelease } from '@keyturn/publisher/release'
import type { PublishReport } from '@keyturn/publisher/release'
import { ReleaseServerClient } from '@keyturn/release-client'
import { createReleaseServer } from '@keyturn/release-server'
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
