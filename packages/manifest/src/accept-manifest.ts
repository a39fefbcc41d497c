import { printable } from '@keyturn/primitives'
import { checkBelongs } from './accept-head.ts'
import type { TrustContext } from './accept-head.ts'
import type { AcceptedLog } from './accept-log.ts'
import { checkManifestContent } from './check-manifest.ts'
import { checkExpiry, checkIssued } from './cycle.ts'
import type { Cycle } from './cycle.ts'
import { verifyManifestSignatures } from './envelope.ts'
import { ManifestError } from './errors.ts'
import { formatOf } from './formats.ts'
import type { ReleaseFormat } from './formats/release-format.ts'
import type { ManifestPin, ReleaseManifest } from './model.ts'
import { readManifestShape } from './parse-manifest.ts'
import { compareLauncherVersions } from './launcher-version.ts'
import type { TrustState } from './trust-state.ts'

/** A manifest and its signatures as they were served; undefined is what could not be fetched. */
export interface ServedManifest {
  readonly bytes: Uint8Array | undefined
  readonly signatures: Uint8Array | undefined
}

/** A manifest that may be installed. */
export interface AcceptedManifest {
  readonly manifest: ReleaseManifest
  readonly bytes: Uint8Array
  readonly sha256: string
  readonly signedBy: readonly string[]
  readonly format: ReleaseFormat
}

/** Names in `critical` that this reader knows. */
const KNOWN_FIELDS: ReadonlySet<string> = new Set([
  'format',
  'version',
  'created_at',
  'previous',
  'notes',
  'min_launcher_version',
  'launcher',
  'files',
  'schema',
  'product',
  'channel',
  'epoch',
  'sequence',
  'issued_at',
  'expires_at',
  'previous_sha256',
  'roles_version',
  'critical',
  'content_keys',
  'archive_format',
  'delete',
  'keep',
  'program',
  'components',
  'requires',
  'rollback_of',
  'totals',
  'trust_root',
  'files[].platform',
  'files[].required',
  'files[].executable',
  'files[].key_id',
  'files[].index',
  'files[].group',
])

/** Highest format version of archives that programs of this release read: docs/spec/m2pack-v2.md. */
const MAX_ARCHIVE_FORMAT = 2

/** Whether this reader can use the document at all: format, critical fields, launcher version. */
export function checkUnderstood(manifest: ReleaseManifest, cycle: Cycle): ReleaseFormat {
  const format = formatOf(manifest, cycle.formats)
  const foreign = manifest.critical.find((name) => !KNOWN_FIELDS.has(name))
  if (foreign !== undefined) {
    throw new ManifestError(
      'MAN_CRITICAL',
      `Cannot use manifest: this launcher does not understand its critical field "${printable(foreign, 64)}"`,
    )
  }
  const { minLauncherVersion, archiveFormat = 1 } = manifest
  if (archiveFormat > MAX_ARCHIVE_FORMAT) {
    throw new ManifestError(
      'MAN_UNKNOWN_FORMAT',
      `Cannot use manifest: its archives are of format version ${archiveFormat}, this launcher knows 1 to ` +
        `${MAX_ARCHIVE_FORMAT}`,
      { details: { archiveFormat } },
    )
  }
  if (minLauncherVersion !== undefined && cycle.launcherVersion !== undefined) {
    if (compareLauncherVersions(cycle.launcherVersion, minLauncherVersion) < 0) {
      throw new ManifestError(
        'MAN_LAUNCHER_TOO_OLD',
        `Cannot use manifest: it demands launcher ${printable(minLauncherVersion, 64)}`,
      )
    }
  }
  return format
}

/** A `key_id` that was seen before with another verifier or commitment is somebody else's key. */
export function checkKeyIds({ contentKeys }: ReleaseManifest, state: TrustState): void {
  for (const { keyId, verifierPub, commitment } of contentKeys) {
    const seen = Object.hasOwn(state.keyIds, keyId) ? state.keyIds[keyId] : undefined
    if (seen !== undefined && (seen.verifierPub !== verifierPub || seen.commitment !== commitment)) {
      throw new ManifestError(
        'MAN_KEY_ID_REUSED',
        `Cannot use manifest: key_id ${keyId} was seen with another verifier or commitment`,
        {
          details: { keyId },
        },
      )
    }
  }
}

function checkPin(manifest: ReleaseManifest, pin: ManifestPin): void {
  if (manifest.version === pin.version && manifest.sequence === pin.sequence) return
  throw new ManifestError(
    'MAN_PIN',
    `Cannot trust manifest: it is ${printable(manifest.version, 80)} with sequence ${manifest.sequence}, the head ` +
      `pins ${printable(pin.version, 80)} with sequence ${pin.sequence}`,
  )
}

function checkTimes({ issuedAt, expiresAt, rolesVersion }: ReleaseManifest, log: AcceptedLog, cycle: Cycle): void {
  if (issuedAt === undefined || expiresAt === undefined || rolesVersion === undefined) {
    throw new ManifestError(
      'MAN_SCHEMA',
      'Cannot trust manifest: issued_at, expires_at and roles_version are required under an identity',
    )
  }
  if (rolesVersion > log.roles.length) {
    throw new ManifestError(
      'MAN_PIN',
      `Cannot trust manifest: it names role document ${rolesVersion}, the log seals ${log.roles.length}`,
    )
  }
  checkIssued(issuedAt, cycle, 'MAN_CLOCK', 'manifest')
  checkExpiry(expiresAt, cycle, 'MAN_EXPIRED', 'manifest')
}

/**
 * Accepts the manifest that a head pins: signatures over its literal bytes, the pin, then its meaning.
 *
 * @throws {@link ManifestError} any `MAN_` code of a manifest.
 */
export function acceptManifest(
  { bytes, signatures }: ServedManifest,
  { pin, log, roles, state, cycle, killedKeys }: TrustContext & { readonly pin: ManifestPin },
): AcceptedManifest {
  if (bytes === undefined)
    throw new ManifestError(
      'MAN_MISSING',
      `Cannot verify release: manifest ${printable(pin.version, 80)} could not be fetched`,
    )
  if (signatures === undefined)
    throw new ManifestError(
      'MAN_MISSING',
      `Cannot verify release: the signatures of ${printable(pin.version, 80)} could not be fetched`,
    )
  const rule = { ...roles.roles.roles.release, revokedKeys: roles.roles.revokedKeys, killedKeys }
  const { signedBy, sha256 } = verifyManifestSignatures(bytes, signatures, rule)
  if (bytes.length !== pin.length || sha256 !== pin.sha256) {
    throw new ManifestError(
      'MAN_PIN',
      `Cannot trust manifest: it is not the one that the head pins as ${printable(pin.version, 80)}`,
    )
  }
  const manifest = readManifestShape(bytes)
  if (manifest.schema === 1)
    throw new ManifestError('MAN_DOWNGRADE', 'Cannot trust manifest: an identity signs schema 2 only')
  checkBelongs(manifest, roles, cycle, 'manifest')
  const format = checkUnderstood(manifest, cycle)
  checkPin(manifest, pin)
  checkTimes(manifest, log, cycle)
  checkManifestContent(manifest)
  format.check(manifest)
  checkKeyIds(manifest, state)
  return { manifest, bytes, sha256, signedBy, format }
}
