import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { compareRecordIds, MemoryStore } from '../src/index.ts'
import type { StoreChange, VaultRecord, VaultStore } from '../src/index.ts'

const bytes = (value: string): Uint8Array => new TextEncoder().encode(value)

export function record(name: string, keyVersion = 1, more: Partial<VaultRecord> = {}): VaultRecord {
  return {
    partition: 'p',
    cell: 'c',
    name,
    layer: 0,
    format: 'v1',
    keyVersion,
    envelope: bytes(`envelope of ${name}`),
    ...more,
  }
}

async function withFence(store: VaultStore, activeVersion: number | undefined): Promise<VaultStore> {
  const found = await store.readDocument('keyring')
  await store.apply([], {
    name: 'keyring',
    bytes: bytes('doc'),
    expected: found?.revision ?? 'absent',
    fence: { epoch: 1, activeVersion },
  })
  return store
}

async function plain(store: VaultStore): Promise<unknown> {
  const page = await store.scan({ limit: 10_000 })
  return page.map((row) => ({
    ...row,
    envelope: [...row.envelope],
    ...(row.sidecar === undefined ? {} : { sidecar: [...row.sidecar] }),
  }))
}

/**
 * What every store must do. An author of another store runs this against it.
 *
 * @param reopen - Closes the store and opens it again on the same bytes; `undefined` when it keeps none.
 */
