import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { hexEncode, openAes256Gcm, sealAes256Gcm, systemRandom } from '@keyturn/primitives'
import { faultFileSystem } from '@keyturn/primitives/testing'
import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import { openRecord } from '../src/open-record.ts'
import { lengthPrefixed } from '../src/length-prefixed.ts'
import { envelopeOverhead, tryOpenEnvelope } from '../src/envelope.ts'
import { MemoryStore, Vault } from '../src/index.ts'
import { parseKeyringDocument } from '../src/keyring-parts/index.ts'
import { checkUse } from '../src/key-state.ts'
import { Keyring } from '../src/keyring.ts'
import { memoryProvider, sealLegacyForTest } from '../src/testing/index.ts'
import type { StoredRecord } from '../src/index.ts'
import { derivePartitionKey, sealEnvelope } from '../src/index.ts'
import { FolderStore } from '../src/node/index.ts'

const text = (value: string): Uint8Array => new TextEncoder().encode(value)
const folder = await mkdtemp(join(tmpdir(), 'keyturn-catalogue-'))
afterAll(() => rm(folder, { recursive: true, force: true }))

async function code(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => 'no error',
    (error: unknown) => (error as { code?: string }).code,
  )
}

async function get(store: MemoryStore, name: string): Promise<StoredRecord> {
  const record = await store.get({ partition: 'p', cell: 'c', name })
  if (record === undefined) throw new Error('missing')
  return record
}

const legacyMaster = new Uint8Array(32).fill(5)
const legacyBlob = (plaintext: string): Uint8Array =>
  sealLegacyForTest('hv-1.1.2', { partition: 'p', cell: 'c', layer: 0, context: {} }, text(plaintext), {
    master: legacyMaster,
    random: systemRandom,
  })

it('nothing is sealed under a version that is not the active one (VK_STALE_WRITER)', () => {
  checkUse(1, 'active', 'seal')
  for (const state of ['staged', 'decrypt_only', 'suspended', 'quarantined', 'destroyed'] as const)
    expect(() => checkUse(1, state, 'seal'), state).toThrow(expect.objectContaining({ code: 'VK_STALE_WRITER' }))
})

describe('derivation', () => {
  it('no two tuples of ids share an info string, over 100,000 random ones (row 164)', () => {
    const seen = new Map<string, string>()
    const tuples = fc.sample(
      fc.array(fc.oneof(fc.string({ maxLength: 4 }), fc.constantFrom('a:b', 'a', 'b:c', ':', '')), {
        minLength: 2,
        maxLength: 4,
      }),
      100_000,
    )
    for (const tuple of tuples) {
      const info = hexEncode(lengthPrefixed(...tuple))
      const name = JSON.stringify(tuple)
      expect(seen.get(info) ?? name).toBe(name)
      seen.set(info, name)
    }
    expect(lengthPrefixed('a:b', 'c')).not.toEqual(lengthPrefixed('a', 'b:c'))
  })

  it('a salt that the random source repeats is caught before it seals (rows 173, 174)', async () => {
    const vault = await Vault.create(new MemoryStore(), memoryProvider(), {
      random: (length) => new Uint8Array(length).fill(7),
    })
    const cell = vault.partition('p').cell('c')
    await cell.seal('a', text('1'))
    expect(await code(cell.seal('b', text('2')))).toBe('VK_NONCE_REUSE')
  })

  it('a master of 31 bytes, or all zero, is refused (row 178)', async () => {
    const vault = await Vault.create(new MemoryStore(), memoryProvider())
    expect(await code(vault.keys.addLegacyMaster(new Uint8Array(31).fill(1)))).toBe('VK_KEY')
    expect(await code(vault.keys.addLegacyMaster(new Uint8Array(32)))).toBe('VK_KEY')
    expect(vault.keys.list()).toHaveLength(1)
  })
})

