// Feeds damaged documents to every parser and check: `pnpm campaign`, with SEED and EXECUTIONS (per target). Valid
// documents are damaged with their structure in mind. A finding is an answer that is neither a value nor an error of
// this package, a second encoding of one value, an accepted proof of what is not in the log, or a witness that signs
// two trees.
import { hexEncode, sha256, utf8Encode } from '@keyturn/primitives'
import {
  addSignatures,
  checkCheckpoint,
  checkProof,
  formatCheckpoint,
  formatEntries,
  formatNote,
  formatProof,
  formatVerifierKey,
  formatWitnessRequest,
  hashLeaf,
  LogWitness,
  memoryWitnessStore,
  parseCheckpoint,
  parseEntries,
  parseNote,
  parsePolicy,
  parseProof,
  parseTilePath,
  parseVerifierKey,
  parseWitnessRequest,
  proveConsistency,
  proveInclusion,
  seedNoteSigner,
  signText,
  tileAt,
  tilePath,
  TlogError,
  WitnessConflict,
} from '../../src/index.ts'
import { entry, MemoryLog, range } from '../support/memory-log.ts'

const SEED = Number(process.env['SEED'] ?? 1)
const EXECUTIONS = Number(process.env['EXECUTIONS'] ?? 20_000)
const SLOW_MS = 250

/** xorshift32: repeatable from the printed seed. */
let state = (SEED * 2_654_435_761) >>> 0 || 1
function draw(below: number): number {
  state ^= state << 13
  state >>>= 0
  state ^= state >>> 17
  state ^= state << 5
  state >>>= 0
  return state % below
}
const pick = <T>(list: readonly T[]): T => list[draw(list.length)] as T

const log = new MemoryLog()
const witnesses = ['a', 'b', 'c'].map((name) =>
  seedNoteSigner(`${name}.example/w`, 'cosignature', sha256(utf8Encode(name))),
)
const policyText = [
  `log ${formatVerifierKey(log.signer.key)}`,
  ...witnesses.map(({ key }, at) => `witness w${at} ${formatVerifierKey(key)} https://w${at}.example/`),
  'group most 2 w0 w1 w2',
  'quorum most',
  '',
].join('\n')
const policy = parsePolicy(utf8Encode(policyText))

/** Checkpoints of a log that grows, each signed by all witnesses, with what leads from the one before to it. */
const steps: { checkpoint: Uint8Array; proof: Uint8Array; request: Uint8Array; size: number }[] = []
for (const size of [1, 2, 3, 7, 8, 100, 256, 257, 300]) {
  const oldSize = log.size
  const plain = await log.append(range(oldSize, size).map((n) => entry(n)))
  const { text } = parseNote(plain)
  const signatures = await Promise.all(witnesses.map((witness) => signText(text, witness, 1_800_000_000)))
  const checkpoint = formatNote(addSignatures(parseNote(plain), signatures))
  const index = size - 1
  const hashes = await proveInclusion(log, index, size)
  const proof = formatProof({ index, hashes, checkpoint, extra: undefined })
  const request = formatWitnessRequest({
    oldSize,
    hashes: await proveConsistency(log, oldSize, size),
    checkpoint: plain,
  })
  steps.push({ checkpoint, proof, request, size })
}
const genuine = new Set(range(0, 300).map((n) => hexEncode(hashLeaf(entry(n)))))
const tile = tileAt('entries', 1, 300)
if (tile === undefined) throw new Error('A log of 300 entries has a second bundle')

/** Bytes as text, one character each, whatever they are. */
const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1')
/** Bytes as a parser of text gets them. */
const textOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('utf8')

const LINES = ['quorum none', '', 'old 0', 'index 0', '— x AAAA', 'c2sp.org/tlog-proof@v1', '\u0000', 'extra AAAA']

/** Changes a document once, at a place that matters: a byte, a line, a number, its end. */
function damage(bytes: Uint8Array, other: Uint8Array): Uint8Array {
  const lines = latin1(bytes).split('\n')
  const at = draw(lines.length)
  const line = lines[at] ?? ''
  const changed = ((): string[] | Uint8Array => {
    switch (draw(9)) {
      case 0:
        return bytes.map((byte, index) => (index === draw(bytes.length) ? byte ^ (1 << draw(8)) : byte))
      case 1:
        return bytes.slice(0, draw(bytes.length + 1))
      case 2:
        return lines.toSpliced(at, 1)
      case 3:
        return lines.toSpliced(at, 0, line)
      case 4:
        return lines.toSpliced(draw(lines.length), 0, latin1(utf8Encode(pick(LINES))))
      case 5:
        return lines.with(
          at,
          line.replace(/\d+/, () => String(pick([0, 1, 2, 255, 256, 2 ** 53, '00', '-1', '1e3']))),
        )
      case 6:
        return lines.with(at, pick(latin1(other).split('\n')))
      case 7:
        return [...lines.slice(0, at), ...latin1(other).split('\n').slice(draw(8))]
      default:
        return lines.with(
          at,
          line.slice(0, draw(line.length + 1)) + pick(['', ' ', '=', '\r', '+', 'A']) + line.slice(at),
        )
    }
  })()
  return changed instanceof Uint8Array ? changed : Uint8Array.from(Buffer.from(changed.join('\n'), 'latin1'))
}

