import { printable, sha256Hex } from '@keyturn/primitives'
import { checkSequence } from './accept-head.ts'
import { checkKeyIds, checkUnderstood } from './accept-manifest.ts'
import type { AcceptedManifest } from './accept-manifest.ts'
import { checkManifestContent } from './check-manifest.ts'
import { checkExpiry, checkIssued } from './cycle.ts'
import type { Cycle } from './cycle.ts'
import { ManifestError } from './errors.ts'
import { verifyLegacySignature } from './legacy-signature.ts'
import { limits } from './limits.ts'
import type { ReleaseManifest } from './model.ts'
import { readManifestShape } from './parse-manifest.ts'
import { notingTampering, singleAnswer } from './progress.ts'
import type { Progress, ReleaseSteps } from './progress.ts'
import { raiseManifest } from './raise-state.ts'
import { parseTrustRoot } from './trust-root.ts'
import type { PinnedKeysRoot } from './trust-root.ts'
import { floorOf } from './trust-state.ts'
import type { ChannelFloor, TrustState } from './trust-state.ts'
import { compareVersions } from './version.ts'

/**
 * Which of two releases is older, as docs/spec/manifest.md §7 orders them: by sequence where both have one, else by
 * version, else by time.
 */
function orderAfterFloor(manifest: ReleaseManifest, floor: ChannelFloor): number {
  if (manifest.sequence !== undefined && floor.manifestSequence !== undefined)
    return manifest.sequence - floor.manifestSequence
  const byTime = Date.parse(manifest.createdAt) - Date.parse(floor.createdAt ?? manifest.createdAt)
  return compareVersions(manifest.version, floor.version ?? manifest.version) ?? byTime
}

/** docs/spec/manifest.md §7: the order of releases is the floor, and there is no way back from schema 2. */
function checkFloor(manifest: ReleaseManifest, sha256: string, state: TrustState, cycle: Cycle): void {
  const floor = floorOf(state, cycle.channel)
  if (floor.version === undefined) return
  if (manifest.schema < (floor.schema ?? 1))
    throw new ManifestError('MAN_DOWNGRADE', 'Cannot trust manifest: this channel already had schema 2')
  const order = orderAfterFloor(manifest, floor)
  if (order < 0) {
    throw new ManifestError(
      'MAN_ROLLBACK',
      `Cannot trust manifest: version ${printable(manifest.version, 80)} is older than ${printable(floor.version, 80)}`,
    )
  }
  if (order === 0 && sha256 !== floor.manifestSha256) {
    // Nothing could settle a fork here, so it is refused each time and not remembered.
    throw new ManifestError(
      'MAN_EQUIVOCATION',
      `Cannot trust manifest: another ${printable(manifest.version, 80)} was already accepted`,
      {
        details: { one: floor.manifestSha256 ?? '', other: sha256 },
      },
    )
  }
  if (manifest.sequence !== undefined) checkSequence(manifest.sequence, floor.manifestSequence, 'manifest')
}

function checkExtension(manifest: ReleaseManifest, cycle: Cycle): void {
  const wanted: [string | undefined, string | undefined][] = [
    [manifest.product, cycle.product],
    [manifest.channel, cycle.channel],
  ]
  for (const [found, expected] of wanted) {
    if (found !== undefined && expected !== undefined && found !== expected) {
      throw new ManifestError('MAN_APP_MISMATCH', `Cannot trust manifest: it is for "${found}", expected "${expected}"`)
    }
  }
  if (manifest.issuedAt !== undefined) checkIssued(manifest.issuedAt, cycle, 'MAN_CLOCK', 'manifest')
  if (manifest.expiresAt !== undefined) checkExpiry(manifest.expiresAt, cycle, 'MAN_EXPIRED', 'manifest')
}

/** The move of an install to an identity: for good, with its floors. */
function moveRoot(state: TrustState, movedFrom: PinnedKeysRoot, { trustRoot, epoch }: ReleaseManifest): TrustState {
  if (trustRoot === undefined) return state
  const root = parseTrustRoot(trustRoot)
  if (root.kind !== 'kel' || root.place === undefined) {
    throw new ManifestError(
      'TRUST_INVALID',
      'Cannot use manifest: trust_root has to name an identity and a place in its log',
    )
  }
  return { ...state, root, movedFrom, ...(epoch !== undefined && { epoch }) }
}

function acceptPinned(
  { bytes, signature }: { readonly bytes: Uint8Array; readonly signature: Uint8Array },
  root: PinnedKeysRoot,
  state: TrustState,
  cycle: Cycle,
): AcceptedManifest {
  if (bytes.length > limits.manifestBytes)
    throw new ManifestError('MAN_LIMIT', `Cannot read manifest: it is over ${limits.manifestBytes} bytes`)
  const signedBy = [verifyLegacySignature(bytes, signature, root, cycle.nowMs)]
  const manifest = readManifestShape(bytes)
  const sha256 = sha256Hex(bytes)
  const format = checkUnderstood(manifest, cycle)
  checkExtension(manifest, cycle)
  checkFloor(manifest, sha256, state, cycle)
  checkManifestContent(manifest)
  format.check(manifest)
  checkKeyIds(manifest, state)
  return { manifest, bytes, sha256, signedBy, format }
}

/** Verification under pinned keys: `manifest.json.sig` over the literal manifest, no head. */
export function* pinnedKeysSteps(root: PinnedKeysRoot, progress: Progress, cycle: Cycle): ReleaseSteps {
  progress.document = 'manifest'
  const bytes = singleAnswer(
    yield { document: 'manifest', channel: cycle.channel, pin: undefined, maxBytes: limits.manifestBytes },
  )
  if (bytes === undefined)
    throw new ManifestError('MAN_MISSING', 'Cannot verify release: the manifest could not be fetched')
  const signature = singleAnswer(
    yield { document: 'legacy-signature', channel: cycle.channel, maxBytes: limits.legacySignatureBytes },
  )
  if (signature === undefined)
    throw new ManifestError('MAN_SIGNATURE_FORMAT', 'Cannot verify release: manifest.json.sig could not be fetched')
  const accepted = notingTampering(progress, bytes, () =>
    acceptPinned({ bytes, signature }, root, progress.state, cycle),
  )
  const state = moveRoot(raiseManifest(progress.state, cycle.channel, accepted), root, accepted.manifest)
  return {
    outcome: 'accepted',
    trust: 'current',
    state,
    warnings: cycle.warnings,
    offer: 'manifest',
    manifest: accepted.manifest,
    manifestBytes: accepted.bytes,
    manifestSha256: accepted.sha256,
    signedBy: accepted.signedBy,
    format: accepted.format,
  }
}