describe('formats', () => {
  it("bytes without a header are read as HexVault's when that is on, and refused with a code when it is off (row 166)", async () => {
    const store = new MemoryStore()
    const vault = await Vault.create(store, memoryProvider(), { lazyResealsPerSecond: 0 })
    await vault.keys.addLegacyMaster(legacyMaster)
    await vault.importLegacy([{ partition: 'p', cell: 'c', name: 'n', layer: 0, blob: legacyBlob('old') }])
    expect(await vault.partition('p').cell('c').open('n')).toEqual(text('old'))
    await vault.keys.setLegacyPolicy('refuse')
    expect(await code(vault.partition('p').cell('c').open('n'))).toBe('VK_FORMAT')
  })

  it('unknown and retired versions are told apart, and the record is untouched (rows 168, 182)', async () => {
    const store = new MemoryStore()
    const clock = { now: 1_700_000_000_000 }
    const vault = await Vault.create(store, memoryProvider(), { clock: () => clock.now })
    const cell = vault.partition('p').cell('c')
    await cell.seal('n', text('x'))
    const backup = await get(store, 'n')
    await vault.keys.rotate()
    await vault.sweep()
    await vault.keys.retire(1)
    // An old backup comes back by hand, past the fence.
    Object.assign(store, { get: async () => backup })
    expect(await code(cell.open('n'))).toBe('VK_VERSION_RETIRED')
    const unknown = backup.envelope.slice()
    unknown[11] = 99
    Object.assign(store, { get: async () => ({ ...backup, keyVersion: 99, envelope: unknown }) })
    expect(await code(cell.open('n'))).toBe('VK_VERSION_UNKNOWN')
    expect(backup.envelope[11]).toBe(1)
  })

  it('the same bytes open without a format column: header first, then the profiles in order', async () => {
    const store = new MemoryStore()
    const provider = memoryProvider()
    const vault = await Vault.create(store, provider)
    await vault.keys.addLegacyMaster(legacyMaster)
    await vault.partition('p').cell('c').seal('n', text('v1'))
    const keyring = await Keyring.load((await store.readDocument('keyring'))?.bytes ?? new Uint8Array(0), provider)
    const open = (envelope: Uint8Array): ReturnType<typeof openRecord> =>
      openRecord(
        keyring,
        { partition: 'p', cell: 'c', name: 'n', layer: 0, envelope },
        {},
        { use: 'open', memory: new Map() },
      )
    expect(await open((await get(store, 'n')).envelope)).toMatchObject({ plaintext: text('v1'), keyVersion: 1 })
    expect(await open(legacyBlob('v0'))).toMatchObject({
      plaintext: text('v0'),
      keyVersion: 0,
      legacyProfile: 'hv-1.1.2',
    })
    expect(await code(open(systemRandom(200)))).toBe('VK_AUTH')
    expect(await code(open(systemRandom(27)))).toBe('VK_FORMAT')
  })

  it.each([4, 8, 12, 15, 17])('a tag of %i bytes is never given to the cipher (row 170)', (length) => {
    const key = new Uint8Array(32)
    const sealed = sealAes256Gcm(key, new Uint8Array(12), new Uint8Array(0))
    const other = new Uint8Array(length)
    other.set(sealed.subarray(0, length))
    expect(() => openAes256Gcm(key, new Uint8Array(12), other)).toThrow(
      expect.objectContaining({ code: 'PRIM_DECRYPT' }),
    )
    for (const nonce of [8, 16]) expect(() => openAes256Gcm(key, new Uint8Array(nonce), sealed)).toThrow(RangeError)
    const partitionKey = derivePartitionKey(new Uint8Array(32).fill(1), 1, 'p')
    const place = { cell: 'c', name: 'n', layer: 0 as const, context: {} }
    const envelope = sealEnvelope(partitionKey, place, new Uint8Array(0), { keyVersion: 1, salt: new Uint8Array(32) })
    expect(envelope.length).toBe(envelopeOverhead(0))
    const resized = new Uint8Array(envelope.length - 16 + length)
    resized.set(envelope.subarray(0, resized.length))
    expect(tryOpenEnvelope(partitionKey, place, resized)).toHaveProperty('failure')
  })

  it('any bytes are refused as a keyring with one code', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        expect(() => parseKeyringDocument(bytes)).toThrow(expect.objectContaining({ code: 'VK_KEYRING' }))
      }),
    )
  })
})

describe('keyring document', () => {
  it('a changed or older keyring in the store is refused (rollback of the keys)', async () => {
    const store = new MemoryStore()
    const provider = memoryProvider()
    const vault = await Vault.create(store, provider)
    const old = await store.readDocument('keyring')
    await vault.keys.rotate()
    const now = await store.readDocument('keyring')
    if (old === undefined || now === undefined) throw new Error('missing')
    await store.apply([], { name: 'keyring', bytes: old.bytes, expected: now.revision })
    expect(await code(vault.keys.stage())).toBe('VK_KEYRING')
    const changed = new TextEncoder().encode(
      new TextDecoder()
        .decode(now.bytes)
        .replace('"state":"active"', '"state":"suspended"')
        .replace('"state":"active"', '"state":"suspended"'),
    )
    await store.apply([], { name: 'keyring', bytes: changed, expected: now.revision + 1 })
    expect(await code(Vault.open(store, provider))).toBe('VK_KEYRING')
  })
})

