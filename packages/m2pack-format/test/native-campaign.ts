// Runs the fuzz target of the C library under libFuzzer: KEYTURN_FUZZ_SEED and KEYTURN_FUZZ_RUNS say where it starts
// and how long it is.
import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { zstdCompressSync } from 'node:zlib'
import { concatBytes } from '@keyturn/primitives'
import { craft, plainFiles } from './support/craft.ts'
import { craft2, plainFiles2 } from './support/craft-v2.ts'

const [seed, runs] = [process.env['KEYTURN_FUZZ_SEED'] ?? '1', process.env['KEYTURN_FUZZ_RUNS'] ?? '1000000']
const MOST_INPUT = 65_536
const MOST_MEMORY_MB = 1024
const native = fileURLToPath(new URL('../native/', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'keyturn-m2p-fuzz-'))

/** The target takes stored bytes for plaintext, so an archive with bare frames as payload leads it to the decoder. */
function bareFrames(): Uint8Array {
  const files = plainFiles()
  const frames = files.map(({ parts }) => concatBytes(zstdCompressSync(parts[0]!), new Uint8Array(16)))
  return craft({
    files: files.map((file, index) => ({ ...file, parts: [frames[index]!.subarray(0, -16)], compression: 'zstd' })),
    payload: () => concatBytes(...frames),
  })
}

/** The same in version 2, with segments. */
function bareFrames2(): Uint8Array {
  const bare = plainFiles2().flatMap(({ parts }) => parts.map(({ bytes }) => bytes))
  return craft2({ payload: () => concatBytes(...bare.map((bytes) => concatBytes(bytes, new Uint8Array(16)))) })
}

try {
  const [target, corpus] = [join(folder, 'm2p_fuzz'), join(folder, 'corpus')]
  const options = '-g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined'.split(' ')
  const sources = [join(native, 'fuzz/m2p_fuzz.c'), join(native, 'm2p.c')]
  const unsafe = '-DFUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION'
  const compiled = spawnSync(
    'clang',
    [...options, unsafe, `-I${native}`, '-o', target, ...sources, '-lsodium', '-lzstd'],
    { stdio: 'inherit' },
  )
  if (compiled.error !== undefined) {
    console.log('skipped: no clang here')
    process.exit(0)
  }
  if (compiled.status !== 0) process.exit(1)
  mkdirSync(corpus)
  for (const name of ['broken', 'broken-v2', 'golden'])
    cpSync(fileURLToPath(new URL(name, import.meta.url)), corpus, { recursive: true })
  writeFileSync(join(corpus, 'bare-frames.m2p'), bareFrames())
  writeFileSync(join(corpus, 'bare-frames-v2.m2p'), bareFrames2())
  const { status } = spawnSync(
    target,
    [`-seed=${seed}`, `-runs=${runs}`, `-max_len=${MOST_INPUT}`, `-rss_limit_mb=${MOST_MEMORY_MB}`, corpus],
    { stdio: 'inherit', cwd: folder },
  )
  process.exitCode = status === 0 ? 0 : 1
} finally {
  rmSync(folder, { recursive: true, force: true })
}
