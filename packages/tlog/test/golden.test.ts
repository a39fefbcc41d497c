import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import {
  formatProof,
  formatWitnessRequest,
  hashLeaf,
  LogWitness,
  memoryWitnessStore,
  parseEntries,
  parsePolicy,
  parseProof,
  parseWitnessRequest,
  seedNoteSigner,
  splitTile,
  treeRoot,
  verifyConsistency,
  verifyProof,
} from '../src/index.ts'
import { entry, MemoryLog } from './support/memory-log.ts'

const golden = (name: string): Uint8Array => new Uint8Array(readFileSync(new URL(`golden/1/${name}`, import.meta.url)))

it('files of every released format version open', async () => {
  const policy = parsePolicy(golden('policy'))
  expect(verifyProof(golden('example.tlog-proof'), hashLeaf(entry(1)), policy)).toMatchObject({
    index: 1,
    size: 3,
    witnesses: [{ name: 'w1', timestamp: 1_800_000_000 }],
  })
  const bundle = { level: 'entries' as const, index: 0, width: 3 }
  expect(parseEntries(bundle, golden('tile/entries/000.p/3'))).toEqual([entry(0), entry(1), entry(2)])
  const source = { read: () => Promise.resolve(golden('tile/0/000.p/3')) }
  const [, root] = [splitTile({ ...bundle, level: 0 }, golden('tile/0/000.p/3')), await treeRoot(source, 3)]
  const request = parseWitnessRequest(golden('add-checkpoint'))
  expect(request.oldSize).toBe(2)
  const two = new MemoryLog()
  await two.append([entry(0), entry(1)])
  verifyConsistency({ from: two, to: { size: 3, root } }, request.hashes)
})

it('writers still write the golden files', async () => {
  const proof = parseProof(golden('example.tlog-proof'))
  expect(formatProof(proof)).toEqual(golden('example.tlog-proof'))
  expect(proof.checkpoint).toEqual(golden('checkpoint'))
  expect(formatWitnessRequest(parseWitnessRequest(golden('add-checkpoint')))).toEqual(golden('add-checkpoint'))
  const log = new MemoryLog()
  await log.append([entry(0), entry(1)])
  const signer = seedNoteSigner('witness.example/w1', 'cosignature', new Uint8Array(32).fill(2))
  const watched = [{ origin: 'log.example/one', keys: [log.signer.key] }]
  const witness = new LogWitness(signer, watched, memoryWitnessStore(), { clock: () => 1_800_000_000_000 })
  await witness.add(formatWitnessRequest({ oldSize: 0, hashes: [], checkpoint: await log.append([]) }))
  await witness.add(golden('add-checkpoint'))
  expect(await witness.latest('log.example/one')).toEqual(golden('checkpoint'))
})
