import { describe, expect, it } from 'vitest'
import { MemoryStore, Vault } from '../src/index.ts'
import { memoryProvider } from '../src/testing/index.ts'
import type { VaultOptions, VaultStore } from '../src/index.ts'

const text = (value: string): Uint8Array => new TextEncoder().encode(value)
const read = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)

async function code(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => 'no error',
    (error: unknown) => (error as { code?: string }).code,
  )
}

/** Two processes on one store, one clock, and one record under key version 1. */
async function twoProcesses(options: VaultOptions = {}): Promise<{
  here: Vault
  there: Vault
  clock: { now: number }
  documentReads: () => number
}> {
  const memory = new MemoryStore()
  let documentReads = 0
  const store: VaultStore = {
    get: (id) => memory.get(id),
    apply: (changes, document) => memory.apply(changes, document),
    scan: (query) => memory.scan(query),
    census: () => memory.census(),
    close: () => memory.close(),
    readDocument: (name) => {
      if (name === 'keyring') documentReads += 1
      return memory.readDocument(name)
    },
  }
  const provider = memoryProvider()
  const clock = { now: 1_700_000_000_000 }
  const given = { clock: () => clock.now, lazyResealsPerSecond: 0, ...options }
  const here = await Vault.create(memory, provider, given)
  const there = await Vault.open(store, provider, given)
  await here.partition('p').cell('c').seal('n', text('secret'))
  documentReads = 0
  return { here, there, clock, documentReads: () => documentReads }
}

describe('maxKeyringAgeMs', () => {
  it('a suspended, compromised or retired version stops opening in every process within 5 s (P4)', async () => {
    for (const act of ['suspend', 'compromise'] as const) {
      const { here, there, clock } = await twoProcesses()
      const cell = there.partition('p').cell('c')
      expect(read(await cell.open('n'))).toBe('secret')
      await here.keys[act](1)
      clock.now += 4_999
      expect(read(await cell.open('n'))).toBe('secret') // still within the promised time
      clock.now += 1
      expect(await code(cell.open('n'))).toBe(act === 'suspend' ? 'VK_VERSION_SUSPENDED' : 'VK_VERSION_COMPROMISED')
      expect(await code(cell.seal('m', text('x')))).toBe('VK_VERSION_SUSPENDED') // no version is active
    }
    const { here, there, clock } = await twoProcesses()
    await here.keys.rotate()
    await here.sweep()
    await here.keys.retire(1)
    clock.now += 5_000
    await there.partition('p').cell('c').open('n')
    expect(there.keys.list().map(({ state }) => state)).toEqual(['quarantined', 'active'])
  })

  it('a handle that only seals, copies or sweeps looks as well', async () => {
    const { here, there, clock } = await twoProcesses()
    await here.keys.suspend(1)
    clock.now += 5_000
    const cell = there.partition('p').cell('c')
    expect(await code(cell.reseal('n'))).toBe('VK_VERSION_SUSPENDED')
    expect(await code(there.traverse(cell, there.partition('q').cell('c'), 'n'))).toBe('VK_VERSION_SUSPENDED')
  })

  it('0 looks before every use', async () => {
    const { here, there, documentReads } = await twoProcesses({ maxKeyringAgeMs: 0 })
    const cell = there.partition('p').cell('c')
    await Promise.all(Array.from({ length: 20 }, () => cell.open('n')))
    expect(documentReads()).toBe(20)
    await here.keys.compromise(1)
    expect(await code(cell.open('n'))).toBe('VK_VERSION_COMPROMISED')
  })

  it('the keyring is read once per interval, not once per use', async () => {
    const { there, clock, documentReads } = await twoProcesses()
    const cell = there.partition('p').cell('c')
    for (let n = 0; n < 50; n++) await cell.open('n')
    expect(documentReads()).toBe(0)
    clock.now += 5_000
    await Promise.all(Array.from({ length: 50 }, () => cell.open('n'))) // all wait for one read
    for (let n = 0; n < 50; n++) await cell.open('n')
    expect(documentReads()).toBe(1)
  })

  it('a clock that was set back does not make the keyring young', async () => {
    const { here, there, clock } = await twoProcesses()
    await here.keys.suspend(1)
    clock.now -= 86_400_000
    expect(await code(there.partition('p').cell('c').open('n'))).toBe('VK_VERSION_SUSPENDED')
  })

  it('refuses what is not a time', async () => {
    await expect(twoProcesses({ maxKeyringAgeMs: -1 })).rejects.toThrow(RangeError)
    await expect(twoProcesses({ maxKeyringAgeMs: Number.NaN })).rejects.toThrow(RangeError)
  })
})

describe('Vault.close()', () => {
  it('every use afterwards is refused, and nothing is unwrapped again', async () => {
    let unwraps = 0
    const inner = memoryProvider()
    const provider = {
      ...inner,
      unwrap: (...args: Parameters<typeof inner.unwrap>) => {
        unwraps += 1
        return inner.unwrap(...args)
      },
    }
    const vault = await Vault.create(new MemoryStore(), provider)
    const cell = vault.partition('p').cell('c')
    await cell.seal('n', text('secret'))
    await vault.close()
    unwraps = 0
    const listed = async (): Promise<void> => {
      for await (const _record of cell.list()) break
    }
    const uses: Record<string, () => Promise<unknown>> = {
      open: () => cell.open('n'),
      seal: () => cell.seal('n', text('x')),
      reseal: () => cell.reseal('n'),
      remove: () => cell.remove('n'),
      list: listed,
      traverse: () => vault.traverse(cell, cell, 'n'),
      sweep: () => vault.sweep(),
      census: () => vault.census(),
      importLegacy: () => vault.importLegacy([]),
      reloadKeyring: () => vault.reloadKeyring(),
      verifyAudit: () => vault.verifyAudit(),
      stage: () => vault.keys.stage(),
      promote: () => vault.keys.promote(2),
      rotate: () => vault.keys.rotate(),
      suspend: () => vault.keys.suspend(1),
      rewrap: () => vault.keys.rewrap(),
      acknowledge: () => vault.keys.acknowledge('node'),
      audit: () => vault.audit.append({ type: 'sweep_started', outcome: 'done' }),
      checkpoint: () => vault.audit.checkpoint(),
    }
    for (const [name, use] of Object.entries(uses)) expect([name, await code(use())]).toEqual([name, 'VK_CLOSED'])
    expect(unwraps).toBe(0)
    await vault.close() // a second time does nothing
  })

  it('waits for background reseals that had begun', async () => {
    const store = new MemoryStore()
    const provider = memoryProvider()
    const vault = await Vault.create(store, provider)
    const cell = vault.partition('p').cell('c')
    await cell.seal('n', text('secret'))
    await vault.keys.rotate()
    await cell.open('n')
    await vault.close()
    expect((await store.get({ partition: 'p', cell: 'c', name: 'n' }))?.keyVersion).toBe(2)
  })
})
