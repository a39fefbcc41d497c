import { join } from 'node:path'
import { systemRandom } from '@keyturn/primitives'
import { Vault, kekProvider } from '@keyturn/vault-kdf'
import { deriveKek, newPassphraseKdf, writePassphraseKdf } from '@keyturn/vault-kdf/passphrase'
import { expect, it } from 'vitest'
import { openServerVault } from '../src/keys/server-vault.ts'
import { VaultRecords } from '../src/keys/vault-records.ts'
import { openSqliteMetadataStore } from '../src/storage/sqlite-metadata-store.ts'
import type { MetadataStore, NewRecord, RecordWriter } from '../src/storage/metadata-store.ts'
import { atEnd, startServer, temporaryFolder } from './support.ts'

const settings = { passphrase: 'x', scryptLogN: 4 }

async function store(): Promise<MetadataStore> {
  const metadata = openSqliteMetadataStore(join(await temporaryFolder(), 'm.sqlite'))
  atEnd(() => metadata.close())
  return metadata
}

it('refuses stored passphrase parameters that are cheap to guess, unless the operator asks for them', async () => {
  const metadata = await store()
  await openServerVault(metadata, settings, systemRandom)
  await expect(openServerVault(metadata, { passphrase: 'x' }, systemRandom)).rejects.toMatchObject({
    code: 'SRV_CONFIG',
  })
  await openServerVault(metadata, settings, systemRandom)
})

it('creates the vault once: a lost one is not replaced by an empty one', async () => {
  const metadata = await store()
  let made = 0
  const open = () =>
    openServerVault(metadata, settings, systemRandom, () => {
      made += 1
    })
  await (await open()).partition('runtime-keys').cell('metin2').seal('4', new Uint8Array(84))
  await open()
  expect(made).toBe(1)
  await expect(openServerVault(metadata, { ...settings, passphrase: 'y' }, systemRandom)).rejects.toMatchObject({
    code: expect.stringMatching(/^VK_/),
  })
  const lost = await metadata.list('vault-documents', { bodies: true })
  await metadata.transaction([], (records) => records.delete('vault-documents', ...lost.map(({ key }) => key)))
  await expect(open()).rejects.toMatchObject({ code: 'SRV_STORAGE', hint: expect.stringContaining('Restore') })
  await metadata.transaction([], (records) => records.put('vault-documents', ...lost))
  expect((await (await open()).partition('runtime-keys').cell('metin2').open('4')).length).toBe(84)
  expect(made).toBe(1)
})

it('a server that is given no passphrase for the vault it has says so, and one that has no vault does not', async () => {
  const lines: string[] = []
  const log = { info: () => undefined, warn: (_: object, text: string) => lines.push(text), error: () => undefined }
  const dataDir = await temporaryFolder()
  await (await startServer({ dataDir, log })).server.close()
  expect(lines).toEqual([])
  await (await startServer({ dataDir, log, vault: settings })).server.close()
  await startServer({ dataDir, log })
  expect(lines).toEqual([
    'a new, empty vault was created: keep its passphrase',
    'the vault is not opened: no passphrase is given, so no key is delivered from here',
  ])
})

it('a start that died before the vault existed is continued by the next one; two at the same time share one vault', async () => {
  const metadata = await store()
  const dying: MetadataStore = Object.assign(Object.create(metadata) as MetadataStore, {
    transaction: (...of: Parameters<MetadataStore['transaction']>) => metadata.transaction(...of),
    get: () => Promise.reject(new Error('killed')),
  })
  await expect(openServerVault(dying, settings, systemRandom)).rejects.toThrow('killed')
  expect((await metadata.get('settings', 'vault-passphrase'))?.value).toMatchObject({ pending: true })
  const two = await Promise.all([
    openServerVault(metadata, settings, systemRandom),
    openServerVault(metadata, settings, systemRandom),
  ])
  expect(two[0].id).toBe(two[1].id)
  expect((await metadata.get('settings', 'vault-passphrase'))?.value).not.toHaveProperty('pending')
})

