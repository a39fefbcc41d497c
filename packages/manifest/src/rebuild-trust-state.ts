import { KelError } from '@keyturn/kel'
import { sha256Hex } from '@keyturn/primitives'
import { acceptLog } from './accept-log.ts'
import type { AcceptedLog } from './accept-log.ts'
import { findSealed, readSealedRoles } from './accept-roles.ts'
import { parseHeadEnvelope, payloadTypes, verifyManifestSignatures, verifyThreshold } from './envelope.ts'
import { ManifestError } from './errors.ts'
import { parseHead } from './head.ts'
import { verifyLegacySignature } from './legacy-signature.ts'
import type { RoleDocument } from './model.ts'
import { readManifestHeader } from './parse-manifest.ts'
import { raiseAuthority, raiseHead, raiseManifest } from './raise-state.ts'
import { floorOf, initialTrustState } from './trust-state.ts'
import type { Fork, TrustState } from './trust-state.ts'
import type { KelRoot, PinnedKeysRoot, TrustRoot } from './trust-root.ts'

/** A manifest that was accepted, with what made it count. */
export interface StoredManifest {
  /** `manifest.json`. */
  readonly manifest: Uint8Array
  /** `manifest.sigs.json`. */
  readonly signatures?: Uint8Array
  /** `manifest.json.sig`. */
  readonly legacySignature?: Uint8Array
}

/** Everything signed that an install has stored. */
export interface StoredDocuments {
  /** The key event log. */
  readonly log?: Uint8Array
  /** Role documents. */
  readonly roles?: readonly Uint8Array[]
  /** Heads, of any channel. */
  readonly heads?: readonly Uint8Array[]
  /** Manifests, of any channel. */
  readonly manifests?: readonly StoredManifest[]
  /** A contradiction that was remembered; it is kept, since forgetting it could only help who caused it. */
  readonly fork?: Fork
}

/** Runs one check; a document that fails it counts for nothing. */
function attempt<Value>(check: () => Value): Value | undefined {
  try {
    return check()
  } catch (error) {
    if (error instanceof ManifestError || error instanceof KelError) return undefined
    throw error
  }
}

function raiseStoredHead(state: TrustState, bytes: Uint8Array, documents: readonly RoleDocument[]): TrustState {
  const envelope = attempt(() => parseHeadEnvelope(bytes))
  if (envelope === undefined) return state
  const { payload, signatures } = envelope
  const signed = documents.some(({ roles }) =>
    attempt(() =>
      verifyThreshold({ payloadType: payloadTypes.head, bytes: payload, name: 'head' }, signatures, {
        ...roles.head,
        revokedKeys: [],
      }),
    ),
  )
  const head = signed ? attempt(() => parseHead(payload)) : undefined
  if (head === undefined || head.epoch !== state.epoch) return state
  if (head.sequence <= (floorOf(state, head.channel).headSequence ?? 0)) return state
  return raiseHead(state, { head, sha256: sha256Hex(payload) })
}

function raiseStoredManifest(
  state: TrustState,
  stored: StoredManifest,
  isSigned: (stored: StoredManifest) => boolean,
): TrustState {
  if (!isSigned(stored)) return state
  const manifest = attempt(() => readManifestHeader(stored.manifest))
  if (manifest === undefined || manifest.channel === undefined) return state
  if (manifest.epoch !== state.epoch || manifest.sequence === undefined) return state
  // Every manifest adds the content keys it lists; only the newest one is the floor.
  const raised = raiseManifest(state, manifest.channel, { manifest, sha256: sha256Hex(stored.manifest) })
  const isNewest = manifest.sequence > (floorOf(state, manifest.channel).manifestSequence ?? 0)
  return isNewest ? raised : { ...raised, channels: state.channels }
}

function rebuildUnderIdentity(root: KelRoot, stored: StoredDocuments): TrustState {
  const empty = initialTrustState(root)
  const log = stored.log && attempt(() => acceptLog([stored.log as Uint8Array], root, empty))
  if (log === undefined) return empty
  const documents = sealedDocuments(stored.roles ?? [], log)
  const newest = documents.at(-1)
  if (newest === undefined) return empty
  const { roles, bytes } = newest
  let state = raiseAuthority(empty, log, { roles, sha256: sha256Hex(bytes) })
  const all = documents.map((document) => document.roles)
  for (const head of stored.heads ?? []) state = raiseStoredHead(state, head, all)
  const isSigned = ({ manifest, signatures }: StoredManifest): boolean =>
    signatures !== undefined &&
    all.some(({ roles: { release } }) =>
      attempt(() => verifyManifestSignatures(manifest, signatures, { ...release, revokedKeys: [] })),
    )
  for (const manifest of stored.manifests ?? []) state = raiseStoredManifest(state, manifest, isSigned)
  return state
}

function sealedDocuments(
  candidates: readonly Uint8Array[],
  log: AcceptedLog,
): { roles: RoleDocument; bytes: Uint8Array }[] {
  return candidates
    .filter((bytes) => findSealed(bytes, log) !== undefined)
    .flatMap((bytes) => {
      const roles = attempt(() => readSealedRoles(bytes, log))
      return roles === undefined ? [] : [{ roles, bytes }]
    })
    .sort((a, b) => a.roles.version - b.roles.version)
}

function rebuildUnderPinnedKeys(root: PinnedKeysRoot, stored: StoredDocuments, channel: string): TrustState {
  let state = initialTrustState(root)
  for (const { manifest: bytes, legacySignature } of stored.manifests ?? []) {
    if (legacySignature === undefined || !attempt(() => verifyLegacySignature(bytes, legacySignature, root, 0)))
      continue
    const manifest = attempt(() => readManifestHeader(bytes))
    if (manifest !== undefined)
      state = raiseManifest(state, manifest.channel ?? channel, { manifest, sha256: sha256Hex(bytes) })
  }
  return state
}

/**
 * Rebuilds the trust of an install from the signed documents it has stored, each verified again: `trust.json` is a
 * copy of what they say, and an edited copy gains nothing. Expiry does not matter here; a document that does not
 * verify counts for nothing.
 *
 * @param root - The pin, from the settings of this install.
 * @param stored - The documents.
 * @param channel - Channel of manifests of schema 1, which name none.
 */
export function rebuildTrustState(root: TrustRoot, stored: StoredDocuments, channel = 'stable'): TrustState {
  const state = root.kind === 'kel' ? rebuildUnderIdentity(root, stored) : rebuildUnderPinnedKeys(root, stored, channel)
  return stored.fork === undefined ? state : { ...state, fork: stored.fork }
}
