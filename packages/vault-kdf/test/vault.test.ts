import { describe, expect, it } from 'vitest'
import { MemoryStore, Vault, layers } from '../src/index.ts'
import { faultyProvider, memoryProvider, sealLegacyForTest } from '../src/testing/index.ts'
import type { VaultError, AuditRecord, CensusRow } from '../src/index.ts'
import { systemRandom } from '@keyturn/primitives'

const text = (value: string): Uint8Array => new TextEncoder().encode(value)
const read = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)
const day = 24 * 60 * 60 * 1000

async function code(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => 'no error',
    (error: unknown) => (error as { code?: string }).code,
  )
}

function setUp(): {
  store: MemoryStore
  clock: { now: number }
  open: (options?: object) => Promise<Vault>
  create: (options?: object) => Promise<Vault>
  provider: ReturnType<typeof faultyProvider>
} {
  const store = new MemoryStore()
  const provider = faultyProvider(memoryProvider())
  const clock = { now: 1_700_000_000_000 }
  const base = {
    clock: () => clock.now,
    resolver: {
      resolve(token: string) {
        if (!token.startsWith('token:')) throw new Error('bad token')
        const [, policy, session] = token.split(':')
        return { policy, session }
      },
    },
  }
  return {
    store,
    clock,
    provider,
    create: (options) => Vault.create(store, provider, { ...base, ...options }),
    open: (options) => Vault.open(store, provider, { ...base, ...options }),
  }
}

function counts(census: readonly CensusRow[]): Record<string, number> {
  const sums: Record<string, number> = {}
  for (const { keyVersion, format, count } of census)
    sums[`${format}/${keyVersion}`] = (sums[`${format}/${keyVersion}`] ?? 0) + count
  return sums
}

async function events(vault: Vault): Promise<string[]> {
  const list: AuditRecord[] = []
  for await (const record of vault.audit.records()) list.push(record)
  return list.map(({ type, outcome }) => `${type} ${outcome}`)
}

describe('Cell', () => {
  it('Cell.seal() and open() work at each layer, and only with its ids', async () => {
    const vault = await setUp().create()
    const cell = vault.partition('tenant').cell('user-1')
    await cell.seal('email', text('a@b.c'))
    await cell.seal('salary', text('1000'), { layer: layers.accessGated, token: 'token:pol' })
    await cell.seal('pin', text('1234'), { layer: layers.sessionBound, token: 'token:pol:ses' })
    expect(read(await cell.open('email'))).toBe('a@b.c')
    expect(read(await cell.open('salary', { token: 'token:pol:whatever' }))).toBe('1000')
    expect(read(await cell.open('pin', { token: 'token:pol:ses' }))).toBe('1234')
    expect(await code(cell.open('salary', { token: 'token:other' }))).toBe('VK_AUTH')
    expect(await code(cell.open('pin', { token: 'token:pol:other' }))).toBe('VK_AUTH')
    expect(await code(cell.open('salary'))).toBe('VK_CONTEXT')
    expect(await code(cell.seal('x', text(''), { layer: 2, token: 'token:pol' }))).toBe('VK_CONTEXT')
    await expect(cell.open('salary', { token: 'bad' })).rejects.toThrow('bad token')
    expect(await code(cell.open('none'))).toBe('VK_NOT_FOUND')
    const names: string[] = []
    for await (const { name, layer } of cell.list()) names.push(`${name}/${layer}`)
    expect(names).toEqual(['email/0', 'pin/2', 'salary/1'])
    await cell.remove('email')
    expect(await code(cell.remove('email'))).toBe('VK_NOT_FOUND')
  })

  it('a record moved by hand to another name, cell or layer does not open (row 172)', async () => {
    const { store, create } = setUp()
    const vault = await create()
    const cell = vault.partition('p').cell('c')
    await cell.seal('a', text('secret a'))
    const record = await store.get({ partition: 'p', cell: 'c', name: 'a' })
    if (record === undefined) throw new Error('missing')
    await store.apply([
      { put: { ...record, name: 'b' }, expected: 'any' },
      { put: { ...record, cell: 'd' }, expected: 'any' },
      { put: { ...record, partition: 'q' }, expected: 'any' },
      { put: { ...record, layer: 1 }, expected: 'any' },
    ])
    expect(await code(cell.open('b'))).toBe('VK_AUTH')
    expect(await code(vault.partition('p').cell('d').open('a'))).toBe('VK_AUTH')
    expect(await code(vault.partition('q').cell('c').open('a'))).toBe('VK_AUTH')
    expect(await code(cell.open('a', { token: 'token:pol' }))).toBe('VK_AUTH')
    expect((await events(vault)).filter((event) => event === 'open_failed failed')).toHaveLength(4)
  })

  it("Vault.traverse() copies under the destination's keys and is written down", async () => {
    const vault = await setUp().create()
    const source = vault.partition('a').cell('one')
    const destination = vault.partition('b').cell('two')
    await source.seal('n', text('moved'), { layer: 1, token: 'token:pol' })
    await vault.traverse(source, destination, 'n', {
      layer: 2,
      sourceToken: 'token:pol',
      destinationToken: 'token:p2:s2',
    })
    expect(read(await destination.open('n', { token: 'token:p2:s2' }))).toBe('moved')
    expect(read(await source.open('n', { token: 'token:pol' }))).toBe('moved')
    expect(await events(vault)).toContain('traverse done')
    expect(await code(vault.traverse(source, destination, 'none'))).toBe('VK_NOT_FOUND')
  })

  it('a stale revision is refused', async () => {
    const vault = await setUp().create()
    const cell = vault.partition('p').cell('c')
    await cell.seal('n', text('1'), { expected: 'absent' })
    expect(await code(cell.seal('n', text('2'), { expected: 'absent' }))).toBe('VK_CONFLICT')
    expect(await code(cell.seal('n', text('2'), { expected: 99 }))).toBe('VK_CONFLICT')
    expect(read(await cell.open('n'))).toBe('1')
  })
})

