import { compareRecordIds } from '../store.ts'
import type { CensusRow, StoreChange, StoredRecord, VaultRecord, VaultStore } from '../store.ts'
import { MemoryStore } from '../memory-store.ts'

/** `describe` and `it` of a test runner: vitest, jest, mocha and `node:test` have them. */
export interface TestRunner {
  describe(title: string, body: () => void): unknown
  it(title: string, body: () => Promise<void>): unknown
}

/** The store that is tested. */
export interface StoreUnderTest {
  /** Of the store, in titles. */
  readonly name: string
  /** A store that is empty. */
  open(): Promise<VaultStore>
  /** Closes a store and opens it again on the same bytes; leave it out when it keeps none. */
  reopen?(store: VaultStore): Promise<VaultStore>
}

/** Series of batches that are compared with a store in memory, and how long they are. */
const SERIES = 40
const MOST_BATCHES = 8
const MOST_CHANGES = 5

const bytes = (value: string): Uint8Array => new TextEncoder().encode(value)

/** A record to write: everything that is not given has a value that means nothing. */
export function sampleRecord(name: string, keyVersion = 1, more: Partial<VaultRecord> = {}): VaultRecord {
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

/** One text for equal values, whatever the order of their members; bytes are written as lists. */
function shape(value: unknown): string {
  return JSON.stringify(value, (_key, member: unknown) => {
    if (member instanceof Uint8Array) return { bytes: [...member] }
    if (typeof member !== 'object' || member === null || Array.isArray(member)) return member
    return Object.fromEntries(Object.entries(member).toSorted(([a], [b]) => (a < b ? -1 : 1)))
  })
}

function same(actual: unknown, expected: unknown): void {
  if (shape(actual) === shape(expected)) return
  throw new Error(`The store does not keep the contract: expected ${shape(expected)}, got ${shape(actual)}`)
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

const all = (store: VaultStore): Promise<readonly StoredRecord[]> => store.scan({ limit: 10_000 })
const ordered = (rows: readonly CensusRow[]): readonly CensusRow[] =>
  rows.toSorted((a, b) => a.keyVersion - b.keyVersion || a.layer - b.layer)

/** Numbers that look random and are the same in every run. */
function numbers(seed: number): (below: number) => number {
  let state = seed >>> 0
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

function randomChange(next: (below: number) => number): StoreChange {
  const name = ['a', 'b', 'c', 'd', 'é'][next(5)] as string
  const expected = (['any', 'absent', 1, 2, 3] as const)[next(5)] as 'any' | 'absent' | number
  if (next(3) === 0) return { remove: sampleRecord(name), expected: expected === 'absent' ? 'any' : expected }
  const envelope = Uint8Array.from({ length: next(40) }, () => next(256))
  return { put: sampleRecord(name, 1 + next(2), { envelope }), expected }
}

async function readsBack(subject: StoreUnderTest): Promise<void> {
  const store = await withFence(await subject.open(), 1)
  const full = sampleRecord('a', 1, { layer: 2, sidecar: new Uint8Array([1, 2, 3]), expiresAt: 1_800_000_000_000 })
  same(
    await store.apply([
      { put: full, expected: 'absent' },
      { put: sampleRecord('b'), expected: 'any' },
    ]),
    ['done', 'done'],
  )
  same(await store.get(full), { ...full, revision: 1 })
  same(await store.apply([{ put: sampleRecord('a'), expected: 1 }]), ['done'])
  same(await store.get(full), { ...sampleRecord('a'), revision: 3 })
  same(await store.get({ partition: 'p', cell: 'c', name: 'z' }), undefined)
  await store.close()
}

async function meetsExpectations(subject: StoreUnderTest): Promise<void> {
  const store = await withFence(await subject.open(), 1)
  await store.apply([{ put: sampleRecord('a'), expected: 'absent' }])
  same(
    await store.apply([
      { put: sampleRecord('a'), expected: 'absent' },
      { put: sampleRecord('a'), expected: 7 },
      { put: sampleRecord('b'), expected: 3 },
      { remove: sampleRecord('c'), expected: 'any' },
      { remove: sampleRecord('a'), expected: 9 },
      { put: sampleRecord('d'), expected: 'any' },
    ]),
    ['conflict', 'conflict', 'conflict', 'conflict', 'conflict', 'done'],
  )
  same(await store.apply([{ remove: sampleRecord('a'), expected: 1 }]), ['done'])
  same(await store.get(sampleRecord('a')), undefined)
  await store.close()
}

async function keepsTheFence(subject: StoreUnderTest): Promise<void> {
  const store = await withFence(await subject.open(), 1)
  same(await store.apply([{ put: sampleRecord('a', 2), expected: 'any' }]), ['stale'])
  const move = { name: 'keyring', bytes: bytes('two'), expected: 1, fence: { epoch: 2, activeVersion: 2 } }
  same(
    await store.apply(
      [
        { put: sampleRecord('a', 1), expected: 'any' },
        { put: sampleRecord('b', 2), expected: 'any' },
      ],
      move,
    ),
    ['stale', 'done'],
  )
  same(await store.apply([{ put: sampleRecord('a', 1), expected: 'any' }]), ['stale'])
  await withFence(store, undefined)
  same(await store.apply([{ put: sampleRecord('a', 2), expected: 'any' }]), ['stale'])
  await store.close()
}

async function takesLegacyOnce(subject: StoreUnderTest): Promise<void> {
  const store = await withFence(await subject.open(), 1)
  const legacy = sampleRecord('a', 0, { format: 'v0' })
  same(await store.apply([{ put: legacy, expected: 'any' }]), ['done'])
  same(await store.apply([{ put: legacy, expected: 1 }]), ['conflict'])
  same(await store.apply([{ put: sampleRecord('a', 1), expected: 1 }]), ['done'])
  await store.close()
}

async function guardsDocuments(subject: StoreUnderTest): Promise<void> {
  const store = await withFence(await subject.open(), 1)
  same(
    await store
      .apply([{ put: sampleRecord('a'), expected: 'any' }], { name: 'job', bytes: bytes('x'), expected: 4 })
      .then(
        () => 'done',
        (error: unknown) => (error as { code?: unknown }).code,
      ),
    'VK_CONFLICT',
  )
  same(await store.get(sampleRecord('a')), undefined)
  await store.apply([{ put: sampleRecord('a'), expected: 'any' }], {
    name: 'job',
    bytes: bytes('x'),
    expected: 'absent',
  })
  await store.apply([], { name: 'job', bytes: bytes('y'), expected: 1 })
  same(await store.readDocument('job'), { bytes: bytes('y'), revision: 2 })
  same(await store.readDocument('none'), undefined)
  await store.close()
}

async function scansInOrder(subject: StoreUnderTest): Promise<void> {
  const store = await withFence(await subject.open(), 1)
  const names = ['', 'a', 'a b', 'b', 'z', 'ä', '\u{10000}', '\uffff', 'ａ', '~']
  const records = ['p', 'p2', 'ü'].flatMap((partition) =>
    ['c', 'd'].flatMap((cell) => names.map((name) => sampleRecord(name, 1, { partition, cell }))),
  )
  await store.apply(records.toReversed().map((put) => ({ put, expected: 'any' as const })))
  const sorted = records.toSorted(compareRecordIds).map(({ partition, cell, name }) => [partition, cell, name])
  const seen: string[][] = []
  for (let after; ;) {
    const page = await store.scan({ limit: 7, after })
    seen.push(...page.map(({ partition, cell, name }) => [partition, cell, name]))
    after = page.at(-1)
    if (page.length < 7) break
  }
  same(seen, sorted)
  same((await store.scan({ partition: 'p', cell: 'd', limit: 100 })).length, names.length)
  same((await store.scan({ keyVersion: 1, limit: 3 })).length, 3)
  same(await store.scan({ keyVersion: 2, limit: 3 }), [])
  same(await store.scan({ format: 'v0', limit: 3 }), [])
  await store.close()
}

async function counts(subject: StoreUnderTest): Promise<void> {
  const store = await withFence(await subject.open(), 1)
  await store.apply([
    { put: sampleRecord('a'), expected: 'any' },
    { put: sampleRecord('b'), expected: 'any' },
    { put: sampleRecord('c', 1, { layer: 1 }), expected: 'any' },
    { put: sampleRecord('d', 0, { format: 'v0' }), expected: 'any' },
  ])
  await withFence(store, 2)
  await store.apply([
    { put: sampleRecord('a', 2), expected: 'any' },
    { remove: sampleRecord('c'), expected: 'any' },
  ])
  const size = sampleRecord('a').envelope.length
  same(
    (await store.census()).toSorted((a, b) => a.keyVersion - b.keyVersion),
    [
      { keyVersion: 0, layer: 0, format: 'v0', count: 1, bytes: size },
      { keyVersion: 1, layer: 0, format: 'v1', count: 1, bytes: size },
      { keyVersion: 2, layer: 0, format: 'v1', count: 1, bytes: size },
    ],
  )
  await store.close()
}

async function keepsWhatIsAlive(subject: StoreUnderTest): Promise<void> {
  let store = await withFence(await subject.open(), 1)
  if (store.forgetOverwritten === undefined) return store.close()
  await store.apply([{ put: sampleRecord('a'), expected: 'any' }])
  await store.apply([{ put: sampleRecord('a'), expected: 'any' }])
  const during = store.apply([{ put: sampleRecord('b'), expected: 'any' }])
  await Promise.all([store.forgetOverwritten(), during, store.apply([{ put: sampleRecord('c'), expected: 'any' }])])
  if (subject.reopen !== undefined) store = await subject.reopen(store)
  same(
    (await all(store)).map(({ name }) => name),
    ['a', 'b', 'c'],
  )
  same((await store.readDocument('keyring'))?.revision, 1)
  same(await store.apply([{ put: sampleRecord('a', 2), expected: 'any' }]), ['stale'])
  await store.close()
}

async function equalsMemory(subject: StoreUnderTest): Promise<void> {
  for (let series = 0; series < SERIES; series++) {
    const next = numbers(series)
    const memory = await withFence(new MemoryStore(), 1)
    let store = await withFence(await subject.open(), 1)
    for (let batch = next(MOST_BATCHES + 1); batch > 0; batch--) {
      const changes = Array.from({ length: next(MOST_CHANGES + 1) }, () => randomChange(next))
      same(await store.apply(changes), await memory.apply(changes))
    }
    if (subject.reopen !== undefined) store = await subject.reopen(store)
    same(await all(store), await all(memory))
    same(ordered(await store.census()), ordered(await memory.census()))
    await store.close()
  }
}

const cases: readonly [string, (store: StoreUnderTest) => Promise<void>][] = [
  ['a put is read back with its columns and a growing revision', readsBack],
  ['expectations are met or refused one by one', meetsExpectations],
  ['the fence refuses a stale writer, in the very batch that moves it', keepsTheFence],
  ['a legacy record is taken only where nothing is', takesLegacyOnce],
  ['a document written by somebody else refuses the whole batch', guardsDocuments],
  ['scan() goes in the order of bytes, by pages and filters', scansInOrder],
  ['census() counts by version, layer and format, and after removals', counts],
  ['forgetOverwritten(), where there is one, keeps all that is alive and lets writers through', keepsWhatIsAlive],
  ['any series of batches ends as in memory, also after opening again', equalsMemory],
]

/**
 * What every store must do, as tests. Run it against a store of your own:
 *
 * ```ts
 * import { describe, it } from 'vitest'
 * storeContract({ name: 'MyStore', open: async () => new MyStore() }, { describe, it })
 * ```
 */
export function storeContract(store: StoreUnderTest, { describe, it }: TestRunner): void {
  describe(`${store.name} keeps the contract of a store`, () => {
    for (const [title, run] of cases) it(title, () => run(store))
  })
}
