/** Archives beside asar, zip (yazl and yauzl), 7z with AES, and tar with zstd. */
import { createHash } from 'node:crypto'
import { chmodSync, createWriteStream, lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync } from 'node:fs'
import { rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { buildFolder, extractArchive, openArchiveFile, rewrapFile } from '@keyturn/m2pack-format/node'
import { ed25519PublicKey, systemRandom } from '@keyturn/primitives'
import { asBytes, cpuRow, hasProgram, peer, program, row } from './measure.mjs'

const [OURS, ASAR, ZIP, SEVEN, TAR] = ['m2pack-format', 'asar', 'zip', '7z, AES', 'tar.zst']
const CORPUS_BYTES = 24e6
const [asar, yazl, yauzl, seven] = await Promise.all(['@electron/asar', 'yazl', 'yauzl', '7zip-bin'].map(peer))
const tar = hasProgram('zstd') && hasProgram('tar')
const folder = mkdtempSync(join(tmpdir(), 'keyturn-compare-'))
const at = (...parts) => join(folder, ...parts)
const files = []

/** Files that were installed for this run: code, types and texts, each once, some 24 MB. */
function makeCorpus() {
  let bytes = 0
  const seen = new Set()
  const from = 'node_modules/.pnpm'
  const found = readdirSync(from, { recursive: true, encoding: 'utf8' }).sort()
  for (const name of found) {
    if (bytes > CORPUS_BYTES) break
    if (!/\.(?:js|cjs|mjs|ts|json|md|map|wasm)$/.test(name)) continue
    const entry = lstatSync(join(from, name))
    if (!entry.isFile() || entry.size < 8000) continue
    const content = readFileSync(join(from, name))
    const hash = createHash('sha256').update(content).digest('hex')
    if (seen.has(hash)) continue
    seen.add(hash)
    const path = `${files.length % 20}/${files.length}${name.slice(name.lastIndexOf('.'))}`
    mkdirSync(at('tree', dirname(path)), { recursive: true })
    writeFileSync(at('tree', path), content)
    files.push({ path, size: entry.size })
    bytes += entry.size
  }
  return bytes
}

const bytes = makeCorpus()
const signingSeed = systemRandom(32)
const contentKey = { keyId: 1, key: systemRandom(32) }
const verifiers = new Map([1, 2].map((keyId) => [keyId, ed25519PublicKey(signingSeed)]))
const path7za = seven?.default.path7za
if (path7za !== undefined) chmodSync(path7za, 0o755)

async function zipAll() {
  const zip = new yazl.default.ZipFile()
  for (const { path } of files) zip.addFile(at('tree', path), path)
  zip.end()
  await pipeline(zip.outputStream, createWriteStream(at('a.zip')))
}

/** Reads one entry of the zip, or all of them. */
async function fromZip(wanted) {
  const zip = await yauzl.default.openPromise(at('a.zip'))
  for await (const entry of zip.eachEntry()) {
    if (wanted !== undefined && entry.fileName !== wanted) continue
    const chunks = []
    for await (const chunk of await zip.openReadStreamPromise(entry)) chunks.push(chunk)
    if (wanted !== undefined) return Buffer.concat(chunks)
    mkdirSync(at('out', dirname(entry.fileName)), { recursive: true })
    writeFileSync(at('out', entry.fileName), Buffer.concat(chunks))
  }
  return undefined
}

const fresh = (name) => rmSync(at(name), { recursive: true, force: true })
let word = 'first'
const run7z = (...args) => program([path7za, ...args, '-bso0', '-bsp0', `-p${word}`], { cwd: folder })
const builds = {
  [OURS]: async () =>
    void (await buildFolder(at('tree'), at('a.m2p'), { contentKey, signingSeed, level: 3, overwrite: true })),
  [ASAR]: asar && (async () => void (await asar.createPackage(at('tree'), at('a.asar')))),
  [ZIP]: yazl && zipAll,
  [SEVEN]: seven && (() => (fresh('a.7z'), run7z('a', '-mhe=on', 'a.7z', './tree/*'))),
  [TAR]: tar
    ? () => program(['bash', '-c', 'tar -cf - -C tree . | zstd -q -3 -f -o a.tar.zst'], { cwd: folder })
    : undefined,
}
const sizes = { [OURS]: 'a.m2p', [ASAR]: 'a.asar', [ZIP]: 'a.zip', [SEVEN]: 'a.7z', [TAR]: 'a.tar.zst' }
const chosen = Object.keys(builds).filter((name) => builds[name] !== undefined)

await cpuRow(`build, ${files.length} files of ${asBytes(bytes)}`, builds, { rounds: 3 })
row('size', Object.fromEntries(chosen.map((name) => [name, asBytes(lstatSync(at(sizes[name])).size)])))

const one = files[files.length >> 1].path
const expected = readFileSync(at('tree', one))
const check = (found) => {
  if (!expected.equals(found)) throw new Error('Another file was read')
}
async function ourRead() {
  const file = await openArchiveFile(at('a.m2p'), { verifiers, contentKey })
  check(await file.archive.read(one))
  await file.close()
}
await cpuRow(
  `open, and read one file of ${asBytes(expected.length)}`,
  {
    [OURS]: ourRead,
    [ASAR]: asar && (() => (asar.uncacheAll(), check(asar.extractFile(at('a.asar'), one)))),
    [ZIP]: yauzl && (async () => check(await fromZip(one))),
    [SEVEN]: seven && (() => withCheck(run7z('e', '-so', 'a.7z', one))),
    [TAR]: tar
      ? () => withCheck(program(['tar', '--zstd', '-xOf', 'a.tar.zst', `./${one}`], { cwd: folder }))
      : undefined,
  },
  { rounds: 9, times: 3 },
)

function withCheck(cost) {
  check(cost.stdout)
  return cost
}

const open = { verifiers, contentKey }
await cpuRow(
  'extract everything, verified where the format can',
  {
    [OURS]: async () => (fresh('out'), void (await extractArchive(at('a.m2p'), at('out'), open))),
    [ASAR]: asar && (() => (fresh('out'), asar.uncacheAll(), void asar.extractAll(at('a.asar'), at('out')))),
    [ZIP]: yauzl && (async () => (fresh('out'), void (await fromZip()))),
    [SEVEN]: seven && (() => (fresh('out'), run7z('x', '-oout', 'a.7z'))),
    [TAR]: tar
      ? () => (
          fresh('out'),
          mkdirSync(at('out')),
          program(['tar', '--zstd', '-xf', 'a.tar.zst', '-C', 'out'], { cwd: folder })
        )
      : undefined,
  },
  { rounds: 3 },
)

/** How many bytes of a file are others than before, place by place. */
function changedBytes(before, after) {
  let count = Math.abs(before.length - after.length)
  for (let at = 0; at < Math.min(before.length, after.length); at += 1) if (before[at] !== after[at]) count += 1
  return count
}

const second = { keyId: 2, key: systemRandom(32) }
await rewrapFile(at('a.m2p'), at('b.m2p'), { open, contentKey: second, signingSeed })
const figures = { [OURS]: asBytes(changedBytes(readFileSync(at('a.m2p')), readFileSync(at('b.m2p')))) }
if (seven !== undefined) {
  const before = readFileSync(at('a.7z'))
  fresh('a.7z')
  word = 'second'
  run7z('a', '-mhe=on', 'a.7z', './tree/*')
  figures[SEVEN] = asBytes(changedBytes(before, readFileSync(at('a.7z'))))
}
row('bytes that change with the key', figures)
rmSync(folder, { recursive: true })
