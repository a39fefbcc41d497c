import { readFileSync } from 'node:fs'
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { hexDecode, hexEncode } from '@keyturn/primitives'
import { afterAll, describe, expect, it } from 'vitest'
import { readShard, deriveShardKeys, shardDocumentName, shardNames } from '../src/erasable/shard.ts'
import {
  MemoryAuditStore,
  MemoryStore,
  Vault,
  VaultError,
  deriveErasablePartitionKey,
  derivePartitionKey,
  openEnvelope,
  parseEnvelopeHeader,
  sealEnvelope,
} from '../src/index.ts'
import type { Layer, MasterKeyProvider, VaultOptions, VaultStore } from '../src/index.ts'
import { FolderStore } from '../src/node/index.ts'
import { SqliteStore } from '../src/sqlite/index.ts'
import { memoryProvider } from '../src/testing/index.ts'

const text = (value: string): Uint8Array => new TextEncoder().encode(value)
const code = (name: string): unknown => expect.objectContaining({ code: name })
const root = await mkdtemp(join(tmpdir(), 'keyturn-erasable-'))
afterAll(() => rm(root, { recursive: true, force: true }))

interface Case {
  master: string
  secret: string
  salt: string
  version: number
  partition: string
  cell: string
  name: string
  layer: Layer
  policy: string
  session: string
  plaintext: string
  partitionKey: string
  envelope: string
}

interface World {
  readonly store: MemoryStore
  readonly provider: MasterKeyProvider
  readonly vault: Vault
  readonly audit: MemoryAuditStore
}

async function world(options: VaultOptions = {}, store = new MemoryStore()): Promise<World> {
  const provider = memoryProvider()
  const audit = new MemoryAuditStore()
  const vault = await Vault.create(store, provider, { audit: { store: audit }, lazyResealsPerSecond: 0, ...options })
  return { store, provider, vault, audit }
}

async function withTenant(options: VaultOptions = {}): Promise<World> {
  const made = await world(options)
  await made.vault.partition('a').makeErasable()
  await made.vault.partition('a').cell('c').seal('n', text('of a'))
  await made.vault.partition('b').cell('c').seal('n', text('of b'))
  return made
}

/** All documents and records, to put back later. */
async function copyOf(
  store: VaultStore,
  into = new MemoryStore(),
  without: readonly string[] = [],
): Promise<MemoryStore> {
  const names = ['keyring', 'audit-checkpoint', 'sweep', ...shardNames.map(shardDocumentName)]
  const fence = await store.readFence?.()
  for (const name of names.filter((candidate) => !without.includes(candidate))) {
    const found = await store.readDocument(name)
    if (found === undefined) continue
    await into.apply([], { name, bytes: found.bytes, expected: 'absent', ...(fence === undefined ? {} : { fence }) })
  }
  for (const record of await store.scan({ limit: 1000 })) await into.apply([{ put: record, expected: 'any' }])
  return into
}

async function shardOf(store: VaultStore): Promise<{ name: string; bytes: Uint8Array; revision: number }> {
  for (const shard of shardNames) {
    const name = shardDocumentName(shard)
    const found = await store.readDocument(name)
    if (found !== undefined) return { name, ...found }
  }
  throw new Error('no shard')
}

describe('envelopes of format 2', () => {
  const { cases } = JSON.parse(readFileSync(new URL('vectors/erasable.json', import.meta.url), 'utf8')) as {
    cases: Case[]
  }

  it.each(cases)('agree with the independent implementation: $partition/$cell/$name', (vector) => {
    const place = { ...vector, context: { policy: vector.policy, session: vector.session } }
    const key = deriveErasablePartitionKey(hexDecode(vector.master), hexDecode(vector.secret), vector)
    expect(hexEncode(key)).toBe(vector.partitionKey)
    const sealed = sealEnvelope(key, place, hexDecode(vector.plaintext), {
      keyVersion: vector.version,
      salt: hexDecode(vector.salt),
      format: 2,
    })
    expect(hexEncode(sealed)).toBe(vector.envelope)
    expect(parseEnvelopeHeader(sealed)).toEqual({ format: 2, layer: vector.layer, keyVersion: vector.version })
    expect(hexEncode(openEnvelope(key, place, sealed))).toBe(vector.plaintext)
    const plain = derivePartitionKey(hexDecode(vector.master), vector.version, vector.partition)
    expect(() => openEnvelope(plain, place, sealed)).toThrow(code('VK_AUTH'))
    sealed[4] = 1 // another format is another header: the commitment does not hold
    expect(() => openEnvelope(key, place, sealed)).toThrow(code('VK_AUTH'))
  })
})

