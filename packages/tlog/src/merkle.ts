import { concatBytes, equalBytes, sha256 } from '@keyturn/primitives'
import { TlogError } from './errors.ts'
import { MAX_PROOF_HASHES, MAX_TREE_SIZE } from './limits.ts'
import { HASH_LENGTH } from './text.ts'

const LEAF = Uint8Array.of(0)
const NODE = Uint8Array.of(1)

/** Root of the tree without leaves: SHA-256 of nothing. */
export const EMPTY_ROOT: Uint8Array = sha256(new Uint8Array(0))

/** Hash of an entry of the log, RFC 6962 §2.1: 32 bytes. */
export function hashLeaf(entry: Uint8Array): Uint8Array<ArrayBuffer> {
  return sha256(concatBytes(LEAF, entry))
}

/** Hash of two subtrees, RFC 6962 §2.1: 32 bytes. */
export function hashChildren(left: Uint8Array, right: Uint8Array): Uint8Array<ArrayBuffer> {
  return sha256(concatBytes(NODE, left, right))
}

const isOdd = (value: number): boolean => value % 2 === 1
const half = (value: number): number => Math.floor(value / 2)

/** Whether numbers and hashes can belong to one proof at all. */
function isProof(sizes: readonly number[], proof: readonly Uint8Array[]): boolean {
  return (
    sizes.every((size) => Number.isInteger(size) && size >= 0 && size <= MAX_TREE_SIZE) &&
    proof.length <= MAX_PROOF_HASHES &&
    proof.every((hash) => hash.length === HASH_LENGTH)
  )
}

/** A claim that a leaf is at a place in a tree. */
export interface InclusionClaim {
  /** From {@link hashLeaf}. */
  readonly leafHash: Uint8Array
  /** Place of the leaf, from 0. */
  readonly index: number
  /** Leaves of the tree. */
  readonly size: number
  /** Root hash of the tree. */
  readonly root: Uint8Array
}

/**
 * Verifies that a tree contains a leaf, RFC 9162 §2.1.3.2.
 *
 * @param proof - Hashes from the sibling of the leaf upwards, 32 bytes each.
 * @throws {@link TlogError} `TLOG_INCLUSION`.
 */
export function verifyInclusion({ leafHash, index, size, root }: InclusionClaim, proof: readonly Uint8Array[]): void {
  const refuse = (): never => {
    throw new TlogError('TLOG_INCLUSION', `Proof does not lead from entry ${index} to the root of ${size} entries`)
  }
  if (!isProof([index, size], proof) || index >= size) refuse()
  let place = index
  let last = size - 1
  let hash = leafHash
  for (const sibling of proof) {
    if (last === 0) refuse()
    if (isOdd(place) || place === last) {
      hash = hashChildren(sibling, hash)
      while (!isOdd(place) && place !== 0) {
        place = half(place)
        last = half(last)
      }
    } else {
      hash = hashChildren(hash, sibling)
    }
    place = half(place)
    last = half(last)
  }
  if (last !== 0 || !equalBytes(hash, root)) refuse()
}

/** Two trees, the newer of which should contain the older. */
export interface ConsistencyClaim {
  /** The older tree. */
  readonly from: { readonly size: number; readonly root: Uint8Array }
  /** The newer tree. */
  readonly to: { readonly size: number; readonly root: Uint8Array }
}

/** Roots of the older and the newer tree as a proof has them; `undefined` when it is too short or too long. */
function rootsOf({ from, to }: ConsistencyClaim, proof: readonly Uint8Array[]): [Uint8Array, Uint8Array] | undefined {
  let place = from.size - 1
  let last = to.size - 1
  while (isOdd(place)) {
    place = half(place)
    last = half(last)
  }
  // A power of two is a whole subtree of the newer tree: its root is known and left out of the proof.
  const [first, ...rest] = place === 0 ? [from.root, ...proof] : proof
  if (first === undefined) return undefined
  let [older, newer] = [first, first]
  for (const hash of rest) {
    if (last === 0) return undefined
    if (isOdd(place) || place === last) {
      older = hashChildren(hash, older)
      newer = hashChildren(hash, newer)
      while (!isOdd(place) && place !== 0) {
        place = half(place)
        last = half(last)
      }
    } else {
      newer = hashChildren(newer, hash)
    }
    place = half(place)
    last = half(last)
  }
  return last === 0 ? [older, newer] : undefined
}

/**
 * Verifies that a tree contains an older one unchanged, RFC 9162 §2.1.4.2. From the empty tree, and between equal
 * trees, the proof is empty.
 *
 * @throws {@link TlogError} `TLOG_CONSISTENCY`.
 */
export function verifyConsistency(claim: ConsistencyClaim, proof: readonly Uint8Array[]): void {
  const { from, to } = claim
  const refuse = (): never => {
    throw new TlogError(
      'TLOG_CONSISTENCY',
      `Tree of ${to.size} entries does not contain the one of ${from.size} entries`,
    )
  }
  if (!isProof([from.size, to.size], proof) || from.size > to.size) refuse()
  if (from.size === 0 || from.size === to.size) {
    const same = from.size === to.size ? equalBytes(from.root, to.root) : equalBytes(from.root, EMPTY_ROOT)
    if (proof.length > 0 || !same) refuse()
    return
  }
  const roots = rootsOf(claim, proof)
  if (roots === undefined || !equalBytes(roots[0], from.root) || !equalBytes(roots[1], to.root)) refuse()
}
