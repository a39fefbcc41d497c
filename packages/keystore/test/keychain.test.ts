import { mkdtemp, readdir, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Keystore, memoryStorage } from '../src/index.ts'
import {
  createKeystore,
  defaultKeystorePath,
  fileStorage,
  fromKeychain,
  keychainPassphrase,
  keychainSecret,
  openKeystore,
  openOrCreateKeystore,
} from '../src/node/index.ts'
import { parseKeystoreHeader } from '../src/keystore-file.ts'

const fast = { scryptLogN: 4 }
let folder = ''
let path = ''
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'keyturn-keychain-'))
  path = join(folder, 'app', 'keystore')
})
afterEach(() => rm(folder, { recursive: true, force: true }))

async function code(work: Promise<unknown>): Promise<unknown> {
  return work.then(
    () => 'no error',
    (error: unknown) => (error as { code?: string }).code,
  )
}

function fakeKeychain(): {
  values: Map<string, string>
  get(service: string, account: string): Promise<string | undefined>
  set(service: string, account: string, value: string): Promise<void>
} {
  const values = new Map<string, string>()
  return {
    values,
    get: async (service, account) => values.get(`${service}/${account}`),
    set: async (service, account, value) => void values.set(`${service}/${account}`, value),
  }
}

describe('a keystore under a keychain secret', () => {
  it('is made once, opened again, and needs no slow derivation', async () => {
    const keychain = fakeKeychain()
    const first = await openOrCreateKeystore(path, fromKeychain({ keychain }))
    await first.putText('@scope/token', 'abc')
    first.close()
    const again = await openOrCreateKeystore(path, fromKeychain({ keychain }))
    expect(await again.readText('@scope/token')).toBe('abc')
    expect(keychain.values.size).toBe(1)
    const { current } = await fileStorage(path).read()
    expect(parseKeystoreHeader(current ?? new Uint8Array()).kdf.algorithm).toBe('hkdf-sha256')
    if (process.platform !== 'win32') expect((await stat(join(folder, 'app'))).mode & 0o777).toBe(0o700)
  })

  it('a keychain that forgot is said, and nothing is put in the place of the secret (P2)', async () => {
    const keychain = fakeKeychain()
    await openOrCreateKeystore(path, fromKeychain({ keychain }))
    const file = await fileStorage(path).read()
    keychain.values.clear()
    expect(await code(openOrCreateKeystore(path, fromKeychain({ keychain })))).toBe('KEY_KEYCHAIN_FORGOT')
    expect(await code(keychainSecret(path, { keychain }))).toBe('KEY_KEYCHAIN_FORGOT')
    expect(await code(keychainPassphrase(path, { keychain }))).toBe('KEY_KEYCHAIN_FORGOT')
    expect(keychain.values.size).toBe(0)
    expect(await fileStorage(path).read()).toEqual(file)
    // The same where only the generation before is left.
    await rm(path)
    expect(await code(openOrCreateKeystore(path, fromKeychain({ keychain })))).toBe('KEY_KEYCHAIN_FORGOT')
  })

  it('one that an earlier version made with the entry as a passphrase opens', async () => {
    const keychain = fakeKeychain()
    const passphrase = await keychainPassphrase('old', { keychain, create: true })
    const old = join(folder, 'old')
    await (await createKeystore(old, passphrase, fast)).putText('a', 'kept')
    const keystore = await openKeystore(old, await keychainSecret('old', { keychain }), fast)
    expect(await keystore.readText('a')).toBe('kept')
    // A change of the passphrase to the secret itself makes it fast.
    await keystore.changePassphrase(await keychainSecret('old', { keychain }))
    expect(parseKeystoreHeader((await fileStorage(old).read()).current ?? new Uint8Array()).kdf.algorithm).toBe(
      'hkdf-sha256',
    )
    expect(await (await openKeystore(old, passphrase)).readText('a')).toBe('kept')
  })

  it('processes that start at the same time make one secret and one keystore', async () => {
    const keychain = fakeKeychain()
    const opened = await Promise.all(
      Array.from({ length: 8 }, () => openOrCreateKeystore(path, fromKeychain({ keychain }))),
    )
    await Promise.all(opened.map((keystore, index) => keystore.putText(`n${index}`, `value ${index}`)))
    const again = await openOrCreateKeystore(path, fromKeychain({ keychain }))
    expect(again.list()).toHaveLength(8)
    expect((await readdir(join(folder, 'app'))).toSorted()).toEqual(['keystore', 'keystore.previous'])
  })

  it('a wrong secret, a short one and a keychain that refuses have answers of their own', async () => {
    const storage = memoryStorage()
    await Keystore.create(storage, { randomSecret: new Uint8Array(32).fill(1) })
    expect(await code(Keystore.open(storage, { randomSecret: new Uint8Array(32).fill(2) }))).toBe('KEY_PASSPHRASE')
    expect(await code(Keystore.open(storage, 'a passphrase'))).toBe('KEY_PASSPHRASE')
    await expect(Keystore.create(memoryStorage(), { randomSecret: new Uint8Array(31) })).rejects.toThrow(RangeError)
    const forgetful = { get: async () => undefined, set: async () => undefined }
    expect(await code(keychainSecret('x', { keychain: forgetful, create: true }))).toBe('KEY_KEYCHAIN')
  })
})

