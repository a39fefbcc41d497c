import { hashChildren, hashLeaf } from '../../src/index.ts'
import { EMPTY_ROOT } from '../../src/merkle.ts'

/** RFC 6962 §2.1, word by word: slow, and so short that it is right. */
export function naiveRoot(leaves: readonly Uint8Array[]): Uint8Array {
  if (leaves.length === 0) return EMPTY_ROOT
  if (leaves.length === 1) return hashLeaf(leaves[0]!)
  const split = splitOf(leaves.length)
  return hashChildren(naiveRoot(leaves.slice(0, split)), naiveRoot(leaves.slice(split)))
}

function splitOf(count: number): number {
  let split = 1
  while (split * 2 < count) split *= 2
  return split
}

/** PATH(m, D[n]) of RFC 6962 §2.1.1. */
export function naivePath(index: number, leaves: readonly Uint8Array[]): Uint8Array[] {
  if (leaves.length <= 1) return []
  const split = splitOf(leaves.length)
  const [left, right] = [leaves.slice(0, split), leaves.slice(split)]
  return index < split
    ? [...naivePath(index, left), naiveRoot(right)]
    : [...naivePath(index - split, right), naiveRoot(left)]
}

/** SUBPROOF(m, D[n], b) of RFC 6962 §2.1.2. */
export function naiveConsistency(from: number, leaves: readonly Uint8Array[], whole = true): Uint8Array[] {
  if (from === leaves.length) return whole ? [] : [naiveRoot(leaves)]
  const split = splitOf(leaves.length)
  const [left, right] = [leaves.slice(0, split), leaves.slice(split)]
  return from <= split
    ? [...naiveConsistency(from, left, whole), naiveRoot(right)]
    : [...naiveConsistency(from - split, right, false), naiveRoot(left)]
}
