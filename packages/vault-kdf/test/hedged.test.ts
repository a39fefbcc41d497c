import type { RandomSource } from '@keyturn/primitives'
import { describe, expect, it } from 'vitest'
import { MemoryStore, Vault, kekProvider } from '../src/index.ts'
import { wrapMaster } from '../src/keyring-parts/index.ts'
import type { MasterKeyProvider } from '../src/index.ts'

const text = (value: string): Uint8Array => new TextEncoder().encode(value)
const SALT = { from: 12, to: 44 }
const BODY_FROM = 76

/** A machine that was copied while it ran: each copy goes on drawing the same random bytes. */
function clonedRandom(): RandomSource {
  let state = 1
  return (length) =>
    Uint8Array.from({ length }, () => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fff_ffff
      return state >>> 16
    })
}

function xor(a: Uint8Array, b: Uint8Array): Uint8Array {
  return a.map((byte, index) => byte ^ (b[index] ?? 0))
}

/** Two copies of one vault with the same random state; what each seals first. */
async function clones(): Promise<
  (seal: { cell?: string; partition?: string; plaintext: string; layer?: 0 | 1 }) => Promise<{
    envelope: Uint8Array
    sidecar: Uint8Array | undefined
  }>
> {
  const provider: MasterKeyProvider = kekProvider('test', new Uint8Array(32).fill(7))
  const origin = new MemoryStore()
  await (await Vault.create(origin, provider)).close()
  const keyring = await origin.readDocument('keyring')
  if (keyring === undefined) throw new Error('missing')
  return async ({ partition = 'p', cell = 'c', plaintext, layer = 0 }) => {
    const store = new MemoryStore()
    const fence = { epoch: 2, activeVersion: 1 }
    await store.apply([], { name: 'keyring', bytes: keyring.bytes, expected: 'absent', fence })
    const resolver = { resolve: (token: string) => ({ policy: token }) }
    const vault = await Vault.open(store, provider, { random: clonedRandom(), resolver })
    await vault.partition(partition).cell(cell).seal('n', text(plaintext), { layer, token: plaintext })
    const record = await store.get({ partition, cell, name: 'n' })
    if (record === undefined) throw new Error('missing')
    return { envelope: record.envelope, sidecar: record.sidecar }
  }
}

const salt = ({ envelope }: { envelope: Uint8Array }): Uint8Array => envelope.subarray(SALT.from, SALT.to)
const body = ({ envelope }: { envelope: Uint8Array }): Uint8Array => envelope.subarray(BODY_FROM)

describe('a machine that was cloned with its random state', () => {
  it('seals other plaintexts under other salts and keys, so their bytes show nothing of each other', async () => {
    const seal = await clones()
    const [one, other] = ['attack at dawn', 'attack at dusk']
    const [a, b] = [await seal({ plaintext: one }), await seal({ plaintext: other })]
    expect(salt(a)).not.toEqual(salt(b))
    expect(xor(body(a), body(b)).subarray(0, one.length)).not.toEqual(xor(text(one), text(other)))
  })

  it('seals one plaintext at two places under two salts', async () => {
    const seal = await clones()
    const a = await seal({ plaintext: 'same' })
    for (const place of [{ cell: 'd' }, { partition: 'q' }, { layer: 1 as const }])
      expect(salt(await seal({ plaintext: 'same', ...place }))).not.toEqual(salt(a))
  })

  it('shows what cannot be hidden: the same plaintext at the same place gives the same bytes', async () => {
    const seal = await clones()
    expect(await seal({ plaintext: 'same' })).toEqual(await seal({ plaintext: 'same' }))
  })

  it('seals sidecars of other ids under other nonces', async () => {
    const seal = await clones()
    const [a, b] = [await seal({ plaintext: 'one', layer: 1 }), await seal({ plaintext: 'two', layer: 1 })]
    const nonce = (sealed: { sidecar: Uint8Array | undefined }): Uint8Array | undefined =>
      sealed.sidecar?.subarray(4, 28)
    expect(nonce(a)).toHaveLength(24)
    expect(nonce(a)).not.toEqual(nonce(b))
  })

  it('wraps other masters under other nonces', () => {
    const kek = new Uint8Array(32).fill(9)
    const context = { vaultId: 'v', keyVersion: 1, purpose: 'master' as const }
    const wrapped = [1, 2].map((byte) => wrapMaster(kek, new Uint8Array(32).fill(byte), context, clonedRandom()))
    expect(wrapped[0]?.subarray(0, 24)).not.toEqual(wrapped[1]?.subarray(0, 24))
    const elsewhere = wrapMaster(kek, new Uint8Array(32).fill(1), { ...context, keyVersion: 2 }, clonedRandom())
    expect(elsewhere.subarray(0, 24)).not.toEqual(wrapped[0]?.subarray(0, 24))
  })
})

describe('a sound random source', () => {
  it('gives one plaintext at one place another salt each time', async () => {
    const store = new MemoryStore()
    const vault = await Vault.create(store, kekProvider('test', new Uint8Array(32).fill(7)))
    const salts = new Set<string>()
    for (let n = 0; n < 50; n++) {
      await vault.partition('p').cell('c').seal('n', text('same'))
      salts.add(String(salt((await store.get({ partition: 'p', cell: 'c', name: 'n' })) ?? { envelope: text('') })))
    }
    expect(salts.size).toBe(50)
  })
})
