// What a player downloads after a 3 % edit, and after a rotation of the content key alone, on a real tree:
//   node bench/delta.ts [DIR] [megabytes]
// DIR is copied (regular files only) until it has that many; default: the workspace's installed dependencies, 220 MB.
import { execFileSync } from 'node:child_process'
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  closeSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Archive } from '@keyturn/m2pack-format'
import { buildFolder, openArchiveFile, rewrapFile } from '@keyturn/m2pack-format/node'
import { ChunkIndexer, chunkParams, planDelta, writeChunkIndex } from '@keyturn/manifest/delta'
import type { ChunkIndex, ChunkParams } from '@keyturn/manifest/delta'
import { ed25519PublicKey, sha256, utf8Encode } from '@keyturn/primitives'

const MEGABYTE = 1_000_000
const KIB = 1024
const [input = fileURLToPath(new URL('../../../node_modules/.pnpm', import.meta.url)), megabytes = '220'] =
  process.argv.slice(2)
const folder = mkdtempSync(join(tmpdir(), 'keyturn-delta-'))
const signingSeed = sha256(utf8Encode('archive signing'))
const key = (keyId: number): { keyId: number; key: Uint8Array } => ({
  keyId,
  key: sha256(utf8Encode(`content key ${keyId}`)),
})
const slot = (number: number): Uint8Array => sha256(utf8Encode(`slot ${number}`))
const verifiers = new Map([1, 2].map((keyId) => [keyId, ed25519PublicKey(signingSeed)]))

let x = 20261121
function random(below: number): number {
  x ^= x << 13
  x ^= x >>> 17
  x ^= x << 5
  return (x >>> 0) % below
}

function copyTree(from: string, to: string, bytesWanted: number): string[] {
  const copied: string[] = []
  let bytes = 0
  for (const entry of readdirSync(from, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || bytes >= bytesWanted) continue
    const source = join(entry.parentPath, entry.name)
    const target = join(
      to,
      `${copied.length % 97}`,
      `${copied.length}-${entry.name.replaceAll(/[^A-Za-z0-9._-]/g, '_').replace(/[. ]+$/, '_')}`,
    )
    mkdirSync(dirname(target), { recursive: true })
    copyFileSync(source, target)
    bytes += statSync(target).size
    copied.push(target)
  }
  return copied
}

/** 3 % of the files get a small change; 6 are added and 4 removed for every 786, as in the reference. */
function edit(files: readonly string[], to: string): number {
  let edited = 0
  for (const file of files) {
    if (random(100) >= 3) continue
    const handle = openSync(file, 'r+')
    const { size } = statSync(file)
    writeSync(handle, Buffer.from(`changed ${edited}`), 0, undefined, random(Math.max(1, size)))
    closeSync(handle)
    edited += 1
  }
  for (let count = 0; count < Math.round((files.length * 6) / 786); count++) {
    const model = readFileSync(files[random(files.length)] as string)
    writeFileSync(join(to, '0', `added-${count}.bin`), Buffer.concat([Buffer.from(`added ${count}`), model]))
  }
  for (let count = 0; count < Math.round((files.length * 4) / 786); count++)
    rmSync(files[random(files.length)] as string, { force: true })
  return edited
}

/** Where segments start: as the publisher cuts them. */
function cutsOf(archive: Archive): number[] {
  const cuts = new Set<number>()
  for (const { offset, segments } of archive.entries) {
    let at = offset
    for (let record = 0; record < segments.length; record += 28) {
      cuts.add(at)
      at += new DataView(segments.buffer, segments.byteOffset).getUint32(record, true)
    }
  }
  const { manifestOffset } = archive.header
  return [...cuts.add(manifestOffset).add(manifestOffset + 64 + archive.slotNumbers.length * 76)].sort((a, b) => a - b)
}

function index(path: string, params: ChunkParams, cuts: readonly number[]): ChunkIndex {
  const indexer = new ChunkIndexer(params, cuts)
  const buffer = new Uint8Array(1 << 20)
  const handle = openSync(path, 'r')
  for (let read = readSync(handle, buffer); read > 0; read = readSync(handle, buffer))
    indexer.update(buffer.subarray(0, read))
  closeSync(handle)
  return indexer.finish()
}

interface Version {
  readonly path: string
  readonly cuts: readonly number[]
  readonly bytes: number
}

async function version(name: string): Promise<Version> {
  const path = join(folder, name)
  const { archive, close } = await openArchiveFile(path, { verifiers })
  try {
    return { path, cuts: cutsOf(archive), bytes: statSync(path).size }
  } finally {
    await close()
  }
}

