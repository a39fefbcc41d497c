// Writes test/golden/v1.m2p: `node test/generate-golden.ts`. Only for a new version of the format: files of released
// versions stay as they are.
import { ed25519PublicKey, hexEncode } from '@keyturn/primitives'
import { existsSync, writeFileSync } from 'node:fs'
import { buildArchive, MemorySink, memorySource, openArchive } from '../src/index.ts'
import { goldenFiles, goldenKeys } from './support/golden.ts'

const target = new URL('golden/v1.m2p', import.meta.url)
if (existsSync(target)) throw new Error('test/golden/v1.m2p is there: golden files are never written again')

async function build(keyId: number, tree: Record<string, Uint8Array>, previous?: Uint8Array): Promise<Uint8Array> {
  const sink = new MemorySink()
  const { signingSeed, slots, contentKey } = goldenKeys(keyId)
  const verifiers = new Map([[1, ed25519PublicKey(signingSeed)]])
  const files = Object.entries(tree).map(([path, bytes]) => ({ path, source: memorySource(bytes) }))
  const old = previous === undefined ? undefined : await openArchive(memorySource(previous), { verifiers })
  await buildArchive(files, sink, {
    contentKey,
    signingSeed,
    slots,
    segmentSize: 65_536,
    align: 64,
    ymirPrefix: true,
    previous: old,
  })
  return sink.bytes()
}

const { first, second } = goldenFiles()
const bytes = await build(2, second, await build(1, first))
writeFileSync(target, bytes)
console.log(hexEncode(bytes.subarray(0, 128)))
