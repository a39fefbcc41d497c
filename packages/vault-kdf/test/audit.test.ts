import { appendFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { deriveAuditKey, hashRecord, genesisHash, parseAuditRecord } from '../src/audit/record.ts'
import { auditSecretSigner } from '../src/audit/checkpoint.ts'
import { AuditLog } from '../src/audit/log.ts'
import {
  MemoryAuditStore,
  MemoryStore,
  Vault,
  parseCheckpoint,
  verifyAuditChain,
  writeAuditRecord,
  writeCheckpoint,
} from '../src/index.ts'
import { memoryProvider } from '../src/testing/index.ts'
import { hexvaultLink, verifyHexvaultChain } from '../src/legacy/index.ts'
import type { AuditRecord, AuditStore, Checkpoint } from '../src/index.ts'
import type { HexvaultAuditRecord } from '../src/legacy/index.ts'
import { FileAuditStore } from '../src/node/index.ts'
import { SqliteAuditStore, SqliteStore } from '../src/sqlite/index.ts'
import { vectors } from './hexvault-vectors.ts'

const secret = new Uint8Array(32).fill(3)
const auditKey = deriveAuditKey(secret)
const checkpointKey = auditSecretSigner(secret).publicKey
const folder = await mkdtemp(join(tmpdir(), 'keyturn-audit-'))
afterAll(() => rm(folder, { recursive: true, force: true }))

function newLog(store: AuditStore = new MemoryAuditStore()): { log: AuditLog; kept: Checkpoint[] } {
  const kept: Checkpoint[] = []
  const context = {
    vaultId: 'v',
    census: async () => ({ 1: 2 }),
    keep: async (checkpoint: Checkpoint) => void kept.push(checkpoint),
  }
  return { kept, log: new AuditLog(secret, context, { store, clock: () => 1_700_000_000_000 }) }
}

async function collect(source: AsyncIterable<AuditRecord>): Promise<AuditRecord[]> {
  const list: AuditRecord[] = []
  for await (const record of source) list.push(record)
  return list
}

let records: AuditRecord[] = []
let anchor: Checkpoint
beforeAll(async () => {
  const { log, kept } = newLog()
  await log.append({ type: 'traverse', outcome: 'done', partition: 'p', cell: 'ab', toCell: 'c', name: 'n', layer: 0 })
  await log.append({ type: 'traverse', outcome: 'done', partition: 'p', cell: 'c', toCell: 'd', name: 'n', layer: 1 })
  await log.append({ type: 'sweep_finished', outcome: 'done', toVersion: 2 })
  await log.checkpoint()
  records = await collect(log.records())
  anchor = kept[0] as Checkpoint
})

/** What somebody can do who has the chain and knows the rules, but not the key: hashes made again behind the change. */
function rehashed(changed: readonly AuditRecord[]): AuditRecord[] {
  let previous = genesisHash
  return changed.map((record) => {
    const { hash: _hash, mac, ...fields } = record
    const hash = hashRecord(previous, fields)
    previous = hash
    return { ...fields, hash, mac }
  })
}

const options = (): Parameters<typeof verifyAuditChain>[1] => ({ auditKey, checkpointKey, anchors: [anchor] })

function edit(index: number, change: Partial<AuditRecord>): AuditRecord[] {
  return records.map((record, at) => (at === index ? { ...record, ...change } : record))
}

describe("the escapes of HexVault's chain", () => {
  it('escape 1: a shift between two ids is detected', async () => {
    expect(await verifyAuditChain(edit(0, { cell: 'a', toCell: 'bc' }), options())).toMatchObject({
      ok: false,
      seq: 1,
      flaw: 'hash',
    })
    expect(await verifyAuditChain(rehashed(edit(0, { cell: 'a', toCell: 'bc' })), options())).toMatchObject({
      ok: false,
      seq: 1,
      flaw: 'mac',
    })
  })

  it('escape 2: a change of the time below the millisecond is detected', async () => {
    const time = String(BigInt(records[1]?.time ?? 0) + 1n)
    expect(await verifyAuditChain(edit(1, { time }), options())).toMatchObject({ ok: false, seq: 2, flaw: 'hash' })
  })

  it('escape 3: a lost last record is detected by the checkpoint', async () => {
    expect(await verifyAuditChain(records.slice(0, -1), options())).toMatchObject({
      ok: false,
      seq: 4,
      flaw: 'tail_lost',
    })
  })

  it('escape 4: an empty chain is detected by the checkpoint', async () => {
    expect(await verifyAuditChain([], options())).toMatchObject({ ok: false, seq: 1, flaw: 'tail_lost' })
  })

  it('escape 5: a chain begun from nothing verifies', async () => {
    expect(await verifyAuditChain(records, options())).toEqual({
      ok: true,
      count: 4,
      head: records.at(-1)?.hash,
      checkpoints: 1,
    })
    expect(await verifyAuditChain([], { auditKey })).toMatchObject({ ok: true, count: 0, head: genesisHash })
  })

  it("all five are let through by HexVault's own rule, as its vectors say", () => {
    const chain = vectors.auditChain.records as HexvaultAuditRecord[]
    expect(verifyHexvaultChain(chain)).toEqual({ head: chain.at(-1)?.entry_hash })
    expect(verifyHexvaultChain(chain.slice(0, 1))).toHaveProperty('head')
    expect(verifyHexvaultChain([])).toEqual({ head: genesisHash })
    const [first] = chain as [HexvaultAuditRecord]
    expect(verifyHexvaultChain([{ ...first, source_cell_id: 'cell-ac', dest_cell_id: 'ell-b' }])).toHaveProperty('head')
    expect(verifyHexvaultChain([{ ...first, timestamp: '2026-04-11T00:00:00.123000000Z' }])).toHaveProperty('head')
    expect(verifyHexvaultChain([{ ...first, source_cell_id: 'cell-x' }])).toEqual({ badIndex: 0 })
    expect(verifyHexvaultChain(chain.slice(1))).toEqual({ badIndex: 0 })
  })
})

describe('verifyAuditChain()', () => {
  it.each<[string, (list: AuditRecord[]) => AuditRecord[], object]>([
    ['a removed first record', (list) => list.slice(1), { seq: 1, flaw: 'sequence' }],
    ['a removed middle record', (list) => list.toSpliced(1, 1), { seq: 2, flaw: 'sequence' }],
    [
      'two records in the other order',
      (list) => [list[1], list[0], list[2], list[3]] as AuditRecord[],
      { seq: 1, flaw: 'sequence' },
    ],
    [
      'a removed record, renumbered and rehashed',
      (list) => rehashed(list.toSpliced(1, 1).map((record, at) => ({ ...record, seq: at + 1 }))),
      { flaw: 'mac' },
    ],
    [
      'another name digest',
      (list) => list.with(1, { ...(list[1] as AuditRecord), nameDigest: '0'.repeat(32) }),
      { seq: 2, flaw: 'hash' },
    ],
    [
      'another detail',
      (list) => list.with(3, { ...(list[3] as AuditRecord), details: { census: {} } }),
      { seq: 4, flaw: 'hash' },
    ],
    [
      'another outcome',
      (list) => list.with(2, { ...(list[2] as AuditRecord), outcome: 'failed' }),
      { seq: 3, flaw: 'hash' },
    ],
    [
      'a swapped MAC',
      (list) => list.with(2, { ...(list[2] as AuditRecord), mac: '0'.repeat(64) }),
      { seq: 3, flaw: 'mac' },
    ],
  ])('names the first bad record: %s', async (_what, change, expected) => {
    expect(await verifyAuditChain(change([...records]), options())).toMatchObject({ ok: false, ...expected })
  })

  it('a chain made again with another key is refused by checkpoint and MAC', async () => {
    const other = new AuditLog(new Uint8Array(32).fill(4), {
      vaultId: 'v',
      census: async () => ({}),
      keep: async () => undefined,
    })
    for (let n = 0; n < 5; n++) await other.append({ type: 'reseal', outcome: 'done' })
    const forged = await collect(other.records())
    expect(await verifyAuditChain(forged, options())).toMatchObject({ ok: false, seq: 1, flaw: 'mac' })
    expect(await verifyAuditChain(forged, { anchors: [anchor], checkpointKey })).toMatchObject({
      ok: false,
      seq: 4,
      flaw: 'checkpoint_mismatch',
    })
  })

  it('a forged checkpoint is refused', async () => {
    const forged = { ...anchor, seq: 3 }
    expect(await verifyAuditChain(records, { ...options(), anchors: [forged] })).toMatchObject({
      ok: false,
      flaw: 'checkpoint_signature',
    })
  })

  it('records and checkpoints are read back as they were written', () => {
    for (const record of records)
      expect(parseAuditRecord(new TextEncoder().encode(writeAuditRecord(record)))).toEqual(record)
    expect(parseCheckpoint(writeCheckpoint(anchor))).toEqual(anchor)
  })

  it('an old HexVault chain is continued by a link', async () => {
    const chain = vectors.auditChain.records as HexvaultAuditRecord[]
    const verdict = verifyHexvaultChain(chain)
    if (!('head' in verdict)) throw new Error('The vector is good')
    const { log } = newLog()
    const link = await log.append({ type: 'chain_linked', outcome: 'done', details: hexvaultLink(chain, verdict.head) })
    expect(link.details).toEqual({ from: 'hexvault-1.1', count: 2, head: chain[1]?.entry_hash })
  })
})

describe('where the chain lies', () => {
  it('FileAuditStore keeps the chain over restarts, cuts a torn line and reports a damaged one', async () => {
    const path = join(folder, 'audit.jsonl')
    for (let run = 0; run < 3; run++) {
      const store = new FileAuditStore(path)
      const { log } = newLog(store)
      for (let n = 0; n < 3; n++) await log.append({ type: 'reseal', outcome: 'done', cell: `c${n}` })
      expect(await log.verify()).toMatchObject({ ok: true, count: 3 * (run + 1) })
      await store.close()
      await appendFile(path, '{"torn":')
    }
    const lines = (await readFile(path, 'utf8')).split('\n')
    expect(lines).toHaveLength(10)
    await writeFile(path, lines.with(4, 'garbage').join('\n'))
    expect(await newLog(new FileAuditStore(path)).log.verify()).toMatchObject({ ok: false, seq: 5, flaw: 'unreadable' })
  })

  it('SqliteAuditStore lets two processes write one chain', async () => {
    const path = join(folder, 'audit.db')
    const stores = [SqliteStore.open(path), SqliteStore.open(path)]
    const logs = stores.map((store) => newLog(new SqliteAuditStore(store.database)).log)
    for (let n = 0; n < 20; n++)
      await Promise.all(logs.map((log, who) => log.append({ type: 'reseal', outcome: 'done', cell: `${who}-${n}` })))
    expect(await logs[0]?.verify()).toMatchObject({ ok: true, count: 40 })
    for (const store of stores) await store.close()
  })
})

it('Vault.verifyAudit() sees a cut chain by the checkpoint beside the data', async () => {
  const store = new MemoryStore()
  const provider = memoryProvider()
  const chain = new MemoryAuditStore()
  const vault = await Vault.create(store, provider, { audit: { store: chain } })
  await vault.keys.rotate()
  expect(await vault.verifyAudit()).toMatchObject({ ok: true })
  const cut = new MemoryAuditStore()
  const all = await collect(chain.records())
  for (const record of all.slice(0, -2)) await cut.append(record)
  const again = await Vault.open(store, provider, { audit: { store: cut } })
  expect(await again.verifyAudit()).toMatchObject({ ok: false, flaw: 'tail_lost', seq: all.length - 1 })
})
