import type { AuditLog } from './audit/log.ts'
import { VaultError } from './errors.ts'
import type { Keyring } from './keyring.ts'
import type { KeyringDocument } from './keyring-document.ts'
import type { VaultStore } from './store.ts'

/** Name of the keyring among the documents of a store. */
export const keyringDocumentName = 'keyring'

/** What else remembers how far the keyring has come: none of it is changed when one row is put back from a backup. */
interface Witnesses {
  /** Epoch of the fence, written together with each keyring. */
  readonly fence: number | undefined
  /** Epoch that the audit chain states last. */
  readonly chain: number | undefined
  /** Key versions that records are under. */
  readonly versions: readonly number[]
}

/**
 * Refuses a keyring document that is older than what is beside it. A process that ran meanwhile knows better by
 * itself; a fresh one would open the older document, call records under newer versions unknown, and give their version
 * numbers to other keys.
 *
 * @throws VaultError `VK_KEYRING`.
 */
export async function checkNotRolledBack(store: VaultStore, keyring: Keyring, audit: AuditLog): Promise<void> {
  const witnesses = await readWitnesses(store, audit)
  if (contradiction(keyring.document, witnesses) === undefined) return
  // Another process may have changed the keyring between the two reads: the present one is what counts.
  const present = await store.readDocument(keyringDocumentName)
  if (present !== undefined) await keyring.accept(present.bytes)
  const found = contradiction(keyring.document, witnesses)
  if (found === undefined) return
  throw new VaultError('VK_KEYRING', `The keyring document is of epoch ${keyring.document.epoch}, but ${found}`, {
    details: { epoch: keyring.document.epoch },
    hint:
      'An older copy of the keyring was put back. Restore the newest one, or the whole vault (records, keyring ' +
      'and audit chain) from one backup',
  })
}

async function readWitnesses(store: VaultStore, audit: AuditLog): Promise<Witnesses> {
  const fence = await store.readFence?.()
  const chain = await audit.lastEpoch()
  const census = await store.census()
  return { fence: fence?.epoch, chain, versions: census.flatMap((row) => (row.format === 'v1' ? row.keyVersion : [])) }
}

function contradiction(document: KeyringDocument, { fence, chain, versions }: Witnesses): string | undefined {
  if (fence !== undefined && fence > document.epoch) return `the store was at epoch ${fence}`
  if (chain !== undefined && chain > document.epoch) return `the audit chain has seen epoch ${chain}`
  const unknown = versions.find((version) => !document.entries.some((entry) => entry.version === version))
  return unknown === undefined ? undefined : `it does not know key version ${unknown}, which records are under`
}
