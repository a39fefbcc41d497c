import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { MemoryAuditStore, MemoryStore, Vault, parseVaultPolicy } from '../src/index.ts'
import type { VaultOptions } from '../src/index.ts'
import { readVaultPolicy } from '../src/node/index.ts'
import { memoryProvider } from '../src/testing/index.ts'

const DAY = 24 * 60 * 60 * 1000
const bytes = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value))
const code = (name: string): unknown => expect.objectContaining({ code: name })
const file = {
  format: 'keyturn-vault-policy-1',
  rotate: { max_age_days: 90, max_records: 3 },
  destroy: { min_quarantine_days: 30, may_force: ['alice'], may_erase: ['bob'] },
}
const policy = parseVaultPolicy(bytes(file))
const folder = await mkdtemp(join(tmpdir(), 'keyturn-policy-'))
afterAll(() => rm(folder, { recursive: true, force: true }))

describe('parseVaultPolicy()', () => {
  it('reads every member', () => {
    expect(policy).toEqual({
      rotate: { maxAgeMs: 90 * DAY, maxRecords: 3 },
      destroy: { minQuarantineMs: 30 * DAY, mayForce: ['alice'], mayErase: ['bob'] },
    })
  })

  const { rotate, destroy } = file
  it.each([
    ['no object', []],
    ['another format', { ...file, format: 'keyturn-vault-policy-2' }],
    ['an unknown member', { ...file, rotates: {} }],
    ['an unknown rule', { ...file, rotate: { max_age: 90 } }],
    ['no rule of rotation', { ...file, rotate: {} }],
    ['an age of nothing', { ...file, rotate: { max_age_days: 0 } }],
    ['half a day', { ...file, rotate: { max_age_days: 0.5 } }],
    ['a count as text', { ...file, rotate: { ...rotate, max_records: '3' } }],
    ['no floor', { ...file, destroy: { may_force: [], may_erase: [] } }],
    ['a negative floor', { ...file, destroy: { ...destroy, min_quarantine_days: -1 } }],
    ['no list of who may force', { ...file, destroy: { min_quarantine_days: 1, may_erase: [] } }],
    ['a name for a list', { ...file, destroy: { ...destroy, may_force: 'alice' } }],
    ['a name that is not an id', { ...file, destroy: { ...destroy, may_erase: [''] } }],
    ['a name twice', { ...file, destroy: { ...destroy, may_erase: ['bob', 'bob'] } }],
    ['a name that is a number', { ...file, destroy: { ...destroy, may_erase: [7] } }],
  ])('refuses %s', (_what, value) => {
    expect(() => parseVaultPolicy(bytes(value))).toThrow(code('VK_POLICY_FORM'))
  })

  it('refuses a member twice, text behind the end, and a file that is too long', async () => {
    const text = JSON.stringify(file)
    for (const wrong of [`${text}x`, text.replace('"rotate"', '"rotate":{"max_age_days":1},"rotate"'), ''])
      expect(() => parseVaultPolicy(new TextEncoder().encode(wrong))).toThrow(code('VK_POLICY_FORM'))
    expect(await readVaultPolicy(join(folder, 'none.json'))).toBeUndefined()
    await writeFile(join(folder, 'policy.json'), text)
    expect(await readVaultPolicy(join(folder, 'policy.json'))).toEqual(policy)
    await writeFile(join(folder, 'policy.json'), text + ' '.repeat(70_000))
    await expect(readVaultPolicy(join(folder, 'policy.json'))).rejects.toEqual(code('VK_POLICY_FORM'))
    await expect(readVaultPolicy(folder)).rejects.toEqual(code('VK_STORE_IO'))
  })
})

