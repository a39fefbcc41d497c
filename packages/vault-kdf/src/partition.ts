import { Cell } from './cell.ts'
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
}