describe('versions', () => {
  it('five versions at once are all read, each by its header and without a second try (row 186)', async () => {
    const store = new MemoryStore()
    const vault = await Vault.create(store, memoryProvider(), { lazyResealsPerSecond: 0 })
    const cell = vault.partition('p').cell('c')
    for (let version = 1; version <= 5; version++) {
      await cell.seal(`n${version}`, text(String(version)))
      if (version < 5) await vault.keys.rotate()
    }
    for (let version = 1; version <= 5; version++) {
      expect((await get(store, `n${version}`)).keyVersion).toBe(version)
      expect(await cell.open(`n${version}`)).toEqual(text(String(version)))
    }
  })

  it('retiring with one record left is refused with the count (row 181)', async () => {
    const vault = await Vault.create(new MemoryStore(), memoryProvider())
    await vault.partition('p').cell('c').seal('n', text('x'))
    await vault.keys.rotate()
    await expect(vault.keys.retire(1)).rejects.toMatchObject({
      code: 'VK_SWEEP_INCOMPLETE',
      kind: 'policy',
      details: { version: 1, count: 1 },
    })
    expect(vault.keys.list()[0]?.state).toBe('decrypt_only')
  })
})

it('a disk that fills up in the middle of a sweep: every record is old or new, and the sweep goes on later (row 185)', async () => {
  const path = join(folder, 'full')
  const provider = memoryProvider()
  {
    const store = await FolderStore.open(path)
    const vault = await Vault.create(store, provider)
    for (let n = 0; n < 60; n++)
      await vault
        .partition('p')
        .cell('c')
        .seal(`n${n}`, text(`value ${n}`))
    await vault.keys.rotate()
    await vault.close()
    await store.close()
  }
  for (const at of [0, 1, 2]) {
    const fs = faultFileSystem({
      plan: { at, mode: 'fail', code: 'ENOSPC', lasting: true },
      counts: ({ name, path: where }) => name === 'handle.write' && where.includes('segment'),
    })
    const store = await FolderStore.open(path, { fs })
    const vault = await Vault.open(store, provider)
    expect(await code(vault.sweep({ pageSize: 10 }))).toBe('VK_STORE_IO')
    await store.close()
    const again = await FolderStore.open(path)
    const reader = await Vault.open(again, provider, { lazyResealsPerSecond: 0 })
    for (let n = 0; n < 60; n++) expect(await reader.partition('p').cell('c').open(`n${n}`)).toEqual(text(`value ${n}`))
    await reader.close()
    await again.close()
  }
  const store = await FolderStore.open(path)
  const vault = await Vault.open(store, provider)
  expect(await vault.sweep({ pageSize: 10 })).toMatchObject({ remaining: 0, state: 'completed' })
  await vault.keys.retire(1)
  await store.close()
})

it('no secret shows in errors, in what is printed, or in the files of a store', async () => {
  const { inspect } = await import('node:util')
  const path = join(folder, 'secrets')
  const marker = systemRandom(32)
  const store = await FolderStore.open(path)
  const vault = await Vault.create(store, memoryProvider())
  await vault.keys.addLegacyMaster(marker)
  await vault.partition('p').cell('c').seal('n', marker)
  const refused = await vault
    .partition('p')
    .cell('d')
    .open('n')
    .catch((error: unknown) => error)
  const printed = [
    inspect(vault, { depth: 9, showHidden: true }),
    inspect(refused, { depth: 9 }),
    JSON.stringify(vault),
  ].join('\n')
  await vault.close()
  await store.close()
  const bytes = await readFile(join(path, 'segment-00000001.log'))
  await writeFile(join(path, 'printed'), printed)
  const window = Buffer.from(marker.subarray(4, 12))
  expect(bytes.includes(window)).toBe(false)
  for (const form of [window.toString('hex'), window.toString('base64').slice(0, 10), [...window].join(', ')])
    expect(printed).not.toContain(form)
})