it('a start that died after the vault existed leaves a vault that counts: its loss is reported', async () => {
  const metadata = await store()
  const dying: MetadataStore = Object.assign(Object.create(metadata) as MetadataStore, {
    get: metadata.get.bind(metadata),
    list: metadata.list.bind(metadata),
    transaction: (locks: readonly string[], work: (records: RecordWriter) => Promise<unknown>) =>
      metadata.transaction(locks, (records) =>
        work(
          Object.assign(Object.create(records) as RecordWriter, {
            get: records.get.bind(records),
            getMany: records.getMany.bind(records),
            list: records.list.bind(records),
            insert: records.insert.bind(records),
            delete: records.delete.bind(records),
            // Dies when it wants to write down that the vault is made.
            put: (collection: string, ...put: NewRecord[]) =>
              collection === 'settings' && (put[0]?.value as { pending?: boolean } | undefined)?.pending !== true
                ? Promise.reject(new Error('killed'))
                : records.put(collection, ...put),
          }),
        ),
      ),
  })
  await expect(openServerVault(dying, settings, systemRandom)).rejects.toThrow('killed')
  expect((await metadata.get('settings', 'vault-passphrase'))?.value).toMatchObject({ pending: true })
  expect((await metadata.list('vault-documents')).length).toBeGreaterThan(0)
  await openServerVault(metadata, settings, systemRandom)
  expect((await metadata.get('settings', 'vault-passphrase'))?.value).not.toHaveProperty('pending')
  const made = await metadata.list('vault-documents')
  expect(made.length).toBeGreaterThan(0)
  await metadata.transaction([], (records) => records.delete('vault-documents', ...made.map(({ key }) => key)))
  await expect(openServerVault(metadata, settings, systemRandom)).rejects.toMatchObject({ code: 'SRV_STORAGE' })
})

it('opens with a second passphrase alone, once both were given, and follows it when it changes', async () => {
  const metadata = await store()
  const cheap = { scryptLogN: 4 }
  const secret = 'a secret of the home'
  const made = await openServerVault(metadata, { passphrase: secret, ...cheap }, systemRandom)
  const open = async (passphrase: string, secondPassphrase?: string): Promise<string> =>
    (await openServerVault(metadata, { passphrase, secondPassphrase, ...cheap }, systemRandom)).id
  await expect(open('caf\u00e9')).rejects.toMatchObject({ code: 'VK_KEYRING', hint: expect.stringMatching(/home/) })
  expect(await open(secret, 'caf\u00e9')).toBe(made.id)
  const record = await metadata.get('settings', 'vault-second-passphrase')
  expect(await open(secret, 'cafe\u0301\n')).toBe(made.id)
  expect(await metadata.get('settings', 'vault-second-passphrase')).toEqual(record)
  for (const form of ['caf\u00e9', 'cafe\u0301', '\uFEFFcaf\u00e9\r\n']) expect(await open(form)).toBe(made.id)
  expect(await open(secret, 'another')).toBe(made.id)
  expect(await open('another')).toBe(made.id)
  await expect(open('caf\u00e9')).rejects.toMatchObject({ code: 'VK_KEYRING' })
  expect(JSON.stringify(await metadata.list('settings'))).not.toMatch(/caf|another|secret of/)
})

it('opens a vault that was made with the passphrase given as the second one', async () => {
  const metadata = await store()
  const cheap = { scryptLogN: 4 }
  const made = await openServerVault(metadata, { passphrase: 'home', ...cheap }, systemRandom)
  const both = { passphrase: 'secret', secondPassphrase: 'home', ...cheap }
  expect((await openServerVault(metadata, both, systemRandom)).id).toBe(made.id)
  const later = { passphrase: 'secret', secondPassphrase: 'a new one of the home', ...cheap }
  expect((await openServerVault(metadata, later, systemRandom)).id).toBe(made.id)
})

it('refuses a second passphrase that was made cheap to guess', async () => {
  const metadata = await store()
  await openServerVault(metadata, { passphrase: 'a', secondPassphrase: 'b', scryptLogN: 4 }, systemRandom)
  const strong = newPassphraseKdf(systemRandom, 15)
  await metadata.transaction([], (records) =>
    records.put('settings', { key: 'vault-passphrase', value: writePassphraseKdf(strong) }),
  )
  await expect(openServerVault(metadata, { passphrase: 'b' }, systemRandom)).rejects.toMatchObject({
    code: 'SRV_CONFIG',
  })
})

it('opens a vault that an earlier version made from the bytes of the passphrase as they came', async () => {
  const metadata = await store()
  const decomposed = new TextEncoder().encode('h\u00e9llo'.normalize('NFD'))
  // As the earlier version did: the key of exactly these bytes.
  const kdf = newPassphraseKdf(systemRandom, 4)
  await metadata.transaction([], (records) =>
    records.put('settings', { key: 'vault-passphrase', value: writePassphraseKdf(kdf) }),
  )
  const provider = kekProvider('passphrase', deriveKek(decomposed, kdf))
  const old = await Vault.create(new VaultRecords(metadata), provider)
  for (const passphrase of [decomposed, 'h\u00e9llo', '\uFEFFh\u00e9llo\n'])
    expect((await openServerVault(metadata, { passphrase, scryptLogN: 4 }, systemRandom)).id).toBe(old.id)
  await expect(openServerVault(metadata, { passphrase: 'hello', scryptLogN: 4 }, systemRandom)).rejects.toMatchObject({
    code: 'VK_KEYRING',
  })
  await expect(openServerVault(metadata, { passphrase: '', scryptLogN: 4 }, systemRandom)).rejects.toMatchObject({
    code: 'SRV_CONFIG',
  })
})
