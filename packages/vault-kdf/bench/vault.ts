// Each operation as a ratio to bare node:crypto AES-256-GCM over the same bytes with a ready key, in the same run.
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { systemRandom } from '@keyturn/primitives'
import {
  MemoryStore, Vault, derivePartitionKey, kekProvider, openEnvelope, sealEnvelope, tryOpenEnvelope, type Layer, type PartitionKey,
} from '../src/index.ts'
import { measureRatio } from './ratio.ts'

const sizes = [1024, 64 * 1024, 1024 * 1024]
const goals: Readonly<Record<number, number>> = { 1024: 4, [64 * 1024]: 1.3, [1024 * 1024]: 1.15 }
const master = new Uint8Array(randomBytes(32))
const partitionKey: PartitionKey = derivePartitionKey(master, 1, 'tenant')
const options = { authTagLength: 16 }

function bareSeal(key: Uint8Array, nonce: Uint8Array, plaintext: Uint8Array): { bytes: Uint8Array; tag: Uint8Array } {
  const cipher = createCipheriv('aes-256-gcm', key, nonce, options)
  const bytes = cipher.update(plaintext)
  cipher.final()
  return { bytes, tag: cipher.getAuthTag() }
}

function bareOpen(key: Uint8Array, nonce: Uint8Array, sealed: { bytes: Uint8Array; tag: Uint8Array }): Uint8Array {
  const decipher = createDecipheriv('aes-256-gcm', key, nonce, options)
  decipher.setAuthTag(sealed.tag)
  const plaintext = decipher.update(sealed.bytes)
  decipher.final()
  return plaintext
}

function row(name: string, size: number, result: ReturnType<typeof measureRatio>, goal?: number): void {
  const verdict = goal === undefined ? '' : `  goal ${goal} ${result.ratio <= goal ? 'met' : 'missed'}`
  const mib = size / 1024 / 1024 / (result.oursMicros / 1e6)
  process.stdout.write(`${name.padEnd(34)} ${String(size).padStart(8)} B ${result.limitMicros.toFixed(1).padStart(9)} us ${result.oursMicros.toFixed(1).padStart(9)} us ${mib.toFixed(0).padStart(6)} MiB/s  ratio ${result.ratio.toFixed(2)}${verdict}\n`)
}

function place(layer: Layer): { cell: string; name: string; layer: Layer; context: { policy: string; session: string } } {
  return { cell: 'user-1', name: 'email', layer, context: { policy: 'pol', session: 'ses' } }
}

process.stdout.write('operation                                size     limit          ours\n')
for (const size of sizes) {
  const key = new Uint8Array(randomBytes(32))
  const nonce = new Uint8Array(randomBytes(12))
  const plaintext = new Uint8Array(randomBytes(size))
  const bare = bareSeal(key, nonce, plaintext)
  for (const layer of [0, 1, 2] as const) {
    const envelope = sealEnvelope(partitionKey, 1, place(layer), plaintext, systemRandom(32))
    row(`seal, layer ${layer}, cached key`, size, measureRatio(() => bareSeal(key, nonce, plaintext), () => sealEnvelope(partitionKey, 1, place(layer), plaintext, systemRandom(32))), layer === 0 ? goals[size] : undefined)
    row(`open, layer ${layer}, cached key`, size, measureRatio(() => bareOpen(key, nonce, bare), () => openEnvelope(partitionKey, place(layer), envelope)), layer === 0 ? goals[size] : undefined)
  }
}
const large = new Uint8Array(1024 * 1024)
const envelope = sealEnvelope(partitionKey, 1, place(0), large, systemRandom(32))
const wrongKey = derivePartitionKey(master, 2, 'tenant')
row('wrong key refused, against open', large.length, measureRatio(() => openEnvelope(partitionKey, place(0), envelope), () => tryOpenEnvelope(wrongKey, place(0), envelope)), 0.1)

/** A vault whose active version is the `versions`-th. */
async function vaultOf(versions: number): Promise<Vault> {
  const vault = await Vault.create(new MemoryStore(), kekProvider('bench', master), { audit: { checkpointEvery: 1e9 } })
  for (let version = 2; version <= versions; version++) await vault.keys.rotate()
  await vault.partition('p').cell('c').seal('n', new Uint8Array(1024))
  return vault
}

async function timeAsync(work: () => Promise<unknown>, times: number): Promise<number> {
  const start = process.hrtime.bigint()
  for (let n = 0; n < times; n++) await work()
  return Number(process.hrtime.bigint() - start) / 1000 / times
}

const [one, many] = [await vaultOf(1), await vaultOf(1000)]
const openOf = (vault: Vault): (() => Promise<unknown>) => () => vault.partition('p').cell('c').open('n')
const pairs: number[] = []
for (let round = 0; round < 41; round++) pairs.push((await timeAsync(openOf(many), 100)) / (await timeAsync(openOf(one), 100)))
process.stdout.write(`open with 1,000 key versions against 1: ratio ${(pairs.toSorted((a, b) => a - b)[20] ?? 0).toFixed(2)}\n`)

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
const report = await sweepVault.sweep({ onProgress: () => { peak = Math.max(peak, process.memoryUsage().heapUsed) } })
const seconds = (performance.now() - filled) / 1000
const bareMicros = measureRatio(
  () => bareSeal(master, new Uint8Array(12), large.subarray(0, 1024)),
  () => bareOpen(master, new Uint8Array(12), bareSeal(master, new Uint8Array(12), large.subarray(0, 1024))),
).oursMicros
process.stdout.write(`sweep of ${report.counts.resealed} records of 1 KiB in memory: ${seconds.toFixed(1)} s, ${(records / seconds).toFixed(0)} records/s, ${(seconds * 1e6 / records / bareMicros).toFixed(1)} x bare open and seal, heap +${((peak - before) / 2 ** 20).toFixed(0)} MiB at most, ${report.remaining} left (filled in ${((filled - started) / 1000).toFixed(1)} s)\n`)