describe('rotating the master', () => {
  it('old versions are read, the active one is written, reads reseal, the sweep takes the rest, retire follows', async () => {
    const { create, clock, store } = setUp()
    const vault = await create()
    const cell = vault.partition('p').cell('c')
    for (let n = 0; n < 250; n++) await cell.seal(`n${n}`, text(`value ${n}`))
    expect(await vault.keys.rotate()).toBe(2)
    await cell.seal('n0', text('new value'))
    expect(counts(await vault.census())).toEqual({ 'v1/1': 249, 'v1/2': 1 })
    expect(read(await cell.open('n1'))).toBe('value 1')
    await vault.settle()
    expect(counts(await vault.census())).toEqual({ 'v1/1': 248, 'v1/2': 2 })
    const refused = await vault.keys.retire(1).catch((error: unknown) => error as VaultError)
    expect(refused).toMatchObject({ code: 'VK_SWEEP_INCOMPLETE', details: { count: 248 } })
    const report = await vault.sweep({ pageSize: 100 })
    expect(report).toMatchObject({
      state: 'completed',
      remaining: 0,
      counts: { scanned: 248, resealed: 248, superseded: 0, failed: 0 },
    })
    await vault.keys.retire(1)
    expect(await code(vault.keys.destroy(1))).toBe('VK_QUARANTINE')
    await vault.keys.restore(1)
    await vault.keys.retire(1)
    clock.now += 7 * day
    await vault.keys.destroy(1)
    expect(vault.keys.list().map(({ version, state }) => [version, state])).toEqual([
      [1, 'destroyed'],
      [2, 'active'],
    ])
    for (let n = 1; n < 250; n++) expect(read(await cell.open(`n${n}`))).toBe(`value ${n}`)
    const again = await Vault.open(store, memoryProvider(), {}).catch((error: unknown) => error as VaultError)
    expect(again).toMatchObject({ code: 'VK_KEYRING' })
    expect(await vault.verifyAudit()).toMatchObject({ ok: true })
  })

  it('the tombstone survives a restart, and its key cannot come back (rows 176, 177)', async () => {
    const { create, open, clock } = setUp()
    const vault = await create()
    const version = await vault.keys.stage()
    await vault.keys.destroy(version)
    await vault.keys.rotate()
    await vault.sweep()
    await vault.keys.retire(1)
    clock.now += 8 * day
    await vault.keys.destroy(1)
    await vault.close()
    const again = await open()
    expect(again.keys.list().map(({ version, state, finalCensus }) => [version, state, finalCensus])).toEqual([
      [1, 'destroyed', 0],
      [2, 'destroyed', 0],
      [3, 'active', undefined],
    ])
    const master = new Uint8Array(32).fill(9)
    await again.keys.addLegacyMaster(master, ['hv-1.1.2'], 0)
    expect(await code(again.keys.addLegacyMaster(master, ['hv-1.1.2'], 4))).toBe('VK_KEY_REUSED')
    expect(await code(again.keys.addLegacyMaster(new Uint8Array(32).fill(8), ['hv-1.1.2'], 3))).toBe(
      'VK_VERSION_EXISTS',
    )
    expect(await code(again.keys.addLegacyMaster(new Uint8Array(32), ['hv-1.1.2'], 5))).toBe('VK_KEY')
    expect(await code(again.keys.addLegacyMaster(new Uint8Array(31).fill(1), ['hv-1.1.2'], 5))).toBe('VK_KEY')
  })

  it('destroying with records left needs the exact count and is written down with it', async () => {
    const { create } = setUp()
    const vault = await create()
    const cell = vault.partition('p').cell('c')
    await cell.seal('a', text('1'))
    await vault.keys.rotate()
    await vault.keys.compromise(1, 'laptop stolen')
    expect(await code(cell.open('a'))).toBe('VK_VERSION_COMPROMISED')
    expect(await code(vault.keys.retire(1))).toBe('VK_SWEEP_INCOMPLETE')
    await vault.sweep()
    expect(read(await cell.open('a'))).toBe('1')
    const staged = await vault.keys.stage()
    await cell.seal('b', text('2'))
    expect(await code(vault.keys.destroy(staged, { forceWithCensus: 5 }))).toBe('VK_SWEEP_INCOMPLETE')
    await vault.keys.destroy(staged, { forceWithCensus: 0 })
    expect(await events(vault)).toEqual(
      expect.arrayContaining(['compromised_read failed', 'key_destroyed intent', 'key_destroyed done']),
    )
  })

  it('two processes: a staged key is known before it is used, a stale writer is refused and repeats by itself', async () => {
    const { create, open } = setUp()
    const one = await create()
    const two = await open()
    await one.keys.acknowledge('one')
    await two.keys.acknowledge('two')
    const version = await one.keys.stage()
    await one.keys.acknowledge('one')
    expect(await code(one.keys.promote(version))).toBe('VK_ACKNOWLEDGE')
    await two.keys.acknowledge('two')
    await one.keys.promote(version)
    const cell = two.partition('p').cell('c')
    await cell.seal('n', text('written by the slow one'))
    expect(counts(await one.census())).toEqual({ 'v1/2': 1 })
    expect(read(await one.partition('p').cell('c').open('n'))).toBe('written by the slow one')
    await one.keys.rotate({ minimumStagedMs: 0 })
    await one.partition('p').cell('c').seal('m', text('3'))
    expect(read(await two.partition('p').cell('c').open('m'))).toBe('3')
  })

  it('suspended and quarantined versions do not open; resuming brings them back', async () => {
    const { create } = setUp()
    const vault = await create()
    const cell = vault.partition('p').cell('c')
    await cell.seal('n', text('x'))
    await vault.keys.suspend(1)
    expect(await code(cell.open('n'))).toBe('VK_VERSION_SUSPENDED')
    expect(await code(cell.seal('n', text('y')))).toBe('VK_VERSION_SUSPENDED')
    await vault.keys.resume(1)
    expect(vault.keys.active).toBe(1)
    expect(read(await cell.open('n'))).toBe('x')
    await vault.keys.suspend(1)
    await vault.keys.rotate()
    await vault.keys.resume(1)
    expect(vault.keys.list()[0]?.state).toBe('decrypt_only')
    expect(await code(vault.keys.promote(1))).toBe('VK_STATE')
    expect(await code(vault.keys.promote(9))).toBe('VK_VERSION_UNKNOWN')
  })

  it('a provider that is down: reads go on while keys are cached, staging and promoting fail closed', async () => {
    const { create, provider, clock } = setUp()
    const vault = await create({ masterTtlMs: 1000, lazyResealsPerSecond: 0 })
    const cell = vault.partition('p').cell('c')
    await cell.seal('n', text('x'))
    const staged = await vault.keys.stage()
    provider.faults.down = true
    expect(read(await cell.open('n'))).toBe('x')
    expect(await code(vault.keys.stage())).toBe('VK_PROVIDER')
    expect(await code(vault.keys.promote(staged))).toBe('VK_PROVIDER')
    expect(vault.keys.active).toBe(1)
    clock.now += 2000
    expect(await code(cell.open('n'))).toBe('VK_PROVIDER')
    provider.faults.down = false
    expect(read(await cell.open('n'))).toBe('x')
    await vault.keys.onProviderRotated('rotate')
    expect(vault.keys.active).toBe(3)
    expect(read(await cell.open('n'))).toBe('x')
  })

  it('an audit chain that takes nothing stops a key event with nothing changed (row 187)', async () => {
    const { create, open } = setUp()
    await (await create()).close()
    const vault = await open({
      audit: {
        sinks: [
          {
            delivery: 'required',
            append: async () => {
              throw new Error('disk full')
            },
          },
        ],
      },
    })
    expect(await code(vault.keys.stage())).toBe('VK_AUDIT')
    expect(vault.keys.list()).toHaveLength(1)
    const lenient = await open({
      audit: {
        sinks: [
          {
            delivery: 'best_effort',
            append: async () => {
              throw new Error('disk full')
            },
          },
        ],
      },
    })
    expect(await lenient.keys.stage()).toBe(2)
  })
})

