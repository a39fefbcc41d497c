import { TlogError } from './errors.ts'
import { MAX_TREE_SIZE } from './limits.ts'
import { EMPTY_ROOT, hashChildren } from './merkle.ts'
import { HASH_LENGTH } from './text.ts'

/** What is enough of a tree to append to it, and to prove to oneself that it only grew. */
export interface FrontierState {
  /** Leaves. */
  readonly size: number
  /** Roots of the whole subtrees from left to right: one for each bit that is set in the size. 32 bytes each. */
  readonly hashes: readonly Uint8Array[]
}

function bitsOf(size: number): number {
  let bits = 0
  for (let rest = size; rest > 0; rest = Math.floor(rest / 2)) bits += rest % 2
  return bits
}

/**
 * The right edge of a tree: at most 53 hashes. A follower that adds every new entry and arrives at the root of the new
 * checkpoint has proved that the log only grew, without any proof from the log.
 */
export class Frontier {
  #size = 0
  #hashes: Uint8Array[] = []

  /**
   * @param state - Where to go on. Default: the empty tree.
   * @throws {@link TlogError} `TLOG_TILE` when the hashes do not fit the size.
   */
  constructor(state: FrontierState = { size: 0, hashes: [] }) {
    const { size, hashes } = state
    const fits = Number.isInteger(size) && size >= 0 && size <= MAX_TREE_SIZE && bitsOf(size) === hashes.length
    if (!fits || hashes.some((hash) => hash.length !== HASH_LENGTH)) {
      throw new TlogError(
        'TLOG_TILE',
        `Cannot go on with a tree of ${size} entries: ${hashes.length} hashes do not fit`,
      )
    }
    this.#size = size
    this.#hashes = hashes.map((hash) => new Uint8Array(hash))
  }

  /** Leaves so far. */
  get size(): number {
    return this.#size
  }

  /** What to keep, to go on later. */
  get state(): FrontierState {
    return { size: this.#size, hashes: this.#hashes.map((hash) => new Uint8Array(hash)) }
  }

  /** Adds a leaf by its hash. */
  append(leafHash: Uint8Array): void {
    let hash = new Uint8Array(leafHash)
    for (let rest = this.#size; rest % 2 === 1; rest = Math.floor(rest / 2)) {
      hash = hashChildren(this.#hashes.pop() as Uint8Array, hash)
    }
    this.#hashes.push(hash)
    this.#size += 1
  }

  /** Root hash of the tree so far, 32 bytes. */
  root(): Uint8Array {
    const [last, ...rest] = this.#hashes.toReversed()
    if (last === undefined) return EMPTY_ROOT
    return rest.reduce<Uint8Array>((right, left) => hashChildren(left, right), last)
  }
}
