// Writes the golden archives that are not there yet: `node test/generate-golden.ts`. Only for a new version of the
// format: files of released versions stay as they are.
import { ed25519PublicKey, hexEncode, sha256Hex } from '@keyturn/primitives'
import { existsSync, writeFileSync } from 'node:fs'
import { buildArchive, MemorySink, memorySource, openArchive } from '../src/index.ts'
import { goldenAttributes, goldenFiles, goldenKeys } from './support/golden.ts'

interface Release {
  readonly version: 1 | 2
  readonly keyId: number
  readonly previous?: Uint8Array
}

async function build(tree: Record<string, Uint8Array>, { version, keyId, previous }: Release): Promise<Uint8Array> {
  const sink = new MemorySink()
  const { signingSeed, slots, contentKey } = goldenKeys(keyId)
  const verifiers = new Map([[1, ed25519PublicKey(signingSeed)]])
  const files = Object.entries(tree).map(([path, bytes]) => ({
    path,
    source: memorySource(bytes),
    ...goldenAttributes(path),
  }))
  const old = previous === undefined ? undefined : await openArchive(memorySource(previous), { verifiers })
  await buildArchive(files, sink, {
    version,
    mtimes: version === 2,
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
for (const version of [1, 2] as const) {
  const target = new URL(`golden/v${version}.m2p`, import.meta.url)
  // Golden files are never written again.
  if (existsSync(target)) continue
  const bytes = await build(second, { version, keyId: 2, previous: await build(first, { version, keyId: 1 }) })
  writeFileSync(target, bytes)
  writeFileSync(new URL(`golden/v${version}.sha256`, import.meta.url), `${sha256Hex(bytes)}\n`)
  console.log(hexEncode(bytes.subarray(0, 128)))
}