describe('sweep', () => {
  it('gated layers: by sidecar, by resolver, left to readers, or expired', async () => {
    const { create, clock } = setUp()
    const gated = (partition: string) => ({
      access: partition === 'lazy' ? ('lazy' as const) : ('sidecar' as const),
      session: 'lazy' as const,
    })
    const vault = await create({ gated })
    const options = { token: 'token:pol:ses' }
    await vault
      .partition('p')
      .cell('c')
      .seal('access', text('a'), { layer: 1, ...options })
    await vault
      .partition('p')
      .cell('c')
      .seal('session', text('s'), { layer: 2, ...options, expiresAt: clock.now + day })
    await vault
      .partition('lazy')
      .cell('c')
      .seal('access', text('l'), { layer: 1, ...options })
    await vault.keys.rotate()
    expect(await vault.sweep()).toMatchObject({ remaining: 2, counts: { resealed: 1, gated: 2 }, state: 'completed' })
    expect(await code(vault.keys.retire(1))).toBe('VK_SWEEP_INCOMPLETE')
    expect(read(await vault.partition('lazy').cell('c').open('access', options))).toBe('l')
    await vault.settle()
    clock.now += 2 * day
    expect(await code(vault.partition('p').cell('c').open('session', options))).toBe('VK_NOT_FOUND')
    expect(await vault.sweep()).toMatchObject({ remaining: 0, counts: { expired: 1 } })
    await vault.keys.retire(1)
    expect(read(await vault.partition('p').cell('c').open('access', options))).toBe('a')
  })

  it('one damaged record among many: the rest is swept, it is listed, retire stays refused (row 183)', async () => {
    const { create, store } = setUp()
    const vault = await create()
    const cell = vault.partition('p').cell('c')
    for (let n = 0; n < 300; n++) await cell.seal(`n${n}`, text('x'))
    const id = { partition: 'p', cell: 'c', name: 'n42' }
    const record = await store.get(id)
    if (record === undefined) throw new Error('missing')
    await store.apply([
      { put: { ...record, envelope: record.envelope.with(80, (record.envelope[80] ?? 0) ^ 1) }, expected: 'any' },
    ])
    await vault.keys.rotate()
    const report = await vault.sweep()
    expect(report).toMatchObject({ state: 'completed_with_errors', remaining: 1, counts: { resealed: 299, failed: 1 } })
    expect(report.failures).toEqual([{ ...id, code: 'VK_AUTH' }])
    expect(await code(vault.keys.retire(1))).toBe('VK_SWEEP_INCOMPLETE')
  })

  it('others of the same process have their turn during a sweep of a store that answers at once', async () => {
    const { create } = setUp()
    const vault = await create()
    const cell = vault.partition('p').cell('c')
    for (let i = 0; i < 500; i++) await cell.seal(`r${i}`, text('x'))
    await vault.keys.rotate()
    let turns = 0
    let swept = false
    const watch = (): void => {
      turns += 1
      if (!swept) setImmediate(watch)
    }
    setImmediate(watch)
    await vault.sweep({ pageSize: 50 })
    swept = true
    expect(turns).toBeGreaterThanOrEqual(10)
  })

  it('an aborted sweep goes on behind its cursor', async () => {
    const { create, open } = setUp()
    const vault = await create()
    const cell = vault.partition('p').cell('c')
    for (let n = 0; n < 300; n++) await cell.seal(`n${n}`, text('x'))
    await vault.keys.rotate()
    const abort = new AbortController()
    await expect(
      vault.sweep({
        pageSize: 50,
        signal: abort.signal,
        onProgress: ({ scanned }) => {
          if (scanned === 100) abort.abort(new Error('stop'))
        },
      }),
    ).rejects.toThrow('stop')
    const again = await open()
    const report = await again.sweep({ pageSize: 50 })
    expect(report.counts).toMatchObject({ scanned: 300, resealed: 300 })
  })

  it('a sweep that the key overtakes ends at the newest version', async () => {
    const vault = await setUp().create()
    const cell = vault.partition('p').cell('c')
    for (let n = 0; n < 120; n++) await cell.seal(`n${n}`, text('x'))
    await vault.keys.rotate()
    let turned = false
    const report = await vault.sweep({
      pageSize: 50,
      onProgress: () => {
        if (!turned) void vault.keys.rotate()
        turned = true
      },
      pauseMs: 20,
    })
    expect(report).toMatchObject({ toVersion: 3, remaining: 0 })
    expect(counts(await vault.census())).toEqual({ 'v1/3': 120 })
  })
})

