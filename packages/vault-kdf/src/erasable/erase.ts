import { parseEnvelopeHeader } from '../envelope.ts'
import { VaultError } from '../errors.ts'
import { changeKeyring, storeKeyring } from '../keyring-changes.ts'
import type { RecordId } from '../place.ts'
import { checkActor } from '../policy.ts'
import type { StoredRecord } from '../store.ts'
import type { VaultCore } from '../vault-core.ts'

/** Options of {@link Partition.erase}. */
export interface EraseOptions {
  /** The id of the partition once more: everything in it is lost, in every copy of the sealed records. */
  readonly irreversiblyErase: string
  /** Kept in the audit chain. */
  readonly reason?: string | undefined
}

/** What an erasure has done. */
export interface EraseReport {
  /** Sealed records that were removed from the store after their secret was gone. */
  readonly removed: number
}

const PAGE = 200
const MAX_TRIES = 16

/** Every record of a partition, by pages. */
async function* recordsOf(core: VaultCore, partition: string): AsyncIterable<readonly StoredRecord[]> {
  for (let after: RecordId | undefined; ;) {
    const page = await core.store.scan({ partition, limit: PAGE, after })
    if (page.length > 0) yield page
    after = page.at(-1)
    if (page.length < PAGE) return
  }
}

const hasSecret = (record: StoredRecord): boolean =>
  record.format === 'v1' && parseEnvelopeHeader(record.envelope)?.format === 2

/** See {@link Partition.makeErasable}. */
export async function makeErasable(core: VaultCore, partition: string): Promise<boolean> {
  await core.reloadKeyring()
  const { secrets, keyring, audit } = core
  if (!secrets.inUse) {
    await changeKeyring(core, { type: 'policy_changed', details: { erasable_partitions: true } }, (document) =>
      document.erasures === undefined ? { ...document, epoch: document.epoch + 1, erasures: {} } : document,
    )
  }
  secrets.forget(partition)
  if ((await secrets.formatFor(partition)) === 2) return false
  // A secret that was lost with an older copy of the store must come back: a second one would not open these records.
  for await (const page of recordsOf(core, partition)) {
    if (page.some(hasSecret))
      throw new VaultError('VK_PARTITION_SECRET', 'The partition has no secret, but records that were sealed with one')
  }
  const made = await secrets.make(partition)
  if (!made) return false
  const version = keyring.activeVersion
  await audit.append({ type: 'partition_made_erasable', outcome: 'done', partition, toVersion: version })
  // Rotated meanwhile: a sweep that has ended would have left this secret under the older master.
  await core.reloadKeyring()
  if (keyring.activeVersion !== version) await secrets.rewrap()
  return true
}

/** See {@link Partition.erase}. */
export async function erasePartition(core: VaultCore, partition: string, options: EraseOptions): Promise<EraseReport> {
  if (options.irreversiblyErase !== partition)
    throw new TypeError('Give the id of the partition as irreversiblyErase: everything in it will be lost')
  if (core.policy !== undefined) checkActor(core.policy.destroy.mayErase, core.audit.actor, 'erase a partition')
  await core.reloadKeyring()
  core.secrets.forget(partition)
  const state = await core.secrets.state(partition)
  if (state === 'plain')
    throw new VaultError(
      'VK_STATE',
      'Cannot erase the partition: it has no secret of its own that could be destroyed',
      {
        hint: 'Call makeErasable() on it, rotate and sweep: what is sealed from then on can be erased',
      },
    )
  if (state === 'erasable') await checkAllErasable(core, partition)
  const details = { reason: options.reason ?? '' }
  const intent = await core.audit.append({ type: 'partition_erased', outcome: 'intent', partition, details })
  try {
    await destroySecret(core, partition)
  } catch (error) {
    await core.audit.append({ type: 'partition_erased', outcome: 'failed', partition, details })
    throw error
  }
  const { epoch } = core.keyring.document
  const done = { ...details, intent: intent.seq, epoch }
  await core.audit.append({ type: 'partition_erased', outcome: 'done', partition, details: done })
  await core.audit.checkpoint()
  const removed = await removeRecords(core, partition)
  await core.secrets.forgetOverwritten()
  return { removed }
}

/** What is sealed without the secret would outlive it. */
async function checkAllErasable(core: VaultCore, partition: string): Promise<void> {
  let count = 0
  for await (const page of recordsOf(core, partition)) count += page.filter((record) => !hasSecret(record)).length
  if (count === 0) return
  throw new VaultError('VK_SWEEP_INCOMPLETE', `${count} records of the partition are sealed without its secret`, {
    details: { count },
    hint: 'They are from before makeErasable(). Rotate and sweep, or remove them',
  })
}

/**
 * The secret first, then the keyring, whose epoch tells every other process. A crash between the two leaves the
 * partition erased; the next call writes the keyring.
 */
async function destroySecret(core: VaultCore, partition: string): Promise<void> {
  const { shard, erasures } = await core.secrets.destroy(partition)
  for (let tries = 1; (core.keyring.document.erasures?.[shard] ?? 0) < erasures; tries++) {
    try {
      await storeKeyring(core, (document) => {
        const counted = Math.max(erasures, document.erasures?.[shard] ?? 0)
        return { ...document, epoch: document.epoch + 1, erasures: { ...document.erasures, [shard]: counted } }
      })
    } catch (error) {
      const lost = error instanceof VaultError && error.code === 'VK_CONFLICT' && tries < MAX_TRIES
      if (!lost) throw error
    }
  }
}

async function removeRecords(core: VaultCore, partition: string): Promise<number> {
  let removed = 0
  for await (const page of recordsOf(core, partition)) {
    const outcomes = await core.store.apply(
      page.map(({ cell, name }) => ({ remove: { partition, cell, name }, expected: 'any' as const })),
    )
    removed += outcomes.filter((outcome) => outcome === 'done').length
  }
  return removed
}
