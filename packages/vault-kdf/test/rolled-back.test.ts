import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { MemoryAuditStore, MemoryStore, Vault } from '../src/index.ts'
import { memoryProvider } from '../src/testing/index.ts'
import type { AuditStore, VaultStore } from '../src/index.ts'
import { FileAuditStore, FolderStore } from '../src/node/index.ts'
import { SqliteAuditStore, SqliteStore } from '../src/sqlite/index.ts'

const root = await mkdtemp(join(tmpdir(), 'keyturn-rolled-back-'))
afterAll(() => rm(root, { recursive: true, force: true }))
const text = (value: string): Uint8Array => new TextEncoder().encode(value)
const read = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)
let counter = 0

async function refusal(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => 'no error',
    (error: unknown) => (error as { code?: string }).code,
  )
}

/** Puts an older copy of the keyring document back, and nothing else: the fence stays, unless it is asked otherwise. */
async function putBack(store: VaultStore, bytes: Uint8Array): Promise<void> {
  const found = await store.readDocument('keyring')
  if (found === undefined) throw new Error('missing')
  await store.apply([], { name: 'keyring', bytes, expected: found.revision })
}

/** The same store as one of a team that cannot read its fence. */
function withoutFence(store: VaultStore): VaultStore {
  return {
    get: (id) => store.get(id),
    apply: (changes, document) => store.apply(changes, document),
    scan: (query) => store.scan(query),
    census: () => store.census(),
    readDocument: (name) => store.readDocument(name),
    close: () => store.close(),
  }
}

const kinds: Record<string, () => Promise<{ store: VaultStore; audit: AuditStore }>> = {
  memory: async () => ({ store: new MemoryStore(), audit: new MemoryAuditStore() }),
  folder: async () => {
    const folder = join(root, `folder-${counter++}`)
    return { store: await FolderStore.open(folder), audit: new FileAuditStore(join(folder, 'audit.jsonl')) }
  },
  sqlite: async () => {
    const store = SqliteStore.open(join(root, `v${counter++}.sqlite`))
    return { store, audit: new SqliteAuditStore(store.database) }
  },
}

describe.each(Object.keys(kinds))('a keyring document that was rolled back in a %s store', (kind) => {
  const make = kinds[kind] ?? (() => Promise.reject(new Error('no such store')))

  it('is refused by a fresh process, whichever of fence, census and audit chain is left to tell', async () => {
    for (const left of ['fence', 'census', 'audit'] as const) {
      const { store: whole, audit } = await make()
      const store = left === 'fence' ? whole : withoutFence(whole)
      const provider = memoryProvider()
      const options = left === 'audit' ? { audit: { store: audit } } : {}
      const vault = await Vault.create(store, provider, options)
      const old = (await store.readDocument('keyring'))?.bytes
      if (old === undefined) throw new Error('missing')
      await vault.keys.rotate()
      if (left === 'census') await vault.partition('p').cell('c').seal('n', text('under version 2'))
      await putBack(store, old)
      expect([left, await refusal(Vault.open(store, provider, options))]).toEqual([left, 'VK_KEYRING'])
      // The process that was there before does not take it in either.
      expect([left, await refusal(vault.reloadKeyring())]).toEqual([left, 'VK_KEYRING'])
      await vault.close()
      await whole.close()
    }
  })

  it('never lets a version number be handed out twice', async () => {
    const { store, audit } = await make()
    const provider = memoryProvider()
    const vault = await Vault.create(store, provider, { audit: { store: audit } })
    const old = (await store.readDocument('keyring'))?.bytes
    if (old === undefined) throw new Error('missing')
    const fresh = await Vault.open(store, provider, { audit: { store: audit } }) // opened before the rotation
    await vault.keys.rotate()
    await vault.partition('p').cell('c').seal('n', text('under version 2'))
    await putBack(store, old)
    expect(await refusal(fresh.keys.stage())).toBe('VK_KEYRING')
    expect(await refusal(fresh.keys.rotate())).toBe('VK_KEYRING')
    await store.close()
  })

  it('opens when keyring, records and chain are of one time, and after a true rotation', async () => {
    const { store, audit } = await make()
    const provider = memoryProvider()
    const vault = await Vault.create(store, provider, { audit: { store: audit } })
    await vault.partition('p').cell('c').seal('n', text('kept'))
    for (let n = 0; n < 3; n++) await vault.keys.rotate()
    await vault.keys.acknowledge('node-1')
    await vault.keys.suspend(2)
    const again = await Vault.open(store, provider, { audit: { store: audit } })
    expect(read(await again.partition('p').cell('c').open('n'))).toBe('kept')
    await again.close()
    await vault.close()
    await store.close()
  })
})

describe('opening while another process rotates', () => {
  it('is not taken for a rollback', async () => {
    const store = new MemoryStore()
    const provider = memoryProvider()
    const audit = new MemoryAuditStore()
    const vault = await Vault.create(store, provider, { audit: { store: audit } })
    let rotated = false
    const slow: VaultStore = {
      ...withoutFence(store),
      readFence: () => store.readFence(),
      readDocument: async (name) => {
        const found = await store.readDocument(name)
        if (!rotated) {
          rotated = true
          await vault.keys.rotate() // after the read, before the comparison
        }
        return found
      },
    }
    const opened = await Vault.open(slow, provider, { audit: { store: audit } })
    expect(opened.keys.active).toBe(2)
  })
})

describe('rotations at the same time', () => {
  it('one wins, the others are refused as busy and may simply try again', async () => {
    const store = new MemoryStore()
    const provider = memoryProvider()
    const audit = new MemoryAuditStore()
    const first = await Vault.create(store, provider, { audit: { store: audit } })
    const handles = [first]
    for (let n = 0; n < 4; n++) handles.push(await Vault.open(store, provider, { audit: { store: audit } }))
    const results = await Promise.all(
      handles.map((vault) => vault.keys.rotate().catch((error: unknown) => error as { code: string; kind: string })),
    )
    const won = results.filter((result) => typeof result === 'number')
    const lost = results.filter((result) => typeof result !== 'number')
    expect(won).toEqual([2])
    expect(lost.map(({ code, kind }) => `${code} ${kind}`)).toEqual(Array(4).fill('VK_CONFLICT busy'))
    expect(first.keys.list().map(({ version, state }) => `${version} ${state}`)).toEqual(['1 decrypt_only', '2 active'])
    // On one handle as well.
    const same = await Promise.allSettled([first.keys.rotate(), first.keys.rotate(), first.keys.rotate()])
    expect(same.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    expect(await first.keys.rotate()).toBe(4)
    expect(await first.verifyAudit()).toMatchObject({ ok: true })
  })

  it('a rotation that is disturbed between staging and promoting promotes what it staged', async () => {
    const store = new MemoryStore()
    const provider = memoryProvider()
    const vault = await Vault.create(store, provider)
    const other = await Vault.open(store, provider)
    let disturbed = 0
    const apply = store.apply.bind(store)
    store.apply = async (changes, document) => {
      if (document?.name === 'keyring' && document.fence?.activeVersion === 2 && disturbed++ === 0)
        await other.keys.acknowledge('node-1')
      return apply(changes, document)
    }
    expect(await vault.keys.rotate({ minimumStagedMs: 0 })).toBe(2)
    expect(disturbed).toBe(2)
  })
})