describe('erasable partitions', () => {
  it('makeErasable() gives a partition a secret once, and others stay as they were', async () => {
    const { vault, store, audit } = await withTenant()
    expect(await vault.partition('a').makeErasable()).toBe(false)
    expect(await vault.partition('a').erasability()).toBe('erasable')
    expect(await vault.partition('b').erasability()).toBe('plain')
    const formats = (await store.scan({ limit: 9 })).map((record) => parseEnvelopeHeader(record.envelope)?.format)
    expect(formats).toEqual([2, 1])
    expect(await vault.partition('a').cell('c').open('n')).toEqual(text('of a'))
    const types = []
    for await (const record of audit.records()) types.push(record.type)
    expect(types.filter((type) => type === 'partition_made_erasable')).toHaveLength(1)
  })

  it('erase() destroys one tenant and no other, in a copy of the sealed records too', async () => {
    const { vault, store, provider, audit } = await withTenant()
    const backup = await copyOf(store)
    const records = await backup.scan({ limit: 9 })
    await expect(vault.partition('a').erase({ irreversiblyErase: 'b' })).rejects.toThrow(TypeError)
    expect(await vault.partition('a').erase({ irreversiblyErase: 'a', reason: 'left' })).toEqual({ removed: 1 })
    const cell = vault.partition('a').cell('c')
    await expect(cell.open('n')).rejects.toEqual(code('VK_NOT_FOUND'))
    await expect(cell.seal('n', text('again'))).rejects.toEqual(code('VK_PARTITION_ERASED'))
    await expect(vault.partition('a').makeErasable()).rejects.toEqual(code('VK_PARTITION_ERASED'))
    expect(await vault.partition('b').cell('c').open('n')).toEqual(text('of b'))
    expect(await vault.partition('a').erasability()).toBe('erased')

    // The sealed records of the backup come back; the secret does not. The sweep takes them away.
    for (const record of records.filter(({ partition }) => partition === 'a'))
      expect(await store.apply([{ put: record, expected: 'any' }])).toEqual(['done'])
    await expect(cell.open('n')).rejects.toEqual(code('VK_PARTITION_ERASED'))
    const again = await Vault.open(store, provider, { audit: { store: audit } })
    await expect(again.partition('a').cell('c').open('n')).rejects.toEqual(code('VK_PARTITION_ERASED'))
    await vault.keys.rotate()
    expect(await vault.sweep()).toMatchObject({ state: 'completed', remaining: 0, counts: { erased: 1, resealed: 1 } })
    expect(await vault.verifyAudit()).toMatchObject({ ok: true })
  })

  it('erase() can be repeated, and tells what cannot be erased', async () => {
    const { vault } = await withTenant()
    await expect(vault.partition('b').erase({ irreversiblyErase: 'b' })).rejects.toEqual(code('VK_STATE'))
    await vault.partition('a').erase({ irreversiblyErase: 'a' })
    expect(await vault.partition('a').erase({ irreversiblyErase: 'a' })).toEqual({ removed: 0 })
    await expect(vault.partition('a').erase(undefined as never)).rejects.toThrow(TypeError)
  })

  it('erase() waits until everything of before has been moved under the secret', async () => {
    const { vault } = await world()
    const partition = vault.partition('a')
    await partition.cell('c').seal('old', text('old'))
    await partition.makeErasable()
    await expect(partition.erase({ irreversiblyErase: 'a' })).rejects.toMatchObject({
      code: 'VK_SWEEP_INCOMPLETE',
      details: { count: 1 },
    })
    await vault.keys.rotate()
    await vault.sweep()
    expect(await partition.cell('c').open('old')).toEqual(text('old'))
    expect(await partition.erase({ irreversiblyErase: 'a' })).toEqual({ removed: 1 })
  })

  it('a record of before the secret, put back from a backup, is refused once the partition is erased', async () => {
    const { vault, store } = await world()
    const partition = vault.partition('a')
    await partition.cell('c').seal('old', text('old'))
    const [old] = await store.scan({ limit: 1 })
    await partition.cell('c').remove('old')
    await partition.makeErasable()
    await partition.erase({ irreversiblyErase: 'a' })
    await store.apply([{ put: old as NonNullable<typeof old>, expected: 'any' }])
    await expect(partition.cell('c').open('old')).rejects.toEqual(code('VK_PARTITION_ERASED'))
  })

  it('gated records of an erasable partition are swept by their sidecars', async () => {
    const { vault } = await world({ resolver: { resolve: (policy) => ({ policy, session: 's' }) } })
    await vault.partition('a').makeErasable()
    const cell = vault.partition('a').cell('c')
    await cell.seal('n', text('gated'), { layer: 1, token: 'pol' })
    await vault.keys.rotate()
    expect(await vault.sweep()).toMatchObject({ remaining: 0, counts: { resealed: 1, gated: 0 } })
    expect(await cell.open('n', { token: 'pol' })).toEqual(text('gated'))
  })
})