describe('openOrCreateKeystore()', () => {
  it('takes a passphrase as it is, makes the folder, and opens what is there', async () => {
    const made = await openOrCreateKeystore(path, 'p', fast)
    await made.putText('a', 'x')
    expect((await openOrCreateKeystore(path, 'p', fast)).list()).toHaveLength(1)
    expect(await code(openOrCreateKeystore(path, 'q', fast))).toBe('KEY_PASSPHRASE')
  })

  it('wipes what a function gave, and leaves nothing when the function refuses', async () => {
    const given = new TextEncoder().encode('from a prompt')
    await openOrCreateKeystore(path, () => given, fast)
    expect(given.every((byte) => byte === 0)).toBe(true)
    const other = join(folder, 'other', 'keystore')
    await expect(openOrCreateKeystore(other, () => Promise.reject(new Error('no answer')))).rejects.toThrow('no answer')
    expect(await readdir(join(folder, 'other'))).toEqual([])
  })
})

describe('put()', () => {
  it('copies a Buffer too: what the caller gave is neither kept nor wiped', async () => {
    const keystore = await Keystore.create(memoryStorage(), 'p', fast)
    const given = Buffer.from('token-1')
    await keystore.put('a', { kind: 'token', secret: given })
    expect(given.toString()).toBe('token-1')
    expect(await keystore.readText('a')).toBe('token-1')
  })
})

describe('putText() and readText()', () => {
  it('keep text as it is, with what belongs beside it', async () => {
    const keystore = await Keystore.create(memoryStorage(), 'p', fast)
    const entry = await keystore.putText('@scope/name', 'päss\nwort', { note: 'of the registry' })
    expect(entry).toMatchObject({ alias: '@scope/name', kind: 'text', note: 'of the registry' })
    expect(await keystore.readText('@scope/name')).toBe('päss\nwort')
    expect(await code(keystore.putText('@scope/name', 'again'))).toBe('KEY_ALIAS_EXISTS')
    await keystore.putText('@scope/name', 'again', { replace: true })
    expect(await keystore.readText('@scope/name')).toBe('again')
    await expect(keystore.putText('b', 'half \uD800')).rejects.toThrow(TypeError)
    expect(await code(keystore.putText('b', ''))).toBe('KEY_SECRET')
    await keystore.put('raw', { kind: 'token', secret: new Uint8Array([0xff]) })
    expect(await code(keystore.readText('raw'))).toBe('KEY_SECRET')
  })

  it('aliases may have @ and /, as names of packages and accounts do', async () => {
    const keystore = await Keystore.create(memoryStorage(), 'p', fast)
    for (const alias of ['@scope/x', 'user@host', 'ci/deploy-token', 'a:b']) await keystore.putText(alias, 'x')
    for (const alias of ['/x', ' x', 'my key', '', '-x', `@${'x'.repeat(128)}`, '@é'])
      expect(await code(keystore.putText(alias, 'x'))).toBe('KEY_ALIAS')
  })
})

describe('defaultKeystorePath()', () => {
  it('follows the custom of each system', () => {
    const home = '/home/ann'
    const at = (platform: NodeJS.Platform, env: Record<string, string> = {}): string =>
      defaultKeystorePath('my-cli', { platform, env, home })
    expect(at('linux')).toBe('/home/ann/.local/share/my-cli/keystore')
    expect(at('linux', { XDG_DATA_HOME: '/data' })).toBe('/data/my-cli/keystore')
    expect(at('linux', { XDG_DATA_HOME: 'relative' })).toBe('/home/ann/.local/share/my-cli/keystore')
    expect(at('darwin')).toBe('/home/ann/Library/Application Support/my-cli/keystore')
    expect(at('win32', { LOCALAPPDATA: 'C:\\Users\\ann\\AppData\\Local' })).toBe(
      'C:\\Users\\ann\\AppData\\Local\\my-cli\\keystore',
    )
    for (const app of ['', '..', 'a/b', '.hidden', 'a b']) expect(() => defaultKeystorePath(app)).toThrow(RangeError)
  })
})
