import { sha256Hex } from '@keyturn/primitives'
import type { AcceptedLog } from './accept-log.ts'
import type { AcceptedRoles } from './accept-roles.ts'
import { checkExpiry, checkIssued } from './cycle.ts'
import type { Cycle } from './cycle.ts'
import { parseHeadEnvelope, payloadTypes, verifyThreshold } from './envelope.ts'
import { ManifestError } from './errors.ts'
import { Forked } from './forked.ts'
import { parseHead } from './head.ts'
import { limits } from './limits.ts'
import type { Head, ManifestPin, ReleaseManifest, RoleDocument } from './model.ts'
import { isInRollout } from './rollout.ts'
import { formatTime, parseTime } from './time.ts'
import { floorOf } from './trust-state.ts'
import type { Fork, TrustState } from './trust-state.ts'

const DAY_MS = 24 * 60 * 60 * 1000

/** A head that counts, and what it offers to this install. */
export interface AcceptedHead {
  readonly head: Head
  readonly bytes: Uint8Array
  /** SHA-256 of the payload. */
  readonly sha256: string
  readonly offer: 'manifest' | 'fallback'
  readonly pin: ManifestPin
  /** False when the fallback is older than what this install has: it stays. */
  readonly installable: boolean
}

/** What documents from the network are verified against. */
export interface TrustContext {
  readonly log: AcceptedLog
  readonly roles: AcceptedRoles
  readonly state: TrustState
  readonly cycle: Cycle
  /** Keys of the role document that ended themselves. */
  readonly killedKeys: readonly string[]
}

/** Checks that product, channel and epoch of a signed document are those in force. */
export function checkBelongs(
  document: Partial<Pick<ReleaseManifest, 'product' | 'channel' | 'epoch'>>,
  { roles }: AcceptedRoles,
  cycle: Cycle,
  name: string,
): void {
  const pairs: [string, string][] = [
    [document.product ?? '', roles.product],
    [document.channel ?? '', cycle.channel],
  ]
  for (const [found, expected] of pairs) {
    if (found !== expected)
      throw new ManifestError('MAN_APP_MISMATCH', `Cannot trust ${name}: it is for "${found}", expected "${expected}"`)
  }
  const epoch = document.epoch ?? -1
  if (epoch < roles.epoch)
    throw new ManifestError('MAN_ROLLBACK', `Cannot trust ${name}: its epoch ${epoch} is below ${roles.epoch}`)
  // Only the identity raises an epoch: it resets the floors.
  if (epoch > roles.epoch)
    throw new ManifestError('MAN_VERSION_JUMP', `Cannot trust ${name}: its epoch ${epoch} is above ${roles.epoch}`)
}

/** Builds the fork record for two documents with the same sequence. */
function equivocation(
  kind: 'head' | 'manifest',
  sequence: number,
  evidence: readonly [string, string],
  { log, state, cycle: { channel } }: TrustContext,
): Forked {
  const error = new ManifestError(
    'MAN_EQUIVOCATION',
    `Cannot trust ${kind}: another one with sequence ${sequence} was already accepted`,
    {
      details: { sequence, one: evidence[0], other: evidence[1] },
    },
  )
  const fork: Fork = {
    kind,
    channel,
    sn: log.establishment.sn,
    ...(state.epoch !== undefined && { epoch: state.epoch }),
    evidence,
  }
  return new Forked(error, fork)
}

/** Rollback and fast-forward; docs/spec/manifest.md §5. */
export function checkSequence(sequence: number, floor: number | undefined, name: string): void {
  if (floor === undefined) return
  if (sequence < floor) {
    throw new ManifestError('MAN_ROLLBACK', `Cannot trust ${name}: its sequence ${sequence} is below ${floor}`, {
      details: { sequence, floor },
    })
  }
  if (sequence - floor > limits.sequenceJump) {
    throw new ManifestError(
      'MAN_VERSION_JUMP',
      `Cannot trust ${name}: its sequence ${sequence} is more than ${limits.sequenceJump} above ${floor}`,
      {
        details: { sequence, floor },
      },
    )
  }
}