describe('rotation', () => {
  it('the sweep wraps the secrets under the new master, and retire() waits for it', async () => {
    const { vault, provider, store, audit } = await withTenant()
    await vault.keys.rotate()
    for (const partition of ['a', 'b']) await vault.partition(partition).cell('c').reseal('n')
    await expect(vault.keys.retire(1)).rejects.toMatchObject({ code: 'VK_SWEEP_INCOMPLETE', details: { count: 1 } })
    await vault.sweep()
    await vault.keys.retire(1)
    await vault.keys.destroy(1, { quarantineMs: 0 })
    expect(await vault.partition('a').cell('c').open('n')).toEqual(text('of a'))
    const again = await Vault.open(store, provider, { audit: { store: audit } })
    expect(await again.partition('a').cell('c').open('n')).toEqual(text('of a'))
    const moved = []
    for await (const record of audit.records())
      if (record.type === 'partition_secrets_rewrapped') moved.push(record.details)
    expect(moved).toEqual([{ count: 1 }])
  })

  it('destroy() by force does not take the secrets with it', async () => {
    const { vault } = await withTenant()
    const staged = await vault.keys.stage()
    await vault.keys.promote(staged)
    await vault.keys.compromise(1)
    await vault.partition('c').makeErasable()
    await expect(vault.keys.destroy(1, { forceWithCensus: 2 })).rejects.toEqual(code('VK_SWEEP_INCOMPLETE'))
    await vault.sweep()
    await vault.keys.retire(1)
  })

  it('a process that has seen the secret under the old master finds it under the new one', async () => {
    const { vault, provider, store, audit } = await withTenant()
    const other = await Vault.open(store, provider, { audit: { store: audit }, maxKeyringAgeMs: 0 })
    expect(await other.partition('a').cell('c').open('n')).toEqual(text('of a'))
    await vault.keys.rotate()
    await vault.sweep()
    await vault.keys.retire(1)
    await vault.keys.destroy(1, { quarantineMs: 0 })
    expect(await other.partition('a').cell('c').open('n')).toEqual(text('of a'))
    await other.partition('a').cell('c').seal('m', text('more'))
    expect(await vault.partition('a').cell('c').open('m')).toEqual(text('more'))
  })
})

