import { base64Decode, base64Encode, requireBytes, requireText, sha256Hex } from '@keyturn/primitives'
import { ManifestError } from './errors.ts'
import { parseDocument } from './fields.ts'
import type { DocumentKind } from './fields.ts'
import { limits } from './limits.ts'
import type { ManifestFile } from './model.ts'
import { base64Length, parseReleaseBundle } from './release-bundle.ts'
import { parseRoles } from './role-document.ts'
import { formatTrustRoot, parseTrustRoot } from './trust-root.ts'
import { initialTrustState, parseTrustState, writeTrustState } from './trust-state.ts'
import type { TrustState } from './trust-state.ts'
import { verifyRelease } from './verify-release.ts'
import { documentBytes } from './write-manifest.ts'

/** Options of {@link verifyDownload}. */
export interface VerifyDownloadOptions {
  /** Refuses releases of another product; default: whatever the identity publishes. */
  readonly product?: string
  /** Default: `stable`. */
  readonly channel?: string
  /** Default: now, milliseconds since 1970. */
  readonly nowMs?: number
  /**
   * Accepts a release this long after its offer has expired: for publishers who do not renew it. An attacker can then
   * hide newer releases for as long. Default 0.
   */
  readonly expiredForMs?: number
  /**
   * Called before a refusal is thrown, with the state to store: it remembers a publisher who has contradicted
   * themselves, whose next release is refused too.
   */
  readonly onRefused?: (state: Uint8Array<ArrayBuffer>) => void
}

/** A release that its publisher has signed, and what may be downloaded of it. */
export interface VerifiedDownload {
  readonly product: string
  readonly version: string
  readonly notes: string
  /** Path, size and SHA-256 of every file. */
  readonly files: readonly ManifestFile[]
  /** To be stored before the files are used, and given to the next call: without it an old release could come back. */
  readonly state: Uint8Array<ArrayBuffer>
  /**
   * Refuses bytes that are not those of this file in the release.
   *
   * @throws ManifestError `MAN_FILE`.
   */
  requireFile(path: string, bytes: Uint8Array): void
}

const TYPE = 'keyturn.download-state'
const KIND: DocumentKind = { name: 'download state', schemaCode: 'TRUST_STATE', jsonCode: 'TRUST_STATE' }
const MAX_ROLES = 1024
const MAX_BYTES = base64Length(limits.manifestBytes)

/** What a reader has seen: the trust state, and the role documents by which keys were revoked. */
interface Seen {
  readonly trust: TrustState
  readonly roles: readonly Uint8Array[]
}

function writeSeen({ trust, roles }: Seen): Uint8Array<ArrayBuffer> {
  return documentBytes({
    type: TYPE,
    schema: 1,
    trust: base64Encode(writeTrustState(trust)),
    roles: roles.map((bytes) => base64Encode(bytes)),
  })
}

function readSeen(bytes: Uint8Array): Seen {
  const fields = parseDocument(bytes, KIND, MAX_BYTES)
  fields.exactly('type', TYPE, 'TRUST_STATE')
  fields.integer('schema', 1, 1)
  try {
    const trust = parseTrustState(base64Decode(fields.text('trust', MAX_BYTES)))
    const bounds = { max: MAX_ROLES }
    const roles = fields.texts('roles', bounds, (text) => text !== '', 'is not a role document in base64')
    return { trust, roles: roles.map((text) => base64Decode(text)) }
  } catch (cause) {
    if (cause instanceof ManifestError) throw cause
    throw new ManifestError('TRUST_STATE', 'Cannot read download state: it is damaged', { cause })
  }
}

function seenBefore(pin: string, state: Uint8Array | undefined): Seen {
  const root = parseTrustRoot(pin)
  if (root.kind !== 'kel' || root.place === undefined)
    throw new ManifestError('TRUST_INVALID', 'Cannot use pin: it names no event of a key event log', {
      hint: 'Take the whole pin that startPublication() gave: did:keri:<prefix>?sn=<number>&said=<SAID>',
    })
  if (state === undefined) return { trust: initialTrustState(root), roles: [] }
  const seen = readSeen(state)
  if (formatTrustRoot(seen.trust.root) !== formatTrustRoot(root))
    throw new ManifestError('TRUST_STATE', 'Cannot use download state: it is of another pin')
  return seen
}

function withRoles(roles: readonly Uint8Array[], accepted: Uint8Array | undefined): readonly Uint8Array[] {
  if (accepted === undefined) return roles
  const { version } = parseRoles(accepted)
  return [...roles.filter((bytes) => parseRoles(bytes).version !== version), accepted]
}

/**
 * Verifies a release document of `publishFiles()`: who signed it, that nothing newer was seen before, and
 * that it has not expired. Then each downloaded file is compared by `requireFile`, or by the sizes and SHA-256 in
 * `files`. Neither server nor network is trusted.
 *
 * @param release - The release document, as it came.
 * @param pin - Whom to trust: what `startPublication()` gave the publisher.
 * @param state - What the last call gave; undefined only the first time.
 * @throws ManifestError, or KelError for the log of keys, with the code of what is wrong; `MAN_EXPIRED` for a release
 *   that was not renewed, `MAN_ROLLBACK` for one that is older.
 * @example `const download = verifyDownload(release, PIN, state)`
 */
export function verifyDownload(
  release: Uint8Array,
  pin: string,
  state: Uint8Array | undefined,
  options: VerifyDownloadOptions = {},
): VerifiedDownload {
  requireBytes(release, 'release')
  requireText(pin, 'pin')
  if (state !== undefined) requireBytes(state, 'state')
  const { channel = 'stable', nowMs = Date.now(), expiredForMs = 0, product, onRefused } = options
  const seen = seenBefore(pin, state)
  const { log, ...documents } = parseReleaseBundle(release)
  const decision = verifyRelease({ ...documents, logs: [log], earlierRoles: seen.roles }, seen.trust, {
    channel,
    nowMs,
    expirySlackMs: expiredForMs,
    ...(product !== undefined && { product }),
  })
  const next = writeSeen({ trust: decision.state, roles: withRoles(seen.roles, decision.authority?.rolesBytes) })
  if (decision.outcome === 'refused') {
    onRefused?.(next)
    throw decision.error
  }
  if (decision.outcome === 'stay')
    throw new ManifestError('MAN_ROLLBACK', 'Cannot use release: it offers nothing newer than what was seen before')
  const { manifest } = decision
  return {
    product: manifest.product ?? '',
    version: manifest.version,
    notes: manifest.notes ?? '',
    files: manifest.files,
    state: next,
    requireFile(path, bytes) {
      requireBytes(bytes, 'bytes')
      const file = manifest.files.find((entry) => entry.path === path)
      const refuse = (why: string): never => {
        throw new ManifestError('MAN_FILE', `Cannot use file "${path}": ${why}`)
      }
      if (file === undefined) return refuse(`release ${manifest.version} has no such file`)
      if (bytes.length !== file.size) refuse(`it has ${bytes.length} bytes, expected ${file.size}`)
      if (sha256Hex(bytes) !== file.sha256) refuse('its SHA-256 is not the one that was signed')
    },
  }
}
