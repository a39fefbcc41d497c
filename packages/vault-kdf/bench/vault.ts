// Each operation as a ratio to bare node:crypto AES-256-GCM over the same bytes with a ready key, in the same run.
import { createCipheriv, createDecipheriv, createSecretKey, randomBytes } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { systemRandom } from '@keyturn/primitives'
import { tryOpenEnvelope } from '../src/envelope.ts'
import { MemoryStore, Vault, derivePartitionKey, kekProvider, openEnvelope, sealEnvelope } from '../src/index.ts'
import { promote, stage, writeKeyringDocument } from '../src/keyring-parts/index.ts'
import type { KeyringDocument, Layer, PartitionKey } from '../src/index.ts'
import { measureRatio } from './ratio.ts'

const sizes = [1024, 64 * 1024, 1024 * 1024]
const goals: Readonly<Record<number, number>> = { 1024: 4, [64 * 1024]: 1.3, [1024 * 1024]: 1.15 }
const master = new Uint8Array(randomBytes(32))
const partitionKey: PartitionKey = derivePartitionKey(master, 1, 'tenant')
const options = { authTagLength: 16 }

function bareSeal(key: KeyObject, nonce: Uint8Array, plaintext: Uint8Array): { bytes: Uint8Array; tag: Uint8Array } {
  const cipher = createCipheriv('aes-256-gcm', key, nonce, options)
  const bytes = cipher.update(plaintext)
  cipher.final()
  return { bytes, tag: cipher.getAuthTag() }
}

function bareOpen(key: KeyObject, nonce: Uint8Array, sealed: { bytes: Uint8Array; tag: Uint8Array }): Uint8Array {
  const decipher = createDecipheriv('aes-256-gcm', key, nonce, options)
  decipher.setAuthTag(sealed.tag)
  const plaintext = decipher.update(sealed.bytes)
  decipher.final()
  return plaintext
}

function row(name: string, size: number, result: ReturnType<typeof measureRatio>, goal?: number): void {
  const verdict = goal === undefined ? '' : `  goal ${goal} ${result.ratio <= goal ? 'met' : 'missed'}`
  const mib = size / 1024 / 1024 / (result.oursMicros / 1e6)
  process.stdout.write(
    `${name.padEnd(34)} ${String(size).padStart(8)} B ${result.limitMicros.toFixed(1).padStart(9)} us ` +
      `${result.oursMicros.toFixed(1).padStart(9)} us ${mib.toFixed(0).padStart(6)} MiB/s  ratio ` +
      `${result.ratio.toFixed(2)}${verdict}\n`,
  )
}

function place(layer: Layer): {
  cell: string
  name: string
  layer: Layer
  context: { policy: string; session: string }
} {
  return { cell: 'user-1', name: 'email', layer, context: { policy: 'pol', session: 'ses' } }
}

process.stdout.write('operation                                size     limit          ours\n')
for (const size of sizes) {
  const key = createSecretKey(randomBytes(32)) // ready: raw bytes cost 20 us a call on Node 24
  const nonce = new Uint8Array(randomBytes(12))
  const plaintext = new Uint8Array(randomBytes(size))
  const bare = bareSeal(key, nonce, plaintext)
  for (const layer of [0, 1, 2] as const) {
    const envelope = sealEnvelope(partitionKey, place(layer), plaintext, { keyVersion: 1, salt: systemRandom(32) })
    row(
      `seal, layer ${layer}, cached key`,
      size,
      measureRatio(
        () => bareSeal(key, nonce, plaintext),
        () => sealEnvelope(partitionKey, place(layer), plaintext, { keyVersion: 1, salt: systemRandom(32) }),
      ),
      layer === 0 ? goals[size] : undefined,
    )
    row(
      `open, layer ${layer}, cached key`,
      size,
      measureRatio(
        () => bareOpen(key, nonce, bare),
        () => openEnvelope(partitionKey, place(layer), envelope),
      ),
      layer === 0 ? goals[size] : undefined,
    )
  }
}
const large = new Uint8Array(1024 * 1024)
const envelope = sealEnvelope(partitionKey, place(0), large, { keyVersion: 1, salt: systemRandom(32) })
const wrongKey = derivePartitionKey(master, 2, 'tenant')
row(
  'wrong key refused, against open',
  large.length,
  measureRatio(
    () => openEnvelope(partitionKey, place(0), envelope),
    () => tryOpenEnvelope(wrongKey, place(0), envelope),
  ),
  0.1,
)

