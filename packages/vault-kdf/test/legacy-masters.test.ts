import { systemRandom } from '@keyturn/primitives'
import { describe, expect, it } from 'vitest'
import { MemoryStore, Vault } from '../src/index.ts'
import { openLegacy } from '../src/legacy/index.ts'
import { legacyProfiles } from '../src/legacy.ts'
import { faultyProvider, memoryProvider, sealLegacyForTest } from '../src/testing/index.ts'

const text = (value: string): Uint8Array => new TextEncoder().encode(value)
const read = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)

async function code(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => 'no error',
    (error: unknown) => (error as { code?: string }).code,
  )
}

/** A vault with two HexVault masters (versions 10 and 11) and one record of each. */
async function imported(): Promise<{ vault: Vault; provider: ReturnType<typeof faultyProvider> }> {
  const provider = faultyProvider(memoryProvider())
  const vault = await Vault.create(new MemoryStore(), provider, { lazyResealsPerSecond: 0, masterTtlMs: -1 })
  for (const version of [10, 11]) {
    const master = new Uint8Array(32).fill(version)
    await vault.keys.addLegacyMaster(master, ['hv-1.1.2'], version)
    const place = { partition: 'p', cell: 'c', layer: 0 as const, context: {} }
    const blob = sealLegacyForTest('hv-1.1.2', place, text(`of ${version}`), { master, random: systemRandom })
    await vault.importLegacy([{ partition: 'p', cell: 'c', name: `n${version}`, layer: 0, blob }])
  }
  return { vault, provider }
}

it('openLegacy() leaves a master given as a Buffer as it is', () => {
  const master = Buffer.alloc(32, 5)
  const place = { partition: 'p', cell: 'c', layer: 0 as const, context: {} }
  for (const profile of legacyProfiles) {
    const blob = sealLegacyForTest(profile, place, text('x'), { master, random: systemRandom })
    expect(read(openLegacy(profile, master, place, blob))).toBe('x')
    expect(master).toEqual(Buffer.alloc(32, 5))
  }
})

describe('several HexVault masters', () => {
  for (const act of ['suspend', 'compromise'] as const) {
    for (const [bad, good] of [
      [10, 11],
      [11, 10],
    ] as const) {
      it(`${act} of version ${bad} leaves what version ${good} wrote readable`, async () => {
        const { vault } = await imported()
        const cell = vault.partition('p').cell('c')
        await vault.keys[act](bad)
        expect(read(await cell.open(`n${good}`))).toBe(`of ${good}`)
        expect(await code(cell.open(`n${bad}`))).toBe(
          act === 'suspend' ? 'VK_VERSION_SUSPENDED' : 'VK_VERSION_COMPROMISED',
        )
        await vault.sweep()
        expect(read(await cell.open(`n${good}`))).toBe(`of ${good}`)
        if (act === 'compromise') expect(read(await cell.open(`n${bad}`))).toBe(`of ${bad}`) // resealed by the sweep
      })
    }
  }

  it('a master that its provider does not unwrap hides no other', async () => {
    const { vault, provider } = await imported()
    const cell = vault.partition('p').cell('c')
    const { unwrap } = provider
    provider.unwrap = async (wrapped, context) => {
      if (context.keyVersion === 10) throw new Error('access denied')
      return unwrap(wrapped, context)
    }
    expect(read(await cell.open('n11'))).toBe('of 11')
    expect(await code(cell.open('n10'))).toBe('VK_PROVIDER')
  })
})
