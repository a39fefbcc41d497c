import { concatBytes, sha256 } from '@keyturn/primitives'
import { encodeMatter } from './cesr/matter.ts'
import type { RootSeal } from './seal.ts'

// A Merkle tree as RFC 9162 §2.1 defines it: leaves and nodes are hashed under different first bytes, so that no node
// can pass for something that was signed.
const LEAF = new Uint8Array([0])
const NODE = new Uint8Array([1])

/** Most digests below one root. */
export const MAX_SEAL_TREE = 65_536

/** Proof that a digest is one of those below the root that an event seals (RFC 9162 §2.1.3). */
export interface SealProof {
  /** How many digests the root covers, 1 to {@link MAX_SEAL_TREE}. */
  readonly size: number
  /** Place of this one, from 0. */
  readonly index: number
  /** Hashes of the neighbours on the way to the root, 32 bytes each, nearest first. */
  readonly path: readonly Uint8Array[]
}

/** Digests below one root. */
export interface SealTree {
  /** What an event seals: `{"rd": "<qb64>"}`, code I. */
  readonly seal: RootSeal
  /** The proof of a digest; undefined when it is not one of them. */
  prove(digest: Uint8Array): SealProof | undefined
}

function parent(left: Uint8Array, right: Uint8Array): Uint8Array {
  return sha256(concatBytes(NODE, left, right))
}

function leafOf(digest: Uint8Array): Uint8Array {
  if (digest.length !== 32) throw new TypeError('A digest has the 32 bytes of a SHA-256')
  return sha256(concatBytes(LEAF, digest))
}

/** The level above: neighbours are joined, and one without a neighbour moves up as it is. */
function levelAbove(level: readonly Uint8Array[]): Uint8Array[] {
  const above: Uint8Array[] = []
  for (let at = 0; at < level.length; at += 2) {
    const [left, right] = [level[at] as Uint8Array, level[at + 1]]
    above.push(right === undefined ? left : parent(left, right))
  }
  return above
}

/**
 * Puts digests below one root, so that one seal vouches for all of them.
 *
 * @param digests - SHA-256 of what is sealed, 32 bytes each, at least one.
 * @throws RangeError for none, or more than {@link MAX_SEAL_TREE}.
 */
export function sealTree(digests: readonly Uint8Array[]): SealTree {
  if (digests.length === 0 || digests.length > MAX_SEAL_TREE)
    throw new RangeError(`A seal tree has 1 to ${MAX_SEAL_TREE} digests`)
  const levels = [digests.map(leafOf)]
  for (let level = levels[0] as Uint8Array[]; level.length > 1; levels.push(level)) level = levelAbove(level)
  const [root] = levels.at(-1) as [Uint8Array]
  const places = new Map(digests.map((digest, index) => [encodeMatter('I', digest), index]))
  return {
    seal: rootSeal(root),
    prove(digest) {
      const index = places.get(encodeMatter('I', digest))
      if (index === undefined) return undefined
      const path = levels.flatMap((level, height) => level[(index >> height) ^ 1] ?? [])
      return { size: digests.length, index, path }
    },
  }
}

/** The seal of a root. */
export function rootSeal(root: Uint8Array): RootSeal {
  return { rd: encodeMatter('I', root) }
}

/**
 * The root that a proof leads to; undefined when the proof cannot be one (RFC 9162 §2.1.3.2).
 *
 * @param digest - What was sealed, 32 bytes.
 */
export function rootOfProof(digest: Uint8Array, { size, index, path }: SealProof): Uint8Array | undefined {
  let [place, last] = [index, size - 1]
  if (place > last) return undefined
  let hash = leafOf(digest)
  for (const neighbour of path) {
    if (last === 0) return undefined
    if (place % 2 === 1) hash = parent(neighbour, hash)
    else if (place < last) hash = parent(hash, neighbour)
    else {
      // The last one of a level without a neighbour moves up until it has one, on its left.
      while (place % 2 === 0 && place > 0) [place, last] = [place >> 1, last >> 1]
      hash = parent(neighbour, hash)
    }
    ;[place, last] = [place >> 1, last >> 1]
  }
  return last === 0 ? hash : undefined
}