/**
 * A vault whose active version is the `versions`-th; the document is made directly, for a thousand audited turns take
 * long.
 */
async function vaultOf(versions: number): Promise<Vault> {
  const provider = kekProvider('bench', master)
  const vaultId = '00'.repeat(16)
  const audit = await provider.generate({ vaultId, keyVersion: 0, purpose: 'audit' })
  let document: KeyringDocument = {
    vaultId,
    epoch: 0,
    entries: [],
    nodes: [],
    legacy: 'refuse',
    auditSecret: audit.wrapped,
  }
  for (let version = 1; version <= versions; version++) {
    document = promote(
      stage(document, version, await provider.generate({ vaultId, keyVersion: version, purpose: 'master' }), 0),
      version,
      0,
    )
  }
  const store = new MemoryStore()
  await store.apply([], {
    name: 'keyring',
    bytes: writeKeyringDocument(document, audit.plaintext),
    expected: 'absent',
    fence: { epoch: document.epoch, activeVersion: versions },
  })
  const vault = await Vault.open(store, provider)
  await vault.partition('p').cell('c').seal('n', new Uint8Array(1024))
  return vault
}

async function timeAsync(work: () => Promise<unknown>, times: number): Promise<number> {
  const start = process.hrtime.bigint()
  for (let n = 0; n < times; n++) await work()
  return Number(process.hrtime.bigint() - start) / 1000 / times
}

const [one, many] = [await vaultOf(1), await vaultOf(1000)]
const openOf =
  (vault: Vault): (() => Promise<unknown>) =>
  () =>
    vault.partition('p').cell('c').open('n')
const times = { one: [] as number[], many: [] as number[] }
for (let round = 0; round < 60; round++) {
  times.many.push(await timeAsync(openOf(many), 50))
  times.one.push(await timeAsync(openOf(one), 50))
}
const best = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[6] ?? 0
process.stdout.write(
  `open with 1,000 key versions against 1: ratio ${(best(times.many) / best(times.one)).toFixed(2)}\n`,
)

const started = performance.now()
const sweepVault = await Vault.create(new MemoryStore(), kekProvider('bench', master))
const cell = sweepVault.partition('p').cell('c')
const records = Number(process.env['KEYTURN_BENCH_RECORDS'] ?? 100_000)
for (let n = 0; n < records; n++) await cell.seal(`n${n}`, large.subarray(0, 1024))
const filled = performance.now()
await sweepVault.keys.rotate()
globalThis.gc?.()
const before = process.memoryUsage().heapUsed
let peak = 0
const report = await sweepVault.sweep({
  onProgress: () => {
    peak = Math.max(peak, process.memoryUsage().heapUsed)
  },
})
const seconds = (performance.now() - filled) / 1000
const bareKey = createSecretKey(master)
const bareMicros = measureRatio(
  () => bareSeal(bareKey, new Uint8Array(12), large.subarray(0, 1024)),
  () => bareOpen(bareKey, new Uint8Array(12), bareSeal(bareKey, new Uint8Array(12), large.subarray(0, 1024))),
).oursMicros
process.stdout.write(
  `sweep of ${report.counts.resealed} records of 1 KiB in memory: ${seconds.toFixed(1)} s, ` +
    `${(records / seconds).toFixed(0)} records/s, ${((seconds * 1e6) / records / bareMicros).toFixed(1)} x bare open ` +
    `and seal, heap +${((peak - before) / 2 ** 20).toFixed(0)} MiB at most, ${report.remaining} left (filled in ` +
    `${((filled - started) / 1000).toFixed(1)} s)\n`,
)
