import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { writeFile } from 'node:fs/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { command } from './support/command.ts'
import { World } from './support/world.ts'

let world: World
beforeEach(async () => {
  world = await World.create()
})
afterEach(async () => {
  await world.remove()
})

describe('the hint of an error', () => {
  it('names the flag or command of this program, whichever package found the fault', async () => {
    await world.startServer()
    await world.release()
    const codeAndHint = async (...args: string[]): Promise<unknown> => {
      const { error } = await command(world, args)
      return [error?.code, error?.hint]
    }
    expect(await codeAndHint('release', 'publish', '--server', world.url)).toEqual([
      'SRV_AUTH',
      expect.stringMatching(/--token-file.*KEYTURN_TOKEN_FILE/),
    ])
    await world.stopServer()
    expect(await codeAndHint('release', 'publish', '--server', world.url)).toEqual([
      expect.stringMatching(/^(SRV|CLI)_NETWORK$/),
      expect.stringContaining('--server'),
    ])
    expect(await codeAndHint('release', 'sign', '--key', 'release/9')).toEqual([
      'KEY_ALIAS_UNKNOWN',
      expect.stringContaining('"keyturn status"'),
    ])
    await writeFile(world.path('passphrase'), 'wrong\n')
    expect(await codeAndHint('release', 'sign')).toEqual([
      'KEY_PASSPHRASE',
      expect.stringContaining('--passphrase-file'),
    ])
  })

  it('tells an address that is taken from a disk that fails: CLI_ADDRESS', async () => {
    const other = createServer()
    await new Promise<void>((resolve) => {
      other.listen(0, '127.0.0.1', resolve)
    })
    const { port } = other.address() as AddressInfo
    expect(await command(world, ['serve', '--port', String(port), '--data', world.path('server')])).toMatchObject({
      code: 3,
      error: { code: 'CLI_ADDRESS', hint: expect.stringContaining('--port') },
    })
    await new Promise((resolve) => {
      other.close(resolve)
    })
  })
})