describe('a vault with a policy', () => {
  let now = Date.UTC(2026, 0, 1)
  async function open(options: VaultOptions = {}): Promise<{ vault: Vault; other: (actor: string) => Promise<Vault> }> {
    const store = new MemoryStore()
    const provider = memoryProvider()
    const audit = new MemoryAuditStore()
    const common = { policy, clock: () => now, lazyResealsPerSecond: 0, ...options }
    const vault = await Vault.create(store, provider, { ...common, audit: { store: audit } })
    const other = (actor: string): Promise<Vault> =>
      Vault.open(store, provider, { ...common, audit: { store: audit, actor } })
    return { vault, other }
  }
  const seal = (vault: Vault, name: string): Promise<unknown> => vault.partition('p').cell('c').sealText(name, 'x')

  it('rotateIfDue() rotates by age, on the very day', async () => {
    const { vault } = await open()
    const { dueAt = 0 } = await vault.keys.rotationDue()
    expect(dueAt - now).toBe(90 * DAY)
    now = dueAt - 1
    expect(await vault.keys.rotateIfDue()).toBeUndefined()
    now = dueAt
    expect(await vault.keys.rotationDue()).toMatchObject({
      due: true,
      reasons: [{ rule: 'max_age', limit: 90 * DAY, found: 90 * DAY }],
    })
    expect(await vault.keys.rotateIfDue()).toBe(2)
    expect(await vault.keys.rotateIfDue()).toBeUndefined()
  })

  it('rotateIfDue() rotates by count, once for all processes that ask at the same time', async () => {
    const { vault, other } = await open()
    for (const name of ['a', 'b']) await seal(vault, name)
    expect(await vault.keys.rotateIfDue()).toBeUndefined()
    await seal(vault, 'c')
    const vaults = [vault, await other('x'), await other('y')]
    const versions = await Promise.all(vaults.map((one) => one.keys.rotateIfDue()))
    expect(versions.filter((version) => version !== undefined)).toEqual([2])
    expect(vault.keys.list().map(({ state }) => state)).toEqual(['decrypt_only', 'active'])
  })

  it('rotateIfDue() does nothing when another process rotates after the count was read', async () => {
    const store = new MemoryStore()
    const provider = memoryProvider()
    const options = { policy, audit: { store: new MemoryAuditStore() }, lazyResealsPerSecond: 0 }
    const first = await Vault.create(store, provider, options)
    for (const name of ['a', 'b', 'c']) await seal(first, name)
    const second = await Vault.open(store, provider, options)
    const census = store.census.bind(store)
    store.census = async () => {
      const rows = await census()
      store.census = census
      await first.keys.rotateIfDue() // between the count and the new version of the other
      return rows
    }
    expect(await second.keys.rotateIfDue()).toBeUndefined()
    expect(second.keys.list().map(({ version, state }) => [version, state])).toEqual([
      [1, 'decrypt_only'],
      [2, 'active'],
    ])
  })

  it('nothing is due while the active version is suspended', async () => {
    const { vault } = await open()
    for (const name of ['a', 'b', 'c']) await seal(vault, name)
    await vault.keys.suspend(1)
    expect(await vault.keys.rotationDue()).toEqual({ due: false, reasons: [] })
    expect(await vault.keys.rotateIfDue()).toBeUndefined()
  })

  it('destroy() keeps the floor of the quarantine, and lets only those force who are named', async () => {
    const { vault, other } = await open()
    await seal(vault, 'a')
    await vault.keys.rotate()
    await vault.sweep()
    await vault.keys.retire(1)
    await expect(vault.keys.destroy(1, { quarantineMs: 29 * DAY })).rejects.toEqual(code('VK_POLICY'))
    now += 8 * DAY
    await expect(vault.keys.destroy(1)).rejects.toEqual(code('VK_QUARANTINE')) // 7 days would be over
    await expect(vault.keys.destroy(1, { forceWithCensus: 0 })).rejects.toEqual(code('VK_POLICY'))
    await expect((await other('bob')).keys.destroy(1, { forceWithCensus: 0 })).rejects.toEqual(code('VK_POLICY'))
    await (await other('alice')).keys.destroy(1, { forceWithCensus: 0 })
  })

  it('erase() is for those who are named', async () => {
    const { vault, other } = await open()
    await vault.partition('a').makeErasable()
    const options = { irreversiblyErase: 'a' }
    await expect(vault.partition('a').erase(options)).rejects.toEqual(code('VK_POLICY'))
    await expect((await other('alice')).partition('a').erase(options)).rejects.toEqual(code('VK_POLICY'))
    await (await other('bob')).partition('a').erase(options)
  })

  it('a vault without a policy says so when it is asked for one', async () => {
    const { vault } = await open({ policy: undefined })
    await expect(vault.keys.rotationDue()).rejects.toThrow(TypeError)
  })
})
