import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { concatBytes, hexEncode, sha256, utf8Encode } from '@keyturn/primitives'
import { verifyLog, verifyStatement } from '../src/index.ts'
import { attachSealProof, sealTree, signStatement } from '../src/owner/index.ts'
import type { SealProof } from '../src/index.ts'
import { rootOfProof, rootSeal } from '../src/seal-tree.ts'
import { Actor, signer } from './support/actors.ts'

function digests(count: number): Uint8Array[] {
  return Array.from({ length: count }, (_, at) => sha256(utf8Encode(`file ${at}`)))
}

/** The definition of RFC 9162 §2.1.1, word by word. */
function rootByDefinition(entries: readonly Uint8Array[]): Uint8Array {
  if (entries.length === 1) return sha256(concatBytes(new Uint8Array([0]), entries[0] as Uint8Array))
  let split = 1
  while (split * 2 < entries.length) split *= 2
  const [left, right] = [rootByDefinition(entries.slice(0, split)), rootByDefinition(entries.slice(split))]
  return sha256(concatBytes(new Uint8Array([1]), left, right))
}

describe('sealTree()', () => {
  it('has the root that RFC 9162 defines, and each digest is proved by its own proof alone, for every size to 70', () => {
    for (let size = 1; size <= 70; size += 1) {
      const all = digests(size)
      const tree = sealTree(all)
      expect(tree.seal).toEqual(rootSeal(rootByDefinition(all)))
      for (const [index, digest] of all.entries()) {
        const proof = tree.prove(digest) as SealProof
        expect(proof).toMatchObject({ size, index })
        expect(rootSeal(rootOfProof(digest, proof) as Uint8Array)).toEqual(tree.seal)
      }
      expect(tree.prove(sha256(utf8Encode('another')))).toBeUndefined()
    }
  })

  it('is proved by no altered proof', () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 300 }), fc.nat(), fc.nat(), (size, at, change) => {
        const all = digests(size)
        const tree = sealTree(all)
        const digest = all[at % size] as Uint8Array
        const proof = tree.prove(digest) as SealProof
        const path = proof.path.map((hash) => hash.slice())
        const place = change % path.length
        ;(path[place] as Uint8Array)[change % 32]! ^= 1
        const altered: SealProof[] = [
          { ...proof, path },
          { ...proof, path: proof.path.slice(1) },
          { ...proof, path: [...proof.path, digest] },
          { ...proof, index: size },
        ]
        for (const wrong of altered) {
          const root = rootOfProof(digest, wrong)
          expect(root === undefined ? undefined : rootSeal(root)).not.toEqual(tree.seal)
        }
      }),
    )
  })

  it('refuses none, too many, and digests of another length', () => {
    expect(() => sealTree([])).toThrow(RangeError)
    expect(() => sealTree(Array.from({ length: 65_537 }, () => new Uint8Array(32)))).toThrow(RangeError)
    expect(() => sealTree([new Uint8Array(31)])).toThrow(TypeError)
  })
})

describe('attachSealProof()', () => {
  it('makes a signature whose digest is below a sealed root prove its place, after its key was retired', async () => {
    const actor = await Actor.start()
    const all = digests(100)
    const digest = all[41] as Uint8Array
    const envelope = await signStatement(
      actor.state,
      { purpose: 'file', sha256: digest, claimedAtMs: 0 },
      signer(actor.current),
    )
    const tree = sealTree(all)
    await actor.interact(tree.seal)
    await actor.rotate()
    const log = verifyLog(actor.log)
    expect(() => verifyStatement(envelope, digest, log)).toThrow(
      expect.objectContaining({ code: 'KEL_POSITION_UNPROVEN' }),
    )
    const proof = tree.prove(digest) as SealProof
    const proved = { position: 'sealed', proven: true, sealedBy: { sn: 1 } }
    expect(verifyStatement(attachSealProof(envelope, proof), digest, log)).toMatchObject(proved)
    expect(verifyStatement(envelope, digest, log, { proof })).toMatchObject(proved)
    const other = tree.prove(all[42] as Uint8Array) as SealProof
    expect(() => verifyStatement(attachSealProof(envelope, other), digest, log)).toThrow(
      expect.objectContaining({ code: 'KEL_POSITION_UNPROVEN' }),
    )
  })

  it('does not count when the root was sealed after the key was retired', async () => {
    const actor = await Actor.start()
    const [digest] = digests(1) as [Uint8Array]
    const envelope = await signStatement(
      actor.state,
      { purpose: 'file', sha256: digest, claimedAtMs: 0 },
      signer(actor.current),
    )
    await actor.rotate()
    const tree = sealTree([digest])
    await actor.interact(tree.seal)
    expect(() =>
      verifyStatement(attachSealProof(envelope, tree.prove(digest) as SealProof), digest, verifyLog(actor.log)),
    ).toThrow(expect.objectContaining({ code: 'KEL_POSITION_UNPROVEN' }))
  })

  it('refuses a malformed proof', async () => {
    const actor = await Actor.start()
    const [digest] = digests(1) as [Uint8Array]
    const envelope = await signStatement(
      actor.state,
      { purpose: 'file', sha256: digest, claimedAtMs: 0 },
      signer(actor.current),
    )
    const value = JSON.parse(new TextDecoder().decode(envelope)) as object
    const bad = [
      null,
      { size: 0, index: 0, path: [] },
      { size: 65_537, index: 0, path: [] },
      { size: 1, index: -1, path: [] },
      { size: 1, index: 0, path: ['00'] },
      { size: 1, index: 0, path: Array.from({ length: 17 }, () => hexEncode(digest)) },
    ]
    for (const proof of bad)
      expect(() =>
        verifyStatement(utf8Encode(JSON.stringify({ ...value, proof })), digest, verifyLog(actor.log)),
      ).toThrow(expect.objectContaining({ code: 'KEL_STATEMENT' }))
  })
})
