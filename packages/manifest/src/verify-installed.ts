import { KeyturnError } from '@keyturn/primitives'
import { acceptLog } from './accept-log.ts'
import type { AcceptedLog } from './accept-log.ts'
import { findSealed, readSealedRoles } from './accept-roles.ts'
import { verifyManifestSignatures } from './envelope.ts'
import { ManifestError } from './errors.ts'
import { verifyLegacySignature } from './legacy-signature.ts'
import type { ContentKey, ReleaseManifest, RoleDocument } from './model.ts'
import { parseManifest } from './parse-manifest.ts'
import { parseTrustRoot } from './trust-root.ts'
import type { PinnedKeysRoot } from './trust-root.ts'
import type { TrustState } from './trust-state.ts'

/** What is kept beside an installed release. */
export interface InstalledDocuments {
  /** `manifest.json`. */
  readonly manifest: Uint8Array
  /** `manifest.sigs.json`, the newest copy: it may have gained signatures. */
  readonly signatures?: Uint8Array
  /** `manifest.json.sig`, under pinned keys. */
  readonly legacySignature?: Uint8Array
  /** The stored key event log. */
  readonly log?: Uint8Array
  /** The role document the release was accepted under. */
  readonly roles?: Uint8Array
  /**
   * Role documents at hand, in any order; the newest that the log seals counts, and one that it does not is passed
   * over.
   */
  readonly newestRoles?: Uint8Array | readonly Uint8Array[]
  /** Content keys of the newest manifest known, installed or not. */
  readonly newestContentKeys?: readonly ContentKey[]
}

/** Whether an installed release may be started. Age never matters here, only theft. */
export type InstalledDecision =
  | {
      readonly playable: true
      readonly manifest: ReleaseManifest
      readonly roles: RoleDocument | undefined
      /** The newest role document that the log seals; `undefined` where the release was verified without a log. */
      readonly newestRoles: RoleDocument | undefined
    }
  | { readonly playable: false; readonly error: KeyturnError }

/**
 * A document that the log does not seal says nothing: it may have been stored just before a crash kept the log away.
 */
function newestSealed(candidates: Uint8Array | readonly Uint8Array[] = [], log: AcceptedLog): RoleDocument | undefined {
  const documents = candidates instanceof Uint8Array ? [candidates] : candidates
  return documents
    .filter((bytes) => findSealed(bytes, log) !== undefined)
    .map((bytes) => readSealedRoles(bytes, log))
    .sort((a, b) => a.version - b.version)
    .at(-1)
}

function signingRoles(
  documents: InstalledDocuments,
  state: TrustState,
): [accepted: RoleDocument, newest: RoleDocument] {
  const { log: stored, roles, newestRoles } = documents
  if (state.root.kind !== 'kel' || stored === undefined || roles === undefined) {
    throw new ManifestError(
      'TRUST_LOST',
      'Cannot start release: the log or the role document it was accepted under is gone',
    )
  }
  const log = acceptLog([stored], state.root, state)
  const accepted = readSealedRoles(roles, log)
  return [accepted, newestSealed(newestRoles, log) ?? accepted]
}

function checkUnderIdentity(
  documents: InstalledDocuments,
  state: TrustState,
): { roles: RoleDocument; newestRoles: RoleDocument } {
  const known = signingRoles(documents, state)
  const [accepted, newest] = known
  if (documents.signatures === undefined)
    throw new ManifestError('MAN_SIGNATURE', 'Cannot start release: its signatures are gone')
  const revokedKeys = known.flatMap((document) => document.revokedKeys)
  let failure: unknown
  // Signatures that were renewed after a rotation are by keys of the newest document only.
  for (const { roles } of known) {
    try {
      verifyManifestSignatures(documents.manifest, documents.signatures, { ...roles.release, revokedKeys })
      return { roles: accepted, newestRoles: newest }
    } catch (error) {
      failure ??= error
    }
  }
  const lost =
    failure instanceof ManifestError && ['MAN_KEY_RETIRED', 'MAN_THRESHOLD', 'MAN_SIGNATURE'].includes(failure.code)
  if (lost && revokedKeys.length > 0 && isIntact(documents, accepted)) {
    throw new ManifestError('TRUST_LOST', 'Cannot start release: the keys that signed it were revoked', {
      cause: failure,
    })
  }
  throw failure
}

/** Whether the signatures would do if nothing had been revoked. */
function isIntact({ manifest, signatures }: InstalledDocuments, { roles }: RoleDocument): boolean {
  try {
    verifyManifestSignatures(manifest, signatures as Uint8Array, { ...roles.release, revokedKeys: [] })
    return true
  } catch (error) {
    if (error instanceof ManifestError) return false
    throw error
  }
}

/**
 * The pinned keys that verify an installed release: those in force, or, until the identity has signed it, those before
 * it.
 */
function pinnedKeysOf(
  { signatures, legacySignature }: InstalledDocuments,
  { root, movedFrom }: TrustState,
): PinnedKeysRoot | undefined {
  if (root.kind === 'pinned-keys') return root
  return signatures === undefined && legacySignature !== undefined ? movedFrom : undefined
}

/** The end of a key's time does not matter here, like every other date. */
function checkUnderPinnedKeys({ manifest, legacySignature }: InstalledDocuments, root: PinnedKeysRoot): void {
  if (legacySignature === undefined)
    throw new ManifestError('MAN_SIGNATURE', 'Cannot start release: its signature is gone')
  verifyLegacySignature(manifest, legacySignature, root, 0)
}

/** After the move the old keys vouch for one release only: the one that led to this identity. */
function checkBridge({ trustRoot }: ReleaseManifest, { root }: TrustState): void {
  const led = trustRoot === undefined ? undefined : parseTrustRoot(trustRoot)
  if (led?.kind === 'kel' && root.kind === 'kel' && led.prefix === root.prefix) return
  throw new ManifestError('TRUST_LOST', 'Cannot start release: it is signed by keys that this install no longer trusts')
}

function checkContentKeys(manifest: ReleaseManifest, newest: readonly ContentKey[]): void {
  const used = new Set(manifest.files.map(({ keyId }) => keyId))
  for (const { keyId, status } of [...manifest.contentKeys, ...newest]) {
    if (status === 'revoked' && used.has(keyId)) {
      throw new ManifestError('MAN_KEY_REVOKED', `Cannot start release: its content key ${keyId} was revoked`, {
        details: { keyId },
      })
    }
  }
}

/**
 * Decides whether an installed release may be started, without the network: under the role document it was accepted
 * under, less the newest known `revoked_keys`. Expiry and absence never bar play; a revoked release key
 * (`TRUST_LOST`) or content key (`MAN_KEY_REVOKED`) and any damage do.
 *
 * @param documents - What is kept beside the release.
 * @param state - The trust of this install.
 */
export function verifyInstalled(documents: InstalledDocuments, state: TrustState): InstalledDecision {
  try {
    const pinned = pinnedKeysOf(documents, state)
    const authority = pinned === undefined ? checkUnderIdentity(documents, state) : undefined
    if (pinned !== undefined) checkUnderPinnedKeys(documents, pinned)
    const manifest = parseManifest(documents.manifest)
    checkContentKeys(manifest, documents.newestContentKeys ?? [])
    if (pinned !== undefined && state.root.kind === 'kel') checkBridge(manifest, state)
    return { playable: true, manifest, roles: authority?.roles, newestRoles: authority?.newestRoles }
  } catch (error) {
    if (error instanceof KeyturnError) return { playable: false, error }
    throw error
  }
}
