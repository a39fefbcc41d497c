// The disk of a server that holds 50 releases with 1 % change each, all whole and as chunks: bytes of files, blocks
// of the disk, and the time of storing one release as chunks. BENCH_MIB: size of the client (default 32).
import { createHash, randomBytes } from 'node:crypto'
import { lstatSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ChunkIndexer, chunkParamsFor, writeChunkIndex } from '@keyturn/manifest/delta'
import { openFolderBlobStore } from '../src/storage/folder-blob-store.ts'
import { streamOf } from '../src/storage/hashing.ts'

const MIB = 1024 * 1024
const RELEASES = 50
const KEEP_WHOLE = 3
const ARCHIVES = 4
const EDITS = 4
const CHANGED_SHARE = 0.01
const size = Number(process.env['BENCH_MIB'] ?? 32) * MIB

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

function indexOf(bytes: Uint8Array): Uint8Array {
  const params = chunkParamsFor(bytes.length)
  if (params === undefined) throw new RangeError('The client is too small')
  return writeChunkIndex(new ChunkIndexer(params).update(bytes).finish())
}

/** Replaces 1 % of an archive, in a few places, by other bytes of another length. */
function edited(bytes: Buffer): Buffer {
  const each = Math.floor((bytes.length * CHANGED_SHARE) / EDITS)
  let result = bytes
  for (let edit = 0; edit < EDITS; edit += 1) {
    const at = Math.floor(Math.random() * (result.length - each))
    result = Buffer.concat([result.subarray(0, at), randomBytes(each + 7), result.subarray(at + each)])
  }
  return result
}

function diskOf(folder: string): { bytes: number; blocks: number } {
  let [bytes, blocks] = [0, 0]
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    const stats = lstatSync(join(entry.parentPath, entry.name))
    bytes += stats.size
    blocks += stats.blocks * 512
  }
  return { bytes, blocks }
}

const folder = mkdtempSync(join(tmpdir(), 'keyturn-bench-'))
try {
  const store = await openFolderBlobStore(folder)
  let archives: Buffer[] = Array.from({ length: ARCHIVES }, () => randomBytes(size / ARCHIVES))
  const waiting: { name: string; index: Uint8Array }[][] = []
  let [all, cpuMs, wallMs] = [0, 0, 0]
  for (let release = 0; release < RELEASES; release += 1) {
    const made: { name: string; index: Uint8Array }[] = []
    for (const bytes of archives) {
      all += bytes.length
      await store.put(sha256(bytes), streamOf(bytes))
      made.push({ name: sha256(bytes), index: indexOf(bytes) })
    }
    waiting.push(made)
    archives = archives.map((bytes) => edited(bytes))
    const old = waiting.length > KEEP_WHOLE ? waiting.shift() : undefined
    const [cpu, started] = [process.cpuUsage(), performance.now()]
    for (const { name, index } of old ?? []) await store.cool?.(name, index)
    const used = process.cpuUsage(cpu)
    cpuMs += (used.user + used.system) / 1000
    wallMs += performance.now() - started
  }
  const { bytes, blocks } = diskOf(folder)
  const ratio = (value: number): string => (value / size).toFixed(2)
  const cooled = RELEASES - KEEP_WHOLE
  console.log(`client of ${size / MIB} MiB, ${RELEASES} releases, ${KEEP_WHOLE} of them whole`)
  console.log(`  all whole        ${ratio(all)} x the client`)
  console.log(`  older as chunks  ${ratio(bytes)} x in files, ${ratio(blocks)} x in blocks of the disk`)
  console.log(
    `  one release      ${Math.round(cpuMs / cooled)} ms of processor time, ${Math.round(wallMs / cooled)} ms`,
  )
} finally {
  rmSync(folder, { recursive: true, force: true })
}
