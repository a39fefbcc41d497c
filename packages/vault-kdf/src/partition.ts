import { requireMembers } from '@keyturn/primitives'
import { BlindIndex } from './blind-index.ts'
import type { BlindIndexOptions } from './blind-index.ts'
import { Cell } from './cell.ts'
import { erasePartition, makeErasable } from './erasable/erase.ts'
import type { EraseOptions, EraseReport } from './erasable/erase.ts'
import { checkId } from './place.ts'
import type { VaultCore } from './vault-core.ts'

/** One partition, say one tenant: its keys are derived apart from all others. */
export class Partition {
  readonly id: string
  readonly #core: VaultCore

  /** Made by {@link Vault.partition}. */
  constructor(core: VaultCore, id: string) {
    checkId(id, 'partition')
    this.id = id
    this.#core = core
  }

  /** A handle on a cell; nothing is created until something is sealed. @throws VaultError `VK_INFO`. */
  cell(id: string): Cell {
    return new Cell(this.#core, this.id, id)
  }

  /**
   * An index for equality search over one column of sealed values: `index(value)` is stored in a column of its own,
   * `search(value)` is what a query compares it with. Its key is made at the first call and kept sealed in this
   * partition. Equal values have equal indexes: read the limits in docs/spec/vault-kdf.md §13 first.
   *
   * @param column - Name of the column, an id; indexes of two columns or partitions tell nothing about each other.
   * @throws VaultError `VK_INFO`, and as {@link Cell.open} and {@link Cell.seal}. RangeError for other numbers of bits.
   */
  async blindIndex(column: string, options: BlindIndexOptions = {}): Promise<BlindIndex> {
    checkId(column, 'column')
    this.#core.checkOpen()
    return BlindIndex.open(this.#core, this.id, column, options)
  }

  /**
   * Gives the partition a random secret that goes into the keys of everything sealed in it from now on, so that
   * {@link Partition.erase} can erase all of it at once. What was sealed before is moved by a rotation and a sweep.
   *
   * @returns Whether the secret was made now; `false` when there was one.
   * @throws VaultError `VK_PARTITION_ERASED`, `VK_PARTITION_SECRET` when the secret was lost, `VK_AUDIT`,
   * `VK_CONFLICT`.
   */
  async makeErasable(): Promise<boolean> {
    return makeErasable(this.#core, this.id)
  }

  /** `plain` (no secret of its own), `erasable` or `erased`. */
  async erasability(): Promise<'plain' | 'erasable' | 'erased'> {
    this.#core.checkOpen()
    return this.#core.secrets.state(this.id)
  }

  /**
   * Destroys the secret of the partition, then removes its records. Nothing that was sealed with it opens ever again,
   * in no copy or backup of the records: see the limits in docs/spec/vault-kdf.md §7.4. Call it again after a crash.
   *
   * @throws VaultError `VK_STATE` when the partition is not erasable, `VK_SWEEP_INCOMPLETE` while records are sealed
   * without the secret, `VK_POLICY`, `VK_AUDIT`, `VK_CONFLICT`. TypeError when the id is not repeated.
   */
  async erase(options: EraseOptions): Promise<EraseReport> {
    requireMembers(options, 'options', ['irreversiblyErase'])
    return erasePartition(this.#core, this.id, options)
  }
}
