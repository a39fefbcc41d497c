import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { MemoryStore, Vault, kekProvider } from '../src/index.ts'
import { deriveKek, parsePassphraseKdf, passphraseCheck } from '../src/passphrase-keys/index.ts'
import type { MasterKeyProvider } from '../src/index.ts'
import {
  changeKeyFilePassphrase,
  createKeyFile,
  keychainProvider,
  openKeyFile,
  systemKeychain,
} from '../src/node/index.ts'
import type { Keychain } from '../src/node/index.ts'

const folder = await mkdtemp(join(tmpdir(), 'keyturn-providers-'))
afterAll(() => rm(folder, { recursive: true, force: true }))
const fast = { scryptLogN: 4 }

async function worksThroughATurn(first: MasterKeyProvider, second: MasterKeyProvider): Promise<void> {
  const store = new MemoryStore()
  const vault = await Vault.create(store, first)
  await vault
    .partition('p')
    .cell('c')
    .seal('n', new Uint8Array([1, 2, 3]))
  await vault.keys.rotate()
  await vault.keys.rewrap()
  await vault.close()
  const again = await Vault.open(store, second)
  expect(await again.partition('p').cell('c').open('n')).toEqual(new Uint8Array([1, 2, 3]))
}

describe('key file', () => {
  it('createKeyFile() and openKeyFile() give one provider, across restarts and a change of passphrase', async () => {
    const path = join(folder, 'vault.key')
    const first = await createKeyFile(path, 'old', fast)
    await changeKeyFilePassphrase(path, 'old', 'new', fast)
    await worksThroughATurn(first, await openKeyFile(path, 'new'))
    await expect(openKeyFile(path, 'old')).rejects.toMatchObject({ code: 'VK_PASSPHRASE' })
    await expect(createKeyFile(path, 'x', fast)).rejects.toMatchObject({ code: 'PRIM_EXISTS' })
    await expect(openKeyFile(join(folder, 'none'), 'x')).rejects.toMatchObject({ code: 'VK_NOT_FOUND' })
    await chmod(path, 0o644)
    await expect(openKeyFile(path, 'new')).rejects.toMatchObject({ code: 'VK_STORE_IO' })
  })

  it('openKeyFile() refuses every cut, and a header that asks for a day of work', async () => {
    const path = join(folder, 'cut.key')
    await createKeyFile(path, 'p', fast)
    const bytes = await readFile(path, 'utf8')
    for (let length = 0; length < bytes.length - 1; length += 7) {
      await writeFile(path, bytes.slice(0, length))
      await expect(openKeyFile(path, 'p')).rejects.toMatchObject({ code: 'VK_STORE_DAMAGED' })
    }
    await writeFile(path, bytes.replace('"log_n":4', '"log_n":30'))
    await expect(openKeyFile(path, 'p')).rejects.toMatchObject({ code: 'VK_LIMIT' })
  })

  it("argon2id of other people's files is read (RFC 9106 parameters)", () => {
    const kdf = parsePassphraseKdf({
      algorithm: 'argon2id',
      memory_kib: 64,
      passes: 3,
      lanes: 4,
      salt: 'AgICAgICAgICAgICAgICAg==',
    })
    expect(passphraseCheck(deriveKek(new Uint8Array(32).fill(1), kdf))).toHaveLength(32)
    expect(() =>
      parsePassphraseKdf({
        algorithm: 'argon2id',
        memory_kib: 2 ** 30,
        passes: 3,
        lanes: 4,
        salt: 'AgICAgICAgICAgICAgICAg==',
      }),
    ).toThrow(expect.objectContaining({ code: 'VK_LIMIT' }))
  })
})

describe('keychain', () => {
  function fakeKeychain(): Keychain & { values: Map<string, string> } {
    const values = new Map<string, string>()
    return {
      values,
      get: async (service, account) => values.get(`${service}/${account}`),
      set: async (service, account, value) => void values.set(`${service}/${account}`, value),
    }
  }

  it('keychainProvider() makes its key once, when it is asked to, and finds it again', async () => {
    const keychain = fakeKeychain()
    const first = await keychainProvider('vault-1', { keychain, create: true })
    await worksThroughATurn(first, await keychainProvider('vault-1', { keychain }))
    expect(keychain.values.size).toBe(1)
    for (const other of ['c2hvcnQ=', 'not base64 at all!']) {
      keychain.values.set('keyturn/vault-1', other)
      await expect(keychainProvider('vault-1', { keychain })).rejects.toMatchObject({ code: 'VK_PROVIDER' })
    }
  })

  it('keychainProvider() says when the keychain has forgotten the key, and puts no other in its place (P2)', async () => {
    const keychain = fakeKeychain()
    await keychainProvider('vault-1', { keychain, create: true })
    keychain.values.clear()
    await expect(keychainProvider('vault-1', { keychain })).rejects.toMatchObject({ code: 'VK_KEYCHAIN_FORGOT' })
    expect(keychain.values.size).toBe(0)
  })

  it('systemKeychain() asks for a store that outlives a reboot, on every call (P2)', async () => {
    const asked: unknown[] = []
    class AsyncEntry {
      constructor(_service: string, _account: string, options?: unknown) {
        asked.push(options)
      }
      getPassword = async (): Promise<string> => 'kept'
      setPassword = async (): Promise<void> => undefined
    }
    const keychain = await systemKeychain(async () => ({ AsyncEntry }))
    await keychain.get('s', 'a')
    await keychain.set('s', 'a', 'v')
    expect(asked).toEqual(Array(2).fill({ linux: { store: 'secret-service' } }))
  })

  it('systemKeychain() says VK_PROVIDER, with a way out, where that store is absent', async () => {
    class AsyncEntry {
      constructor() {
        throw new Error('no secret service')
      }
      getPassword = async (): Promise<string> => ''
      setPassword = async (): Promise<void> => undefined
    }
    const keychain = await systemKeychain(async () => ({ AsyncEntry }))
    for (const call of [keychain.get('s', 'a'), keychain.set('s', 'a', 'v')])
      await expect(call).rejects.toMatchObject({ code: 'VK_PROVIDER', hint: expect.stringContaining('key file') })
  })

  it('keychainProvider() refuses a keychain that forgets at once', async () => {
    await expect(
      keychainProvider('x', { create: true, keychain: { get: async () => undefined, set: async () => undefined } }),
    ).rejects.toMatchObject({ code: 'VK_PROVIDER' })
  })

  it('systemKeychain() works on this machine or says that there is none', async () => {
    const outcome = await systemKeychain()
      .then((keychain) => keychain.get('keyturn-test', 'nobody'))
      .then(
        (value) => ({ value }),
        (error: unknown) => ({ code: (error as { code: string }).code }),
      )
    expect([{ value: undefined }, { code: 'VK_PROVIDER' }]).toContainEqual(outcome)
  })
})

it('a keyring wrapped by one provider is refused by another', async () => {
  const store = new MemoryStore()
  await (await Vault.create(store, kekProvider('a', new Uint8Array(32).fill(1)))).close()
  await expect(Vault.open(store, kekProvider('b', new Uint8Array(32).fill(2)))).rejects.toMatchObject({
    code: 'VK_KEYRING',
  })
})
