import type { JsonObject } from '@keyturn/primitives'
import type { AuditType } from './audit/record.ts'
import { VaultError } from './errors.ts'
import type { KeyringDocument } from './keyring-document.ts'
import { keyringDocumentName } from './rolled-back.ts'
import { activeVersion } from './transitions.ts'
import type { VaultCore } from './vault-core.ts'

/** Makes the next document out of the present one; throws what forbids it. */
export type Transition = (document: KeyringDocument) => KeyringDocument

/** What the audit chain records of a change. */
export interface KeyringChange {
  readonly type: AuditType
  readonly partition?: string
  readonly fromVersion?: number
  readonly toVersion?: number
  readonly details?: JsonObject
}

/**
 * Changes the keyring: checked first, written to the audit chain as an intent, then done by one write that sets keyring
 * and fence together, and written down as done.
 */
export async function changeKeyring(core: VaultCore, change: KeyringChange, transition: Transition): Promise<void> {
  const { audit, keyring } = core
  await core.reloadKeyring()
  transition(keyring.document) // a forbidden change is refused before anything is written
  const intent = await audit.append({ ...change, outcome: 'intent' })
  const details = { ...change.details, intent: intent.seq }
  try {
    await storeKeyring(core, transition)
  } catch (error) {
    await audit.append({ ...change, outcome: 'failed', details })
    throw error
  }
  await audit.append({ ...change, outcome: 'done', details: { ...details, epoch: keyring.document.epoch } })
  await audit.checkpoint()
}

/** The write of {@link changeKeyring} alone. @throws VaultError `VK_CONFLICT`, `VK_KEYRING`. */
export async function storeKeyring({ store, keyring }: VaultCore, transition: Transition): Promise<void> {
  const stored = await store.readDocument(keyringDocumentName)
  if (stored === undefined) throw new VaultError('VK_KEYRING', 'The store has lost its keyring')
  await keyring.accept(stored.bytes)
  const next = transition(keyring.document)
  const bytes = await keyring.write(next)
  const fence = { epoch: next.epoch, activeVersion: activeVersion(next) }
  await store.apply([], { name: keyringDocumentName, bytes, expected: stored.revision, fence })
  keyring.replace(next)
}
