import { wipe } from '@keyturn/primitives'
import type { Cell } from './cell.ts'
import type { Layer } from './place.ts'
import type { Expected } from './store.ts'
import type { VaultCore } from './vault-core.ts'

/** Options of {@link Vault.traverse}. */
export interface TraverseOptions {
  /** Layer at the destination; default 0. */
  layer?: Layer | undefined
  /** For the source's layer. */
  sourceToken?: string | undefined
  /** For the destination's layer. */
  destinationToken?: string | undefined
  /** What must be at the destination now; default `any`: what is there is overwritten. */
  expected?: Expected | undefined
}

/** From where to where a record is copied. */
export interface Route {
  readonly source: Cell
  readonly destination: Cell
  readonly name: string
}

/** See {@link Vault.traverse}. */
export async function traverse(
  core: VaultCore,
  { source, destination, name }: Route,
  options: TraverseOptions,
): Promise<void> {
  const from = await core.context(options.sourceToken)
  const to = await core.context(options.destinationToken)
  const { opened } = await core.read({ partition: source.partition, cell: source.id, name }, from)
  try {
    const layer = options.layer ?? 0
    const place = { partition: destination.partition, cell: destination.id, name, layer, context: to }
    const { keyVersion } = await core.write(place, opened.plaintext, options.expected ?? 'any')
    await core.audit.append({
      type: 'traverse',
      outcome: 'done',
      partition: source.partition,
      cell: source.id,
      toPartition: destination.partition,
      toCell: destination.id,
      name,
      layer,
      fromVersion: opened.keyVersion,
      toVersion: keyVersion,
    })
  } finally {
    wipe(opened.plaintext)
  }
}
