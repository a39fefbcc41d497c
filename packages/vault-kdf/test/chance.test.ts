import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { hexEncode, systemRandom } from '@keyturn/primitives'
import { describe, expect, it } from 'vitest'
import { openRecord } from '../src/open-record.ts'
import { MemoryStore, Vault, parseEnvelopeHeader } from '../src/index.ts'
import { Keyring } from '../src/keyring.ts'
import { memoryProvider, sealLegacyForTest } from '../src/testing/index.ts'
import type { MasterKeyProvider } from '../src/index.ts'

/** Numbers for CI; `pnpm campaign:chance` runs a million of each. */
const payloads = Number(process.env['KEYTURN_LEGACY_PAYLOADS'] ?? 20_000)
const restarts = Number(process.env['KEYTURN_RESTARTS'] ?? 5000)

const legacyMaster = new Uint8Array(32).fill(5)
const id = { partition: 'p', cell: 'c', name: 'n' }
const SALT_AT = 12
const SALT_BYTES = 32

/** The header of an envelope that might be meant: version 0 to 3, any layer of which the bytes are enough. */
function headerByChance(): Uint8Array<ArrayBuffer> {
  const [version = 0, layer = 0] = systemRandom(2)
  return new Uint8Array([0x89, 0x48, 0x58, 0x56, 1, 1, layer % 3, 0, 0, 0, 0, version % 4])
}

async function keyringWithLegacyMaster(): Promise<Keyring> {
  const [store, provider] = [new MemoryStore(), memoryProvider()]
  const vault = await Vault.create(store, provider)
  await vault.keys.addLegacyMaster(legacyMaster)
  await vault.keys.rotate()
  await vault.partition('p').cell('c').seal('other', new Uint8Array(1))
  return Keyring.load((await store.readDocument('keyring'))?.bytes ?? new Uint8Array(0), provider)
}

describe('bytes of chance', () => {
  it(`${payloads} random legacy payloads open as what they are, those that look like envelopes included (row 169)`, async () => {
    const keyring = await keyringWithLegacyMaster()
    const memory = new Map()
    let ambiguous = 0
    for (let n = 0; n < payloads; n++) {
      const plaintext = systemRandom(80)
      const lookalike = n % 20 === 0
      const nonce = lookalike ? headerByChance() : systemRandom(12)
      const envelope = sealLegacyForTest('hv-1.1.2', { partition: 'p', cell: 'c', layer: 0, context: {} }, plaintext, {
        master: legacyMaster,
        random: () => nonce,
      })
      if (parseEnvelopeHeader(envelope) !== undefined) ambiguous += 1
      const opened = await openRecord(keyring, { ...id, layer: 0, envelope }, {}, { use: 'open', memory })
      if (hexEncode(opened.plaintext) !== hexEncode(plaintext) || opened.keyVersion !== 0)
        throw new Error(`Payload ${n} opened as something else: ${hexEncode(envelope)}`)
    }
    // None by chance: four bytes of magic, two of format and suite, one of layer, one of zero.
    expect(ambiguous).toBeGreaterThan(0)
    expect(ambiguous).toBeLessThanOrEqual(Math.ceil(payloads / 20))
    if (payloads > 100_000)
      console.info(`${ambiguous} of ${payloads} legacy payloads looked like an envelope; all opened`)
  })

  it(`a machine restored ${restarts} times from one snapshot never seals under the same salt (row 175)`, async () => {
    const [snapshot, provider] = [new MemoryStore(), memoryProvider()]
    await (await Vault.create(snapshot, provider)).partition('p').cell('c').seal('n', new Uint8Array(8))
    const seen = new Set<string>()
    for (let restart = 0; restart < restarts; restart++) {
      const envelope = await sealAfterRestart(snapshot, provider)
      seen.add(hexEncode(envelope.subarray(SALT_AT, SALT_AT + SALT_BYTES)))
    }
    expect(seen.size).toBe(restarts)
  }, 86_400_000)

  it('processes started from one state draw salts of their own (row 175)', async () => {
    const script = `import(${JSON.stringify(import.meta.resolve('@keyturn/primitives'))}).then(({ hexEncode, systemRandom }) => {
      for (let n = 0; n < 500; n++) console.log(hexEncode(systemRandom(32)))
    })`
    const outputs = await Promise.all(
      [1, 2, 3, 4].map(() => promisify(execFile)(process.execPath, ['--input-type=module', '-e', script])),
    )
    const salts = outputs.flatMap(({ stdout }) => stdout.trim().split('\n'))
    expect(new Set(salts).size).toBe(2000)
  })
})

/** Seals one record as a process does that has just been brought back: all it has is what the store had then. */
async function sealAfterRestart(snapshot: MemoryStore, provider: MasterKeyProvider): Promise<Uint8Array> {
  let sealed: Uint8Array | undefined
  const restored = Object.create(snapshot, {
    apply: {
      value: async (...[changes]: Parameters<MemoryStore['apply']>) => {
        for (const change of changes) if ('put' in change) sealed = change.put.envelope
        return changes.map(() => 'done' as const)
      },
    },
    get: { value: snapshot.get.bind(snapshot) },
    scan: { value: snapshot.scan.bind(snapshot) },
    census: { value: snapshot.census.bind(snapshot) },
    readDocument: { value: snapshot.readDocument.bind(snapshot) },
    readFence: { value: snapshot.readFence.bind(snapshot) },
  }) as MemoryStore
  const vault = await Vault.open(restored, provider)
  await vault.partition('p').cell('c').seal('n', new Uint8Array(8))
  if (sealed === undefined) throw new Error('Nothing was sealed')
  return sealed
}
