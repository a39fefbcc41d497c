import { KeyturnError } from '@keyturn/primitives'
import type { ErrorCatalogue, ErrorContext } from '@keyturn/primitives'

/** The codes of this package. */
export const vaultErrors = {
  VK_AUTH: {
    kind: 'auth',
    meaning: 'Bytes do not open here: another key, another place (partition, cell, name, contexts), or changed bytes.',
    remedy: 'Check partition, cell, name, layer and token; if they are right, restore the record from a backup.',
  },
  VK_FORMAT: {
    kind: 'input',
    meaning: 'The bytes are not an envelope of a known format, and reading older formats is off or did not apply.',
    remedy: 'If these are bytes of an older format without a header, set the legacy policy to "accept" for the import.',
  },
  VK_INFO: {
    kind: 'input',
    meaning: 'An id is not 1 to 255 bytes of UTF-8 in normal form C without NUL.',
    remedy: 'Give partition, cell, name, policy and session ids in that form.',
  },
  VK_CONTEXT: {
    kind: 'usage',
    meaning: 'The layer asks for a policy or session id that the token did not give.',
    remedy: 'Use a token that resolves to the ids of this layer, or choose a lower layer.',
  },
  VK_KEY: {
    kind: 'input',
    meaning: 'A master key is not 32 bytes, or all zero.',
    remedy: 'Let the provider generate the key.',
  },
  VK_KEY_REUSED: {
    kind: 'policy',
    meaning: 'The key offered as a new version is one that this keyring already knows, perhaps a destroyed one.',
    remedy: 'Generate a fresh key; a rotation to the same key protects nothing.',
  },
  VK_VERSION_EXISTS: {
    kind: 'policy',
    meaning: 'The key version is taken; version numbers are never used twice.',
    remedy: 'Use the next free version.',
  },
  VK_VERSION_UNKNOWN: {
    kind: 'input',
    meaning: 'A record or a command names a key version that the keyring has never had.',
    remedy: 'Open the vault with the keyring that belongs to it.',
  },
  VK_VERSION_RETIRED: {
    kind: 'policy',
    meaning: 'A record is sealed under a key version that was retired or destroyed.',
    remedy: 'Restore the version while it is in quarantine; once it is destroyed, the record cannot be opened.',
  },
  VK_VERSION_SUSPENDED: {
    kind: 'policy',
    meaning: 'A record is sealed under a key version that is suspended.',
    remedy: 'Resume the version when the question that suspended it is settled.',
  },
  VK_VERSION_COMPROMISED: {
    kind: 'policy',
    meaning: 'A record is sealed under a compromised key version: anyone may have written it.',
    remedy: 'Run the sweep, which reseals such records first, then read again.',
  },
  VK_STATE: {
    kind: 'policy',
    meaning: 'The key version cannot move from its state to the one asked for.',
    remedy: 'See the table of states in docs/spec/vault-kdf.md.',
  },
  VK_ACKNOWLEDGE: {
    kind: 'policy',
    meaning: 'Not every registered node has loaded the staged version, so writing under it would fail reads there.',
    remedy: 'Wait for the nodes named, remove dead ones, or give a minimum staged time.',
  },
  VK_SWEEP_INCOMPLETE: {
    kind: 'policy',
    meaning: 'Records are still sealed under the version to retire.',
    remedy: 'Run the sweep to its end; see its list of records that did not open.',
  },
  VK_QUARANTINE: {
    kind: 'policy',
    meaning: 'The quarantine of the version is not over.',
    remedy: 'Wait until the date in the details, or force with the exact remaining count.',
  },
  VK_STALE_WRITER: {
    kind: 'busy',
    meaning: 'A write used a key version that is no longer active.',
    remedy: 'Load the keyring again and repeat the write; the vault does this by itself.',
  },
  VK_CONFLICT: {
    kind: 'busy',
    meaning: 'Another writer changed the record or document first.',
    remedy: 'Read it again and repeat.',
  },
  VK_NOT_FOUND: {
    kind: 'usage',
    meaning: 'There is no record with this name.',
    remedy: 'List the cell to see its names.',
  },
  VK_NONCE_REUSE: {
    kind: 'bug',
    meaning: 'The random source gave the same message salt twice.',
    remedy: 'Stop writing and repair the random source of this machine.',
  },
  VK_CLOSED: {
    kind: 'usage',
    meaning: 'The vault was closed: its keys are wiped, and nothing is unwrapped again.',
    remedy: 'Open the vault again, and close it after its last use.',
  },
  VK_LIMIT: {
    kind: 'input',
    meaning: 'A size or count is over its limit.',
    remedy: 'Split the content, or destroy versions that are no longer needed.',
  },
  VK_KEYRING: {
    kind: 'auth',
    meaning: 'The keyring document is damaged, forged or older than one already seen.',
    remedy: 'Restore the keyring from a backup of the same vault.',
  },
  VK_PARTITION_ERASED: {
    kind: 'policy',
    meaning: 'The secret of the partition was destroyed: nothing in it can be opened or written any more.',
    remedy: 'This cannot be undone. Give a new tenant a partition id that was never used.',
  },
  VK_PARTITION_SECRET: {
    kind: 'auth',
    meaning: 'The secret of an erasable partition is missing, damaged, forged or older than one already seen.',
    remedy: 'Restore the newest copy of the store that holds the partition secrets; the records are whole.',
  },
  VK_POLICY: {
    kind: 'policy',
    meaning: 'The policy of the vault forbids this: the actor is not named there, or a quarantine is below its floor.',
    remedy: 'Let somebody whom the policy names do it, wait, or change the policy.',
  },
  VK_POLICY_FORM: {
    kind: 'input',
    meaning: 'The policy file of the vault is not strict JSON of the known form, so no rule of it is used.',
    remedy: 'Correct the member that the details name; docs/spec/vault-kdf.md §14 has the form.',
  },
  VK_SHARE: {
    kind: 'input',
    meaning: 'A share cannot be read: it was typed wrongly, cut, or is something else.',
    remedy: 'Compare it with the paper or file of its holder, character by character.',
  },
  VK_SHARE_SET: {
    kind: 'input',
    meaning: 'The shares are of two sets, so they do not go together.',
    remedy: 'Gather shares whose texts begin alike; the details name both sets.',
  },
  VK_SHARES_MISSING: {
    kind: 'usage',
    meaning: 'Fewer shares were given than the set needs.',
    remedy: 'Ask further holders for theirs; the same share twice counts once.',
  },
  VK_SHARE_SECRET: {
    kind: 'auth',
    meaning: 'The shares can be read but do not give the secret of their set: one of them was changed on purpose.',
    remedy: 'Try again with the shares of other holders, to find which one it is.',
  },
  VK_STREAM: {
    kind: 'auth',
    meaning: 'A sealed stream is damaged, cut off, longer than it was, or another one than its record says.',
    remedy: 'Fetch or restore the sealed bytes again; the record in the vault says how many there are.',
  },
  VK_PASSPHRASE: {
    kind: 'auth',
    meaning: 'The passphrase does not open the key file.',
    remedy: 'Try again; there is no way around it.',
  },
  VK_PASSPHRASE_FORM: {
    kind: 'usage',
    meaning: 'What was read as a passphrase is not one line of text of 1 to 4,096 bytes.',
    remedy: 'Keep the passphrase alone in its file, as UTF-8, on one line.',
  },
  VK_KEYCHAIN_FORGOT: {
    kind: 'unavailable',
    meaning: 'The keychain of this machine does not hold the key that this vault was made with.',
    remedy: 'Restore the keychain, or open a backup of the vault with its key file; a fresh key would open nothing.',
  },
  VK_PROVIDER: {
    kind: 'unavailable',
    meaning: 'The provider of master keys did not answer.',
    remedy: 'Bring it back; reads work while the cached keys last, and rotations wait.',
  },
  VK_STORE_IO: {
    kind: 'io',
    meaning: 'The store could not be read or written.',
    remedy: 'See the cause: space, permissions, a missing folder.',
  },
  VK_STORE_BUSY: {
    kind: 'busy',
    meaning: 'Another process holds the store.',
    remedy: 'Wait until it has ended and try again.',
  },
  VK_STORE_DAMAGED: {
    kind: 'input',
    meaning: 'A file of the store is not what the store wrote.',
    remedy: 'Restore the store from a backup.',
  },
  VK_AUDIT: {
    kind: 'io',
    meaning: 'A required audit sink did not take a record, so the key event did not happen.',
    remedy: 'Make the audit log writable and repeat the command.',
  },
  VK_AUDIT_BROKEN: {
    kind: 'auth',
    meaning: 'The audit chain does not verify.',
    remedy: 'The details name the first bad record; compare it with the checkpoints kept elsewhere.',
  },
} as const satisfies ErrorCatalogue<string>

/** A code of this package. */
export type VaultErrorCode = keyof typeof vaultErrors

/** Thrown for bad input or bad state. Branch on `code`. */
export class VaultError extends KeyturnError<VaultErrorCode> {
  override readonly name = 'VaultError'

  /**
   * @param code - What is wrong.
   * @param message - What failed, where, what was found and what was wanted.
   * @param context - Details, hint and cause.
   */
  constructor(code: VaultErrorCode, message: string, context?: ErrorContext) {
    super(vaultErrors, code, message, context)
  }
}

/** The refusal of a vault that was closed. */
export function closed(): VaultError {
  return new VaultError('VK_CLOSED', 'The vault is closed', {
    hint: 'Open the vault again with Vault.open(), and call close() after the last use',
  })
}
