import { equalBytes, requireIterable } from '@keyturn/primitives'
import { logicalPath } from './paths.ts'

/**
 * One side of a comparison: a file by path, size and SHA-256. Both archives and folders can say as much without a key.
 */
export interface DiffSide {
  readonly path: string
  readonly size: number
  readonly sha256: Uint8Array
}

/** What differs between two trees; paths in byte order, `d:/ymir work/` compared as `ymir work/`. */
export interface TreeDiff {
  readonly added: readonly string[]
  readonly removed: readonly string[]
  readonly changed: readonly string[]
  readonly unchanged: readonly string[]
  /** Plaintext bytes of what was added and changed. */
  readonly bytes: number
}

/** Compares two trees; no key is needed. */
export function diffTrees(left: Iterable<DiffSide>, right: Iterable<DiffSide>): TreeDiff {
  requireIterable(left, 'left')
  requireIterable(right, 'right')
  const before = new Map([...left].map((file) => [logicalPath(file.path), file]))
  const added: string[] = []
  const changed: string[] = []
  const unchanged: string[] = []
  let bytes = 0
  for (const file of right) {
    const path = logicalPath(file.path)
    const old = before.get(path)
    before.delete(path)
    if (old !== undefined && equalBytes(old.sha256, file.sha256)) {
      unchanged.push(path)
      continue
    }
    bytes += file.size
    if (old === undefined) added.push(path)
    else changed.push(path)
  }
  return { added, removed: [...before.keys()], changed, unchanged, bytes }
}
