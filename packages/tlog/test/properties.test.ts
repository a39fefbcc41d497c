import { describe, expect, it } from 'vitest'
import fc from 'fast-check'
import { concatBytes, utf8Encode } from '@keyturn/primitives'
import {
  checkProof,
  formatCheckpoint,
  formatEntries,
  formatNote,
  formatProof,
  formatVerifierKey,
  formatWitnessRequest,
  Frontier,
  hashLeaf,
  newTiles,
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
  signCheckpoint,
  signText,
  tileAt,
  tilePath,
  TlogError,
  treeRoot,
  verifyConsistency,
  verifyInclusion,
} from '../src/index.ts'
import { entry, MemoryLog, range } from './support/memory-log.ts'
import { naiveConsistency, naivePath, naiveRoot } from './support/naive.ts'

/** More in a campaign. */
const RUNS = Number(process.env['KEYTURN_CAMPAIGN_RUNS'] ?? '300')

/** Runs a parser: a value, or our error; anything else fails the test. */
function outcome<T>(parse: () => T): T | string {
  try {
    return parse()
  } catch (error) {
    if (error instanceof TlogError) return error.code
    throw error
  }
}

describe('trees', () => {
  it('roots and proofs are those of a naive tree, at every size up to 70 and around a full tile', async () => {
    const log = new MemoryLog()
    const sizes = [...range(1, 70), 255, 256, 257, 300, 511, 512, 513]
    const entries = range(0, 513).map((n) => entry(n))
    const frontier = new Frontier()
    for (const size of sizes) {
      await log.append(entries.slice(log.size, size))
      for (const one of entries.slice(frontier.size, size)) frontier.append(hashLeaf(one))
      const leaves = entries.slice(0, size)
      expect(log.root).toEqual(naiveRoot(leaves))
      expect(frontier.root()).toEqual(log.root)
      expect(new Frontier(frontier.state).root()).toEqual(log.root)
      expect(await treeRoot(log, size)).toEqual(log.root)
      for (const index of new Set([0, size >> 1, size - 1])) {
        const proof = await proveInclusion(log, index, size)
        expect(proof).toEqual(naivePath(index, leaves))
        verifyInclusion({ leafHash: hashLeaf(leaves[index]!), index, size, root: log.root }, proof)
      }
      for (const from of [...new Set([1, size >> 1, size - 1, size])].filter((each) => each > 0)) {
        const proof = await proveConsistency(log, from, size)
        expect(proof).toEqual(naiveConsistency(from, leaves))
        verifyConsistency({ from: { size: from, root: naiveRoot(entries.slice(0, from)) }, to: log }, proof)
      }
    }
  })

  it('a proof with any bit flipped, a hash more or less, or for another place is refused', async () => {
    const log = new MemoryLog()
    await log.append(range(0, 300).map((n) => entry(n)))
    await fc.assert(
      fc.asyncProperty(fc.nat(299), fc.integer({ min: 1, max: 299 }), fc.nat(), async (index, from, where) => {
        const leafHash = hashLeaf(entry(index))
        const proof = await proveInclusion(log, index, 300)
        const claim = { leafHash, index, size: 300, root: log.root }
        const flipped = proof.map((hash) => new Uint8Array(hash))
        flipped[where % proof.length]![where % 32]! ^= 1 << (where % 8)
        const older = { size: from, root: naiveRoot(range(0, from).map((n) => entry(n))) }
        const grown = await proveConsistency(log, from, 300)
        const changed = grown.map((hash) => new Uint8Array(hash))
        changed[where % grown.length]![where % 32]! ^= 1 << (where % 8)
        for (const bad of [flipped, proof.slice(1), proof.slice(0, -1), [...proof, log.root]]) {
          expect(() => verifyInclusion(claim, bad)).toThrow(expect.objectContaining({ code: 'TLOG_INCLUSION' }))
        }
        const elsewhere = { ...claim, index: (index + 1 + (where % 298)) % 300 }
        expect(() => verifyInclusion(elsewhere, proof)).toThrow(TlogError)
        for (const bad of [changed, grown.slice(1), grown.slice(0, -1), [...grown, log.root]]) {
          expect(() => verifyConsistency({ from: older, to: log }, bad)).toThrow(
            expect.objectContaining({ code: 'TLOG_CONSISTENCY' }),
          )
        }
      }),
      { numRuns: Math.min(RUNS, 60) },
    )
  })

  it('appending in any steps gives the same tiles as appending at once', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1, maxLength: 5 }), async (steps) => {
        const [stepwise, whole] = [new MemoryLog(), new MemoryLog()]
        for (const step of steps) await stepwise.append(range(stepwise.size, stepwise.size + step).map((n) => entry(n)))
        await whole.append(range(0, stepwise.size).map((n) => entry(n)))
        expect(stepwise.root).toEqual(whole.root)
        for (const [path, bytes] of whole.files) expect(stepwise.files.get(path)).toEqual(bytes)
      }),
      { numRuns: 10 },
    )
  })

  it('paths of tiles read back as what they were written from', () => {
    fc.assert(
      fc.property(
        fc.nat(5),
        fc.nat(2 ** 31 - 1),
        fc.integer({ min: 1, max: 256 }),
        fc.boolean(),
        (level, index, width, isEntries) => {
          const tile = { level: isEntries ? ('entries' as const) : level, index, width }
          expect(parseTilePath(tilePath(tile))).toEqual(tile)
        },
      ),
      { numRuns: RUNS },
    )
    expect(tilePath({ level: 0, index: 1_234_067, width: 256 })).toBe('tile/0/x001/x234/067')
    // The example of c2sp.org/tlog-tiles.
    const tiles = newTiles(0, 70_000).filter(({ level }) => level !== 'entries')
    expect(tiles.filter(({ level, width }) => level === 0 && width === 256)).toHaveLength(273)
    expect(tileAt(0, 273, 70_000)?.width).toBe(112)
    expect(tileAt(1, 1, 70_000)?.width).toBe(17)
    expect(tileAt(2, 0, 70_000)?.width).toBe(1)
    expect(tileAt(3, 0, 70_000)).toBeUndefined()
    for (const path of [
      'tile/00/000',
      'tile/0/0',
      'tile/0/x000/000',
      'tile/0/000.p/256',
      'tile/0/000.p/0',
      'tile/7/000',
      'tile/0/001/000',
      'tile/data/000',
      '/tile/0/000',
    ]) {
      expect(() => parseTilePath(path), path).toThrow(expect.objectContaining({ code: 'TLOG_TILE' }))
    }
  })

  it('bundles of entries read back as what they were written from, and no other length is read', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 300 }), { minLength: 1, maxLength: 8 }), (entries) => {
        const bytes = formatEntries(entries)
        const tile = { level: 'entries' as const, index: 0, width: entries.length }
        expect(parseEntries(tile, bytes)).toEqual(entries)
        for (const bad of [concatBytes(bytes, Uint8Array.of(0)), bytes.subarray(0, -1)]) {
          expect(() => parseEntries(tile, bad)).toThrow(expect.objectContaining({ code: 'TLOG_TILE' }))
        }
      }),
      { numRuns: RUNS },
    )
  })
})