function checkPlace(head: Head, log: AcceptedLog): void {
  const { sn, said } = head.log
  const holds = log.log.events.some((event) => event.sn === sn && event.said === said && event.type !== 'ixn')
  if (!holds)
    throw new ManifestError(
      'MAN_PIN',
      `Cannot trust head: the log does not hold establishment event ${sn} that it names`,
    )
  const known = log.roles.length
  if (head.rolesVersion > known) {
    throw new ManifestError(
      'MAN_PIN',
      `Cannot trust head: it names role document ${head.rolesVersion}, the log seals ${known}`,
    )
  }
}

function choose(head: Head, cycle: Cycle): 'manifest' | 'fallback' {
  const { rollout, fallback } = head
  if (rollout === undefined || fallback === undefined) return 'manifest'
  if (rollout.paused || cycle.cohort === 'out') return 'fallback'
  return cycle.cohort === 'in' || isInRollout(rollout, cycle.cohort.installId) ? 'manifest' : 'fallback'
}

/** Whether a head withdraws a release. */
export function isWithdrawn(head: Head, release: { readonly sequence: number; readonly sha256: string }): boolean {
  return head.revoked.some(({ sequence, sha256 }) => sequence === release.sequence && sha256 === release.sha256)
}

function offerOf(head: Head, context: TrustContext): Pick<AcceptedHead, 'offer' | 'pin' | 'installable'> {
  const { state, cycle } = context
  const floor = floorOf(state, cycle.channel)
  for (const pin of [head.manifest, head.fallback]) {
    if (pin !== undefined && pin.sequence === floor.manifestSequence && pin.sha256 !== floor.manifestSha256) {
      throw equivocation('manifest', pin.sequence, [floor.manifestSha256 ?? '', pin.sha256], context)
    }
  }
  const offer = choose(head, cycle)
  const pin = offer === 'manifest' ? head.manifest : (head.fallback as ManifestPin)
  if (offer === 'fallback' && floor.manifestSequence !== undefined && pin.sequence < floor.manifestSequence) {
    return { offer, pin, installable: false }
  }
  checkSequence(pin.sequence, floor.manifestSequence, 'manifest')
  if (isWithdrawn(head, pin)) {
    throw new ManifestError('MAN_REVOKED', `Cannot install release ${pin.version}: the publisher withdrew it`, {
      details: { sequence: pin.sequence },
    })
  }
  return { offer, pin, installable: true }
}

/**
 * When a head ends: at its own `expires_at`, or, when that is earlier, after the days that the role document allows.
 *
 * @param head - The head.
 * @param roles - The role document in force.
 * @returns Milliseconds since 1970.
 */
export function headEndsMs(
  { issuedAt, expiresAt }: Pick<Head, 'issuedAt' | 'expiresAt'>,
  { headDays = limits.headDays }: Pick<RoleDocument, 'headDays'>,
): number {
  return Math.min(parseTime(expiresAt) as number, (parseTime(issuedAt) as number) + headDays * DAY_MS)
}

/**
 * Accepts a head: envelope, signatures by role `head`, then its meaning, place, sequence and time.
 *
 * @throws {@link ManifestError} any `MAN_` code of a head; {@link Forked}.
 */
export function acceptHead(bytes: Uint8Array | undefined, context: TrustContext): AcceptedHead {
  const { log, roles, state, cycle, killedKeys } = context
  if (bytes === undefined)
    throw new ManifestError(
      'MAN_MISSING',
      `Cannot verify release: the head of channel "${cycle.channel}" could not be fetched`,
    )
  const { payload, signatures } = parseHeadEnvelope(bytes)
  verifyThreshold({ payloadType: payloadTypes.head, bytes: payload, name: 'head' }, signatures, {
    ...roles.roles.roles.head,
    revokedKeys: roles.roles.revokedKeys,
    killedKeys,
  })
  const head = parseHead(payload)
  const sha256 = sha256Hex(payload)
  checkBelongs(head, roles, cycle, 'head')
  checkPlace(head, log)
  const floor = floorOf(state, cycle.channel)
  checkSequence(head.sequence, floor.headSequence, 'head')
  if (head.sequence === floor.headSequence && sha256 !== floor.headSha256) {
    throw equivocation('head', head.sequence, [floor.headSha256 ?? '', sha256], context)
  }
  checkIssued(head.issuedAt, cycle, 'MAN_CLOCK', 'head')
  checkExpiry(formatTime(headEndsMs(head, roles.roles)), cycle, 'MAN_EXPIRED', 'head')
  return { head, bytes, sha256, ...offerOf(head, context) }
}