describe('several processes', () => {
  it('an erasure holds in every other process as soon as its keyring is read again', async () => {
    const { vault, provider, store, audit } = await withTenant()
    let now = Date.now()
    const other = await Vault.open(store, provider, {
      audit: { store: audit },
      clock: () => now,
      maxKeyringAgeMs: 5_000,
    })
    const cell = other.partition('a').cell('c')
    await cell.open('n')
    const [record] = await store.scan({ limit: 1 })
    await vault.partition('a').erase({ irreversiblyErase: 'a' })
    await store.apply([{ put: record as NonNullable<typeof record>, expected: 'any' }])
    now += 5_001
    await expect(cell.open('n')).rejects.toEqual(code('VK_PARTITION_ERASED'))
    await expect(cell.seal('n', text('x'))).rejects.toEqual(code('VK_PARTITION_ERASED'))
  })

  it('two processes that make a partition erasable at the same time make one secret', async () => {
    const { vault, provider, store, audit } = await world()
    const other = await Vault.open(store, provider, { audit: { store: audit } })
    const made = await Promise.all(
      [vault, other].map((one) =>
        one
          .partition('a')
          .makeErasable()
          .catch(() => 'refused'),
      ),
    )
    expect(made.filter((one) => one === true)).toHaveLength(1)
    await vault.partition('a').cell('c').seal('n', text('one'))
    await other.reloadKeyring()
    expect(await other.partition('a').cell('c').open('n')).toEqual(text('one'))
  })
})

describe('older copies', () => {
  it('the secrets alone, put back from before an erasure, are refused by this process and by a fresh one', async () => {
    const { vault, provider, store, audit } = await withTenant()
    const { name, bytes } = await shardOf(store)
    const backup = await copyOf(store)
    await vault.partition('a').erase({ irreversiblyErase: 'a' })
    const now = await store.readDocument(name)
    await store.apply([], { name, bytes, expected: now?.revision ?? 'absent' })
    for (const record of await backup.scan({ partition: 'a', limit: 9 }))
      await store.apply([{ put: record, expected: 'any' }])
    const fresh = await Vault.open(store, provider, { audit: { store: audit } })
    await expect(fresh.partition('a').cell('c').open('n')).rejects.toEqual(code('VK_PARTITION_SECRET'))
  })

  it('secrets, keyring and records from before an erasure are refused by the audit chain', async () => {
    const { vault, provider, store, audit } = await withTenant()
    const backup = await copyOf(store)
    await vault.partition('a').erase({ irreversiblyErase: 'a' })
    await expect(Vault.open(backup, provider, { audit: { store: audit } })).rejects.toEqual(code('VK_KEYRING'))
  })

  it('a partition whose secret was lost gets no second one', async () => {
    const { vault, provider, store, audit } = await withTenant()
    await vault.close()
    const { name } = await shardOf(store)
    const fresh = await Vault.open(await copyOf(store, new MemoryStore(), [name]), provider, {
      audit: { store: audit },
    })
    await expect(fresh.partition('a').cell('c').open('n')).rejects.toEqual(code('VK_PARTITION_SECRET'))
    await expect(fresh.partition('a').makeErasable()).rejects.toEqual(code('VK_PARTITION_SECRET'))
  })

  it('secrets of another vault, of another shard and with any changed byte are refused', async () => {
    const { vault, provider, store, audit } = await withTenant()
    const { name, bytes, revision } = await shardOf(store)
    await vault.close()
    let at = revision
    for (let index = 0; index < bytes.length; index += 7) {
      const damaged = bytes.slice()
      damaged[index] = (damaged[index] ?? 0) ^ 1
      await store.apply([], { name, bytes: damaged, expected: at })
      at += 1
      const fresh = await Vault.open(store, provider, { audit: { store: audit } })
      await expect(fresh.partition('a').cell('c').open('n')).rejects.toEqual(code('VK_PARTITION_SECRET'))
    }
    const keys = deriveShardKeys(new Uint8Array(32))
    expect(() => readShard(bytes, { vaultId: 'x', shard: '00' }, keys)).toThrow(code('VK_PARTITION_SECRET'))
  })

  it('a process of an earlier version refuses the keyring rather than dropping what it does not know', async () => {
    const { store } = await withTenant()
    const keyring = await store.readDocument('keyring')
    const json = JSON.parse(new TextDecoder().decode(keyring?.bytes)) as { format: string; erasures: unknown }
    expect(json).toMatchObject({ format: 'keyturn-keyring-2', erasures: {} })
  })
})