function download(
  before: Version,
  after: Version,
  params: ChunkParams,
  aligned: boolean,
): { bytes: number; requests: number; chunks: number; indexBytes: number } {
  const [seed, target] = [before, after].map(({ path, cuts }) => index(path, params, aligned ? cuts : [])) as [
    ChunkIndex,
    ChunkIndex,
  ]
  const plan = planDelta(target, [{ index: seed }], { wholeShare: 2 })
  return {
    bytes: plan.downloadBytes,
    requests: plan.ranges.length,
    chunks: target.lengths.length,
    indexBytes: writeChunkIndex(target).length,
  }
}

const percent = (bytes: number, of: number): string => `${((100 * bytes) / of).toFixed(2)} %`

try {
  const tree = join(folder, 'tree')
  const files = copyTree(resolve(input), tree, Number(megabytes) * MEGABYTE)
  const plain = files.reduce((sum, file) => sum + statSync(file).size, 0)
  const common = { signingSeed, level: 6 }
  await buildFolder(tree, join(folder, 'old.m2p'), { ...common, contentKey: key(1), slots: new Map([[1, slot(1)]]) })
  const edited = edit(files, tree)
  const { archive: previous, close } = await openArchiveFile(join(folder, 'old.m2p'), { verifiers, contentKey: key(1) })
  await buildFolder(tree, join(folder, 'new.m2p'), {
    ...common,
    contentKey: key(1),
    slots: new Map([[1, slot(1)]]),
    previous,
  })
  await buildFolder(tree, join(folder, 'full.m2p'), {
    ...common,
    contentKey: key(2),
    slots: new Map([[2, slot(2)]]),
    full: true,
  })
  await close()
  await rewrapFile(join(folder, 'new.m2p'), join(folder, 'turned.m2p'), {
    signingSeed,
    contentKey: key(2),
    open: { verifiers, contentKey: key(1) },
  })
  const [old, next, turned, full] = [
    await version('old.m2p'),
    await version('new.m2p'),
    await version('turned.m2p'),
    await version('full.m2p'),
  ]
  console.log(
    `${files.length} files, ${(plain / MEGABYTE).toFixed(1)} MB plain, archive ` +
      `${(next.bytes / MEGABYTE).toFixed(1)} MB, ${edited} files edited`,
  )

  console.log('| average | cut blindly | cut at segments | chunks | index | requests |\n|---|---|---|---|---|---|')
  for (const average of [16, 64, 128, 256]) {
    const params = {
      ...(chunkParams.get(1) as ChunkParams),
      minBytes: (average * KIB) / 4,
      averageBytes: average * KIB,
      maxBytes: average * 4 * KIB,
    }
    const [blind, aligned] = [download(old, next, params, false), download(old, next, params, true)]
    console.log(
      `| ${average} KiB | ${(blind.bytes / MEGABYTE).toFixed(2)} MB ${percent(blind.bytes, next.bytes)} | ` +
        `${(aligned.bytes / MEGABYTE).toFixed(2)} MB ${percent(aligned.bytes, next.bytes)} | ${aligned.chunks} | ` +
        `${(aligned.indexBytes / 1000).toFixed(0)} kB | ${aligned.requests} |`,
    )
  }
  const params = chunkParams.get(1) as ChunkParams
  const edit3 = download(old, next, params, true)
  const turn = download(next, turned, params, true)
  const reencrypted = download(next, full, params, true)
  const patch = join(folder, 'patch.zst')
  execFileSync('zstd', ['-q', '-f', '-6', '--long=31', `--patch-from=${old.path}`, next.path, '-o', patch])
  const patchBytes = statSync(patch).size
  const total = edit3.bytes + edit3.indexBytes
  console.log(
    `3 % edit with params 1: ${(total / MEGABYTE).toFixed(2)} MB with the index, ${percent(total, next.bytes)} of ` +
      `full, ${(total / patchBytes).toFixed(2)} x zstd --patch-from (${(patchBytes / MEGABYTE).toFixed(2)} MB, one ` +
      'old version only)',
  )
  console.log(
    `rotated content key alone: ${((turn.bytes + turn.indexBytes) / 1000).toFixed(0)} kB with the index, ` +
      `${percent(turn.bytes + turn.indexBytes, turned.bytes)} of full`,
  )
  console.log(`re-encrypted under a new slot: ${percent(reencrypted.bytes, full.bytes)} of full`)
} finally {
  rmSync(folder, { recursive: true, force: true })
}