describe('parsers', () => {
  const policyText = `# a comment
log ${'LOG'} https://log.example/
witness a ${'A'}
witness b ${'B'} https://b.example/
group both all a b
quorum both
`

  async function samples(): Promise<
    Readonly<Record<string, { bytes: Uint8Array; parse(bytes: Uint8Array): unknown }>>
  > {
    const log = new MemoryLog()
    const checkpoint = await log.append(range(0, 9).map((n) => entry(n)))
    const hashes = await proveInclusion(log, 3, 9)
    const proof = formatProof({ index: 3, hashes, checkpoint, extra: Uint8Array.of(1, 2, 3) })
    const vkey = (name: string, type: 'note' | 'cosignature', seed: number): string => {
      const { key } = seedNoteSigner(name, type, new Uint8Array(32).fill(seed))
      return formatVerifierKey(key)
    }
    const policy = policyText
      .replace('LOG', vkey('log.example/one', 'note', 1))
      .replace('witness a A', `witness a ${vkey('a.example', 'cosignature', 2)}`)
      .replace('witness b B', `witness b ${vkey('b.example', 'cosignature', 3)}`)
    const parsed = parsePolicy(utf8Encode(policy))
    return {
      note: { bytes: checkpoint, parse: parseNote },
      proof: { bytes: proof, parse: (bytes) => checkProof(bytes, hashLeaf(entry(3)), parsed) },
      proofShape: { bytes: proof, parse: parseProof },
      policy: { bytes: utf8Encode(policy), parse: parsePolicy },
      request: { bytes: formatWitnessRequest({ oldSize: 4, hashes, checkpoint }), parse: parseWitnessRequest },
    }
  }

  it('every parser reads any bytes and any damage, or throws an error of this package', async () => {
    for (const { bytes, parse } of Object.values(await samples())) {
      expect(typeof outcome(() => parse(bytes))).not.toBe('string')
      fc.assert(
        fc.property(fc.uint8Array({ maxLength: 300 }), (noise) => void outcome(() => parse(noise))),
        { numRuns: RUNS },
      )
      fc.assert(
        fc.property(fc.nat(bytes.length - 1), fc.uint8Array({ maxLength: 20 }), fc.nat(40), (at, noise, cut) => {
          const end = Math.min(bytes.length, at + cut)
          outcome(() => parse(concatBytes(bytes.subarray(0, at), noise, bytes.subarray(end))))
        }),
        { numRuns: RUNS * 2 },
      )
    }
  })

  it('checkProof() refuses a proof with any bit flipped or cut anywhere', async () => {
    const { proof } = await samples()
    const { bytes, parse } = proof!
    // The extra line is proved by nothing, and says so.
    const extraLine = { start: 23, end: 23 + 'extra AQID'.length }
    for (let at = 0; at < bytes.length; at++) {
      if (at >= extraLine.start && at < extraLine.end) continue
      const damaged = new Uint8Array(bytes)
      damaged[at]! ^= 1 << (at % 8)
      expect(typeof outcome(() => parse(damaged)), `bit of byte ${at}`).toBe('string')
    }
    for (let length = 0; length < bytes.length; length++) {
      expect(typeof outcome(() => parse(bytes.subarray(0, length))), `cut at ${length}`).toBe('string')
    }
  })

  it('writing inverts reading for notes, checkpoints, proofs and requests', async () => {
    const all = await samples()
    expect(formatNote(parseNote(all['note']!.bytes))).toEqual(all['note']!.bytes)
    expect(formatProof(parseProof(all['proof']!.bytes))).toEqual(all['proof']!.bytes)
    expect(formatWitnessRequest(parseWitnessRequest(all['request']!.bytes))).toEqual(all['request']!.bytes)
    const { text } = parseNote(all['note']!.bytes)
    expect(formatCheckpoint(parseCheckpoint(text))).toBe(text)
    fc.assert(
      fc.property(fc.string({ maxLength: 60 }), (noise) => {
        const parsed = outcome(() => parseVerifierKey(noise))
        expect(typeof parsed).toBe('string')
      }),
      { numRuns: RUNS },
    )
    const signer = seedNoteSigner('w.example', 'cosignature', new Uint8Array(32).fill(9))
    await expect(signText('x\n', signer)).rejects.toThrow(TypeError)
    await expect(signCheckpoint({ size: 0, root: new Uint8Array(32) }, signer)).rejects.toThrow(TypeError)
  })
})