describe('faults', () => {
  it.each(['makeErasable', 'erase'] as const)(
    '%s() cut off at any write of the store leaves the partition whole or erased, and is finished by the next call',
    async (step) => {
      for (let failing = 0; ; failing++) {
        const made = await (step === 'erase' ? withTenant() : world())
        let writes = 0
        let faults = true
        const faulty: VaultStore = {
          ...bound(made.store),
          apply: async (changes, document) => {
            if (faults && writes++ === failing) throw new VaultError('VK_STORE_IO', 'planned')
            return made.store.apply(changes, document)
          },
        }
        const vault = await Vault.open(faulty, made.provider, { audit: { store: made.audit } })
        const run = (): Promise<unknown> =>
          step === 'erase'
            ? vault.partition('a').erase({ irreversiblyErase: 'a' })
            : vault.partition('a').makeErasable()
        const failed = await run().then(
          () => false,
          () => true,
        )
        faults = false
        const fresh = await Vault.open(made.store, made.provider, { audit: { store: made.audit } })
        if (step === 'erase' && (await fresh.partition('a').erasability()) === 'erasable')
          expect(await fresh.partition('a').cell('c').open('n')).toEqual(text('of a'))
        await run()
        const last = await Vault.open(made.store, made.provider, { audit: { store: made.audit } })
        expect(await last.partition('a').erasability()).toBe(step === 'erase' ? 'erased' : 'erasable')
        expect(await last.verifyAudit()).toMatchObject({ ok: true })
        if (!failed) break
      }
    },
  )
})

function bound(store: MemoryStore): VaultStore {
  return {
    get: (id) => store.get(id),
    apply: (changes, document) => store.apply(changes, document),
    scan: (query) => store.scan(query),
    census: () => store.census(),
    readDocument: (name) => store.readDocument(name),
    readFence: () => store.readFence(),
    close: () => store.close(),
  }
}

describe('where the secrets are', () => {
  it('a store of its own keeps them out of the store of the records', async () => {
    const secrets = new MemoryStore()
    const { vault, store, provider, audit } = await withTenant({ partitionSecrets: secrets })
    await expect(shardOf(store)).rejects.toThrow('no shard')
    expect((await shardOf(secrets)).name).toMatch(/^partition-secrets-/)
    await vault.partition('a').erase({ irreversiblyErase: 'a' })
    // With neither the records' store nor the masters changed: the whole backup of the records opens nothing.
    const fresh = await Vault.open(store, provider, { audit: { store: audit }, partitionSecrets: secrets })
    expect(await fresh.partition('a').erasability()).toBe('erased')
    expect(await fresh.partition('b').cell('c').open('n')).toEqual(text('of b'))
  })

  it.each(['folder', 'sqlite'] as const)('after erase() no file of a %s store has the wrapped secret', async (kind) => {
    const path = join(root, kind)
    const store = kind === 'folder' ? await FolderStore.open(path) : SqliteStore.open(path)
    const vault = await Vault.create(store, memoryProvider())
    await vault.partition('a').makeErasable()
    await vault.partition('a').cell('c').seal('n', text('secret'))
    const json = JSON.parse(new TextDecoder().decode((await shardOf(store)).bytes)) as {
      partitions: Record<string, { wrapped: string }>
    }
    const { wrapped } = Object.values(json.partitions)[0] as { wrapped: string }
    const files = async (): Promise<string> => {
      const names = kind === 'folder' ? (await readdir(path)).map((name) => join(path, name)) : [path, `${path}-wal`]
      return (await Promise.all(names.map((name) => readFile(name, 'latin1').catch(() => '')))).join('')
    }
    expect(await files()).toContain(wrapped)
    await vault.partition('a').erase({ irreversiblyErase: 'a' })
    expect(await files()).not.toContain(wrapped)
    expect(await vault.partition('a').erasability()).toBe('erased')
    await store.close()
  })
})
