import { chmod, cp, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, expect, it } from 'vitest'
import { Vault, kekProvider } from '../src/index.ts'
import type { AuditStore, MasterKeyProvider, VaultStore } from '../src/index.ts'
import { FileAuditStore, FolderStore, openKeyFile } from '../src/node/index.ts'
import { SqliteAuditStore, SqliteStore } from '../src/sqlite/index.ts'

const golden = fileURLToPath(new URL('golden', import.meta.url))
const folder = await mkdtemp(join(tmpdir(), 'keyturn-golden-'))
afterAll(() => rm(folder, { recursive: true, force: true }))

async function check(store: VaultStore, provider: MasterKeyProvider, audit: AuditStore): Promise<void> {
  const vault = await Vault.open(store, provider, {
    resolver: { resolve: (policy) => ({ policy, session: 'ses' }) },
    audit: { store: audit },
  })
  const read = async (name: string): Promise<string> =>
    new TextDecoder().decode(await vault.partition('p').cell('c').open(name, { token: 'pol' }))
  expect(await Promise.all(['old', 'gated', 'new', 'session', 'legacy'].map(read))).toEqual([
    'under version 1',
    'gated',
    'under version 2',
    'session',
    'hexvault',
  ])
  expect(await vault.verifyAudit()).toMatchObject({ ok: true, checkpoints: 1 })
  await vault.settle()
  expect(await vault.sweep()).toMatchObject({ state: 'completed', remaining: 0 })
  expect(vault.keys.list().map(({ version, state }) => [version, state])).toEqual([
    [0, 'decrypt_only'],
    [1, 'decrypt_only'],
    [2, 'active'],
  ])
  await vault.close()
  await store.close()
}

it('the golden folder store is opened, read, verified and swept', async () => {
  const path = join(folder, 'store')
  await cp(join(golden, 'folder-store-1'), path, { recursive: true })
  await chmod(join(path, 'vault.key'), 0o600) // version control keeps no such modes
  const audit = new FileAuditStore(join(path, 'audit.jsonl'))
  await check(await FolderStore.open(path), await openKeyFile(join(path, 'vault.key'), 'golden passphrase'), audit)
  await audit.close()
})

it('the golden SQLite store is opened, read, verified and swept', async () => {
  const path = join(folder, 'store.db')
  await cp(join(golden, 'sqlite-store-1.db'), path)
  const store = SqliteStore.open(path)
  await check(store, kekProvider('golden', new Uint8Array(32).fill(7)), new SqliteAuditStore(store.database))
})

it('the golden folder store with erasable partitions is opened, and what was erased stays erased', async () => {
  const path = join(folder, 'store-2')
  await cp(join(golden, 'folder-store-2'), path, { recursive: true })
  const audit = new FileAuditStore(join(path, 'audit.jsonl'))
  const store = await FolderStore.open(path)
  const vault = await Vault.open(store, kekProvider('golden', new Uint8Array(32).fill(7)), {
    resolver: { resolve: (policy) => ({ policy, session: 'ses' }) },
    audit: { store: audit },
    lazyResealsPerSecond: 0,
  })
  const read = async (name: string, token?: string): Promise<string> =>
    vault.partition('erasable').cell('c').openText(name, { token })
  expect([await read('old'), await read('gated', 'pol'), await read('new')]).toEqual([
    'under version 1',
    'gated',
    'under version 2',
  ])
  expect(await vault.partition('plain').cell('c').openText('n')).toBe('no secret')
  const erased = vault.partition('erased').cell('c').openText('n')
  await expect(erased).rejects.toMatchObject({ code: 'VK_PARTITION_ERASED' })
  expect(await vault.verifyAudit()).toMatchObject({ ok: true })
  expect(await vault.sweep()).toMatchObject({ remaining: 0, counts: { erased: 1, resealed: 3 } })
  await vault.close()
  await store.close()
  await audit.close()
})