/** Something that reads bytes from strangers. */
interface Target {
  readonly name: string
  readonly valid: () => Uint8Array
  /** Throws when something is wrong that is not the fault of the document. */
  readonly run: (bytes: Uint8Array) => void | Promise<void>
}

function same(bytes: Uint8Array, again: Uint8Array): void {
  if (hexEncode(bytes) !== hexEncode(again)) throw new Error('Two encodings of one value')
}

function sameText(bytes: Uint8Array, again: (text: string) => string): void {
  const text = textOf(bytes)
  same(utf8Encode(text), utf8Encode(again(text)))
}

const roots = new Map<number, string>()
let witness = new LogWitness(
  witnesses[0]!,
  [{ origin: log.signer.key.name, keys: [log.signer.key] }],
  memoryWitnessStore(),
)

const targets: readonly Target[] = [
  { name: 'parseNote', valid: () => pick(steps).checkpoint, run: (bytes) => same(bytes, formatNote(parseNote(bytes))) },
  {
    name: 'parseCheckpoint',
    valid: () => utf8Encode(parseNote(pick(steps).checkpoint).text),
    run: (bytes) => {
      sameText(bytes, (text) => formatCheckpoint(parseCheckpoint(text)))
    },
  },
  { name: 'parsePolicy', valid: () => utf8Encode(policyText), run: (bytes) => void parsePolicy(bytes) },
  { name: 'parseProof', valid: () => pick(steps).proof, run: (bytes) => same(bytes, formatProof(parseProof(bytes))) },
  {
    name: 'parseWitnessRequest',
    valid: () => pick(steps).request,
    run: (bytes) => same(bytes, formatWitnessRequest(parseWitnessRequest(bytes))),
  },
  {
    name: 'parseVerifierKey',
    valid: () => utf8Encode(formatVerifierKey(pick([log.signer, ...witnesses]).key)),
    run: (bytes) => sameText(bytes, (text) => formatVerifierKey(parseVerifierKey(text))),
  },
  {
    name: 'parseTilePath',
    valid: () => utf8Encode(tilePath(tile)),
    run: (bytes) => sameText(bytes, (text) => tilePath(parseTilePath(text))),
  },
  {
    name: 'parseEntries',
    valid: () => log.files.get(tilePath(tile)) ?? new Uint8Array(),
    run: (bytes) => same(bytes, formatEntries(parseEntries(tile, bytes))),
  },
  { name: 'checkCheckpoint', valid: () => pick(steps).checkpoint, run: (bytes) => void checkCheckpoint(bytes, policy) },
  {
    name: 'checkProof',
    valid: () => pick(steps).proof,
    run: (bytes) => {
      // Half of the time what the proof is about, else what was never logged.
      const leaf = hashLeaf(entry(draw(2) === 0 ? pick(steps).size - 1 : 300 + draw(100)))
      checkProof(bytes, leaf, policy)
      if (!genuine.has(hexEncode(leaf))) throw new Error('A proof of what is not in the log was accepted')
    },
  },
  {
    name: 'LogWitness.add',
    valid: () => pick(steps).request,
    run: async (bytes) => {
      if (draw(500) === 0) {
        roots.clear()
        witness = new LogWitness(witnesses[0]!, witness.logs, memoryWitnessStore())
      }
      await witness.add(bytes)
      const { size, root } = parseCheckpoint(parseNote(parseWitnessRequest(bytes).checkpoint).text)
      const known = roots.get(size)
      if (known !== undefined && known !== hexEncode(root)) throw new Error(`Two trees of ${size} entries were signed`)
      roots.set(size, hexEncode(root))
    },
  },
]

async function execute({ name, valid, run }: Target): Promise<string> {
  let accepted = 0
  for (let n = 0; n < EXECUTIONS; n++) {
    let bytes = valid()
    for (let times = draw(3); times > 0; times--) bytes = damage(bytes, pick(steps).proof)
    // Time on the processor: the machine may have other work.
    const before = process.cpuUsage()
    try {
      await run(bytes)
      accepted += 1
    } catch (error) {
      if (!(error instanceof TlogError) && !(error instanceof WitnessConflict)) {
        console.error(`${name}, execution ${n}, seed ${SEED}: ${hexEncode(bytes)}`)
        throw error
      }
    }
    const { user, system } = process.cpuUsage(before)
    const tookMs = (user + system) / 1000
    if (tookMs > SLOW_MS) throw new Error(`${name} took ${Math.round(tookMs)} ms for ${bytes.length} bytes`)
  }
  return `${name}: ${EXECUTIONS} documents, ${accepted} accepted`
}

for (const target of targets) console.log(await execute(target))
