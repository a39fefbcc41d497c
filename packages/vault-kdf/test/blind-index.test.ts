import { readFileSync } from 'node:fs'
import { hexDecode, hexEncode } from '@keyturn/primitives'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { MemoryAuditStore, MemoryStore, Vault, blindIndexOf } from '../src/index.ts'
import type { VaultOptions } from '../src/index.ts'
import { memoryProvider } from '../src/testing/index.ts'

interface Case {
  secret: string
  partition: string
  column: string
  generation: number
  bits: number
  value: string
  index: string
}

const { indexes } = JSON.parse(readFileSync(new URL('vectors/streams.json', import.meta.url), 'utf8')) as {
  indexes: Case[]
}
const code = (name: string): unknown => expect.objectContaining({ code: name })

async function open(options: VaultOptions = {}): Promise<{ vault: Vault; other: () => Promise<Vault> }> {
  const store = new MemoryStore()
  const provider = memoryProvider()
  const audit = { store: new MemoryAuditStore() }
  const vault = await Vault.create(store, provider, { audit, ...options })
  return { vault, other: () => Vault.open(store, provider, { audit, ...options }) }
}

describe('blindIndexOf()', () => {
  it.each(indexes)('agrees with the independent implementation: $partition $column $generation', (vector) => {
    expect(hexEncode(blindIndexOf(hexDecode(vector.secret), vector, vector.value))).toBe(vector.index)
  })

  it('gives equal values equal indexes, and others others', () => {
    const of = { partition: 'p', column: 'c', generation: 1, bits: 256 }
    const secret = new Uint8Array(32).fill(3)
    fc.assert(
      fc.property(fc.string(), fc.string(), (a, b) => {
        const equal = hexEncode(blindIndexOf(secret, of, a)) === hexEncode(blindIndexOf(secret, of, b))
        expect(equal).toBe(a === b)
      }),
    )
  })
})

describe('BlindIndex', () => {
  it('finds equal values of its column and partition alone, in every process and after a rotation of the master', async () => {
    const { vault, other } = await open()
    const index = await vault.partition('a').blindIndex('email')
    const stored = await index.index('a@example.org')
    expect(stored).toHaveLength(32)
    for (const [partition, column, value] of [
      ['a', 'email', 'b@example.org'],
      ['a', 'phone', 'a@example.org'],
      ['b', 'email', 'a@example.org'],
    ] as const) {
      const elsewhere = await vault.partition(partition).blindIndex(column)
      expect(await elsewhere.search(value)).not.toContainEqual(stored)
    }
    await vault.keys.rotate()
    await vault.sweep()
    await vault.keys.retire(1)
    const again = await (await other()).partition('a').blindIndex('email')
    expect(await again.search('a@example.org')).toEqual([stored])
    expect(await again.search(new TextEncoder().encode('a@example.org'))).toEqual([stored])
  })

  it('rotate() searches under both keys until finishRotation()', async () => {
    let now = 1_000_000
    const { vault } = await open({ clock: () => now })
    const index = await vault.partition('a').blindIndex('email', { bits: 32 })
    const old = await index.index('x')
    await expect(index.finishRotation()).rejects.toEqual(code('VK_STATE'))
    await index.rotate({ bits: 64 })
    expect(await index.isRotating()).toBe(true)
    const fresh = await index.index('x')
    expect([old.length, fresh.length]).toEqual([4, 8])
    expect(await index.search('x')).toEqual([fresh, old])
    await expect(index.rotate()).rejects.toEqual(code('VK_STATE'))
    await expect(index.finishRotation()).rejects.toMatchObject({
      code: 'VK_QUARANTINE',
      details: { until: now + 60_000 },
    })
    now += 60_000
    await index.finishRotation()
    expect(await index.search('x')).toEqual([fresh])
    expect(await index.isRotating()).toBe(false)
    await index.rotate()
    expect(await index.index('x')).toHaveLength(8)
  })

  it('two processes that begin at the same time have one key', async () => {
    const { vault, other } = await open()
    const second = await other()
    const [one, two] = await Promise.all([vault, second].map((one) => one.partition('a').blindIndex('email')))
    expect(await one?.index('x')).toEqual(await two?.index('x'))
    await one?.rotate()
    expect(await two?.search('x')).toHaveLength(2)
  })

  it.each([0, 7, 12, 264, Number.NaN])('refuses %d bits', async (bits) => {
    const { vault } = await open()
    await expect(vault.partition('a').blindIndex('email', { bits })).rejects.toThrow(RangeError)
  })

  it('refuses a record that is none of its own, and is gone with its partition', async () => {
    const { vault } = await open()
    await vault.partition('b').cell('keyturn.blind-index').sealText('email', '{"format":"keyturn-blind-index-1"}')
    await expect(vault.partition('b').blindIndex('email')).rejects.toEqual(code('VK_FORMAT'))
    await vault.partition('a').makeErasable()
    const index = await vault.partition('a').blindIndex('email')
    await vault.partition('a').erase({ irreversiblyErase: 'a' })
    await expect(index.index('x')).rejects.toEqual(code('VK_PARTITION_ERASED'))
    await expect(vault.partition('a').blindIndex('')).rejects.toEqual(code('VK_INFO'))
  })
})