export function storeContract(
  what: string,
  open: () => Promise<VaultStore>,
  reopen?: (store: VaultStore) => Promise<VaultStore>,
): void {
  describe(`${what} keeps the contract of a store`, () => {
    it('a put is read back with its columns and a growing revision', async () => {
      const store = await withFence(await open(), 1)
      const full = record('a', 1, { layer: 2, sidecar: new Uint8Array([1, 2, 3]), expiresAt: 1_800_000_000_000 })
      expect(
        await store.apply([
          { put: full, expected: 'absent' },
          { put: record('b'), expected: 'any' },
        ]),
      ).toEqual(['done', 'done'])
      expect(await store.get(full)).toEqual({ ...full, revision: 1 })
      expect(await store.apply([{ put: record('a'), expected: 1 }])).toEqual(['done'])
      expect(await store.get(full)).toEqual({ ...record('a'), revision: 3 })
      expect(await store.get({ partition: 'p', cell: 'c', name: 'z' })).toBeUndefined()
      await store.close()
    })

    it('expectations are met or refused one by one', async () => {
      const store = await withFence(await open(), 1)
      await store.apply([{ put: record('a'), expected: 'absent' }])
      expect(
        await store.apply([
          { put: record('a'), expected: 'absent' },
          { put: record('a'), expected: 7 },
          { put: record('b'), expected: 3 },
          { remove: record('c'), expected: 'any' },
          { remove: record('a'), expected: 9 },
          { put: record('d'), expected: 'any' },
        ]),
      ).toEqual(['conflict', 'conflict', 'conflict', 'conflict', 'conflict', 'done'])
      expect(await store.apply([{ remove: record('a'), expected: 1 }])).toEqual(['done'])
      expect(await store.get(record('a'))).toBeUndefined()
      await store.close()
    })

    it('the fence refuses a stale writer, in the very batch that moves it', async () => {
      const store = await withFence(await open(), 1)
      expect(await store.apply([{ put: record('a', 2), expected: 'any' }])).toEqual(['stale'])
      const move = { name: 'keyring', bytes: bytes('two'), expected: 1, fence: { epoch: 2, activeVersion: 2 } }
      expect(
        await store.apply(
          [
            { put: record('a', 1), expected: 'any' },
            { put: record('b', 2), expected: 'any' },
          ],
          move,
        ),
      ).toEqual(['stale', 'done'])
      expect(await store.apply([{ put: record('a', 1), expected: 'any' }])).toEqual(['stale'])
      await withFence(store, undefined)
      expect(await store.apply([{ put: record('a', 2), expected: 'any' }])).toEqual(['stale'])
      await store.close()
    })

    it('a legacy record is taken only where nothing is', async () => {
      const store = await withFence(await open(), 1)
      const legacy = record('a', 0, { format: 'v0' })
      expect(await store.apply([{ put: legacy, expected: 'any' }])).toEqual(['done'])
      expect(await store.apply([{ put: legacy, expected: 1 }])).toEqual(['conflict'])
      expect(await store.apply([{ put: record('a', 1), expected: 1 }])).toEqual(['done'])
      await store.close()
    })

    it('a document written by somebody else refuses the whole batch', async () => {
      const store = await withFence(await open(), 1)
      await expect(
        store.apply([{ put: record('a'), expected: 'any' }], { name: 'job', bytes: bytes('x'), expected: 4 }),
      ).rejects.toMatchObject({ code: 'VK_CONFLICT' })
      expect(await store.get(record('a'))).toBeUndefined()
      await store.apply([{ put: record('a'), expected: 'any' }], { name: 'job', bytes: bytes('x'), expected: 'absent' })
      await store.apply([], { name: 'job', bytes: bytes('y'), expected: 1 })
      expect(await store.readDocument('job')).toEqual({ bytes: bytes('y'), revision: 2 })
      expect(await store.readDocument('none')).toBeUndefined()
      await store.close()
    })

    it('scan() goes in the order of bytes, by pages and filters', async () => {
      const store = await withFence(await open(), 1)
      const names = ['', 'a', 'a b', 'b', 'z', 'ä', '\u{10000}', '\uffff', 'ａ', '~']
      const records = ['p', 'p2', 'ü'].flatMap((partition) =>
        ['c', 'd'].flatMap((cell) => names.map((name) => record(name, 1, { partition, cell }))),
      )
      await store.apply(records.toReversed().map((put) => ({ put, expected: 'any' as const })))
      const sorted = records.toSorted(compareRecordIds).map(({ partition, cell, name }) => [partition, cell, name])
      const seen: string[][] = []
      for (let after; ;) {
        const page = await store.scan({ limit: 7, ...(after === undefined ? {} : { after }) })
        seen.push(...page.map(({ partition, cell, name }) => [partition, cell, name]))
        after = page.at(-1)
        if (page.length < 7) break
      }
      expect(seen).toEqual(sorted)
      expect(await store.scan({ partition: 'p', cell: 'd', limit: 100 })).toHaveLength(names.length)
      expect(await store.scan({ keyVersion: 1, limit: 3 })).toHaveLength(3)
      expect(await store.scan({ keyVersion: 2, limit: 3 })).toEqual([])
      expect(await store.scan({ format: 'v0', limit: 3 })).toEqual([])
      await store.close()
    })

    it('census() counts by version, layer and format, and after removals', async () => {
      const store = await withFence(await open(), 1)
      await store.apply([
        { put: record('a'), expected: 'any' },
        { put: record('b'), expected: 'any' },
        { put: record('c', 1, { layer: 1 }), expected: 'any' },
        { put: record('d', 0, { format: 'v0' }), expected: 'any' },
      ])
      await withFence(store, 2)
      await store.apply([
        { put: record('a', 2), expected: 'any' },
        { remove: record('c'), expected: 'any' },
      ])
      const size = record('a').envelope.length
      expect((await store.census()).toSorted((a, b) => a.keyVersion - b.keyVersion)).toEqual([
        { keyVersion: 0, layer: 0, format: 'v0', count: 1, bytes: size },
        { keyVersion: 1, layer: 0, format: 'v1', count: 1, bytes: size },
        { keyVersion: 2, layer: 0, format: 'v1', count: 1, bytes: size },
      ])
      await store.close()
    })

    it('any series of batches ends as in memory, also after opening again', async () => {
      const name = fc.constantFrom('a', 'b', 'c', 'd', 'é')
      const change: fc.Arbitrary<StoreChange> = fc.oneof(
        fc.record({
          put: fc
            .tuple(name, fc.integer({ min: 1, max: 2 }), fc.uint8Array({ maxLength: 40 }))
            .map(([n, version, envelope]) => record(n, version, { envelope })),
          expected: fc.constantFrom('any' as const, 'absent' as const, 1, 2, 3),
        }),
        fc.record({ remove: name.map((n) => record(n)), expected: fc.constantFrom('any' as const, 1, 2, 3) }),
      )
      await fc.assert(
        fc.asyncProperty(fc.array(fc.array(change, { maxLength: 5 }), { maxLength: 8 }), async (batches) => {
          const memory = await withFence(new MemoryStore(), 1)
          let store = await withFence(await open(), 1)
          for (const batch of batches) expect(await store.apply(batch)).toEqual(await memory.apply(batch))
          if (reopen !== undefined) store = await reopen(store)
          expect(await plain(store)).toEqual(await plain(memory))
          const order = (rows: readonly { keyVersion: number }[]): unknown =>
            rows.toSorted((a, b) => a.keyVersion - b.keyVersion)
          expect(order(await store.census())).toEqual(order(await memory.census()))
          await store.close()
        }),
        { numRuns: 40 },
      )
    })
  })
}