describe('legacy records', () => {
  it.each(['hv-1.0', 'hv-1.1.0', 'hv-1.1.2'] as const)(
    '%s bytes are imported, read, swept, and the master retired',
    async (profile) => {
      const { create, clock } = setUp()
      const vault = await create()
      const master = new Uint8Array(32).fill(5)
      const blob = (n: number, layer: 0 | 1): Uint8Array =>
        sealLegacyForTest(profile, { partition: 'p', cell: 'c', layer, context: { policy: 'pol' } }, text(`old ${n}`), {
          master,
          random: systemRandom,
        })
      const imports = [...Array(20).keys()].map((n) => ({
        partition: 'p',
        cell: 'c',
        name: `n${n}`,
        layer: 0 as const,
        blob: blob(n, 0),
      }))
      expect(await code(vault.importLegacy(imports))).toBe('VK_FORMAT')
      await vault.keys.addLegacyMaster(master)
      expect(await vault.importLegacy(imports)).toBe(20)
      expect(await vault.importLegacy(imports)).toBe(0)
      await vault.importLegacy([{ partition: 'p', cell: 'c', name: 'gated', layer: 1, blob: blob(99, 1) }])
      const cell = vault.partition('p').cell('c')
      expect(read(await cell.open('n3'))).toBe('old 3')
      await vault.settle()
      expect(counts(await vault.census())).toEqual({ 'v0/0': 20, 'v1/1': 1 })
      expect(await code(vault.keys.retire(0))).toBe('VK_SWEEP_INCOMPLETE')
      expect(await vault.sweep()).toMatchObject({ counts: { resealed: 19, gated: 1 } })
      expect(read(await cell.open('gated', { token: 'token:pol' }))).toBe('old 99')
      await vault.settle()
      expect(counts(await vault.census())).toEqual({ 'v1/1': 21 })
      await vault.keys.retire(0)
      clock.now += 8 * day
      await vault.keys.destroy(0)
      await vault.keys.setLegacyPolicy('refuse')
      expect(read(await cell.open('n3'))).toBe('old 3')
      expect(await events(vault)).toEqual(expect.arrayContaining(['legacy_opened done', 'policy_changed done']))
    },
  )
})
