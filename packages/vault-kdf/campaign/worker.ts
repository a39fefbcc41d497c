// One process of the campaign: writers, readers and a rotation of the key at once, until it is done or killed.
// argv: store kind, path, passphrase-free key (hex), records, turns, file with what was acknowledged before,
// and after how many operations of the turn it kills itself (absent: never).
import { appendFileSync, readFileSync } from 'node:fs'
import { hexDecode } from '@keyturn/primitives'
import { Vault, VaultError, kekProvider } from '../src/index.ts'
import type { VaultStore } from '../src/index.ts'
import { FolderStore } from '../src/node/index.ts'
import { SqliteStore } from '../src/sqlite/index.ts'

const [kind = '', path = '', key = '', recordCount = '0', turnCount = '0', journal = '', killAfter] =
  process.argv.slice(2)
const records = Number(recordCount)
const turns = Number(turnCount)
const bytesPerRecord = 1024

/** Values acknowledged by name; only ever grow. The parent's proof that nothing was lost. */
const acknowledged = new Map<number, number>()
for (const line of readFileSync(journal, 'utf8').split('\n')) {
  const [name, value] = line.split(' ').map(Number)
  if (name !== undefined && value !== undefined && line.includes(' '))
    acknowledged.set(name, Math.max(value, acknowledged.get(name) ?? 0))
}

function content(name: number, value: number): Uint8Array {
  const bytes = new Uint8Array(bytesPerRecord)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, name)
  view.setUint32(4, value)
  return bytes
}

let failed = 0
let reads = 0
let writes = 0
let stopped = false

function complain(what: string): void {
  failed += 1
  process.stdout.write(`failed ${what}\n`)
}

async function write(vault: Vault, name: number): Promise<void> {
  const value = (acknowledged.get(name) ?? 0) + 1
  await vault.partition('p').cell('c').seal(`n${name}`, content(name, value))
  appendFileSync(journal, `${name} ${value}\n`) // before the next write of this name: what is written here was acknowledged
  acknowledged.set(name, value)
  writes += 1
}

async function check(vault: Vault, name: number, exact: boolean): Promise<void> {
  const before = acknowledged.get(name)
  if (before === undefined) return
  const bytes = await vault.partition('p').cell('c').open(`n${name}`)
  const view = new DataView(bytes.buffer, bytes.byteOffset)
  const value = view.getUint32(4)
  // A write may have been done although the process was killed before its answer: one more than acknowledged.
  if (view.getUint32(0) !== name || value < before || (exact && value > before + 1))
    complain(`read n${name}: ${value}, acknowledged ${before}`)
  reads += 1
}

let operations = 0
const lastOperation = killAfter === undefined ? Number.POSITIVE_INFINITY : Number(killAfter)

/**
 * Ends this process as `kill -9` does, in the middle of whatever the others are at. Counted, so that it comes on any
 * machine.
 */
function maybeDie(): void {
  operations += 1
  if (operations >= lastOperation) process.kill(process.pid, 'SIGKILL')
}

async function forever(work: (n: number) => Promise<void>): Promise<void> {
  while (!stopped) {
    try {
      await work(Math.floor(Math.random() * records))
      maybeDie()
    } catch (error) {
      complain(error instanceof VaultError ? `${error.code} ${error.message}` : String(error))
    }
    await new Promise((resolve) => setImmediate(resolve))
  }
}

/** Names now written, so that two writers never race for one value. */
const busy = new Set<number>()

async function writeFree(vault: Vault, name: number): Promise<void> {
  if (busy.has(name)) return
  busy.add(name)
  try {
    await write(vault, name)
  } finally {
    busy.delete(name)
  }
}

async function fill(vault: Vault): Promise<void> {
  const missing = [...Array(records).keys()].filter((name) => !acknowledged.has(name))
  for (let start = 0; start < missing.length; start += 500) {
    await Promise.all(missing.slice(start, start + 500).map((name) => write(vault, name)))
  }
}

async function turnKeys(vault: Vault): Promise<void> {
  for (;;) {
    await vault.sweep({ pageSize: 200 })
    maybeDie()
    for (const { version, state } of vault.keys.list()) {
      if (state === 'decrypt_only') await vault.keys.retire(version)
      if (state === 'staged') await vault.keys.promote(version)
    }
    if ((vault.keys.active ?? 0) > turns) return
    await vault.keys.rotate()
    process.stdout.write(`turned ${vault.keys.active}\n`)
  }
}

const store: VaultStore =
  kind === 'sqlite' ? SqliteStore.open(path) : await FolderStore.open(path, { lockWaitMs: 5_000 })
const provider = kekProvider('campaign', hexDecode(key))
const vault = await Vault.open(store, provider, { lazyResealsPerSecond: 20 }).catch((error: unknown) => {
  if (error instanceof VaultError && error.code === 'VK_NOT_FOUND') return Vault.create(store, provider)
  throw error
})
await fill(vault)
process.stdout.write('ready\n')
const workers = [
  ...Array.from({ length: 4 }, () => forever((name) => writeFree(vault, name))),
  ...Array.from({ length: 4 }, () => forever((name) => check(vault, name, false))),
]
await turnKeys(vault)
stopped = true
await Promise.all(workers)
await vault.settle()
await turnKeys(vault)
for (let name = 0; name < records; name++) await check(vault, name, true)
const census = await vault.census()
const active = vault.keys.active
const [row] = census
if (census.length !== 1 || row?.keyVersion !== active || row?.count !== records)
  complain(`census ${JSON.stringify(census)}, active ${active}`)
process.stdout.write(`done reads ${reads} writes ${writes} failed ${failed} active ${active}\n`)
await vault.close()
await store.close()
