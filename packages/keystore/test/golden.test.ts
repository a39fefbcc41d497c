import { readFile } from 'node:fs/promises'
import { expect, it } from 'vitest'
import { Keystore, memoryStorage } from '../src/index.ts'

it('Keystore.open() opens the golden file of format 1', async () => {
  const current = new Uint8Array(await readFile(new URL('golden/keystore-1.bin', import.meta.url)))
  const keystore = await Keystore.open(memoryStorage({ current }), 'golden passphrase e\u0301')
  expect(keystore.list()).toEqual([
    {
      alias: 'content/1',
      kind: 'content-key',
      fingerprint: expect.stringMatching(/^[0-9a-f]{16}$/),
      created: 1_763_700_000_000,
      once: true,
    },
    {
      alias: 'release',
      kind: 'ed25519-seed',
      fingerprint: expect.stringMatching(/^[0-9a-f]{16}$/),
      created: 1_763_700_000_000,
      once: false,
      publicKey: new Uint8Array(32).fill(2),
      policy: { rotate_after_days: 90 },
      note: 'golden',
    },
  ])
  expect(await keystore.withSecret('release', (bytes) => [...bytes])).toEqual(Array(32).fill(1))
  expect(keystore.masters().map(({ version, state }) => [version, state])).toEqual([
    [1, 'destroyed'],
    [2, 'active'],
  ])
  await expect(
    keystore.put('content/0', { kind: 'content-key', secret: new Uint8Array(32).fill(9), once: true }),
  ).rejects.toMatchObject({
    code: 'KEY_ID_REUSED',
  })
})
