import { acceptHead } from './accept-head.ts'
import type { AcceptedHead } from './accept-head.ts'
import { acceptLog } from './accept-log.ts'
import type { AcceptedLog, SealedRoles } from './accept-log.ts'
import { acceptManifest } from './accept-manifest.ts'
import { acceptRoles } from './accept-roles.ts'
import type { AcceptedRoles } from './accept-roles.ts'
import { checkExpiry } from './cycle.ts'
import type { Cycle } from './cycle.ts'
import type { AcceptedRelease, DocumentAnswer, DocumentRequest, VerifiedAuthority } from './decision.ts'
import { ManifestError } from './errors.ts'
import { findKills } from './kill/kill.ts'
import { limits } from './limits.ts'
import { notingTampering, singleAnswer } from './progress.ts'
import type { Progress, ReleaseSteps } from './progress.ts'
import { raiseAuthority, raiseHead, raiseManifest } from './raise-state.ts'
import { floorOf } from './trust-state.ts'
import { checkLog, knownWitnessed } from './witnessed.ts'
import type { LogFinding } from './trust-state.ts'
import type { KelRoot } from './trust-root.ts'

function all(answer: DocumentAnswer): readonly Uint8Array[] {
  if (answer === undefined) return []
  return answer instanceof Uint8Array ? [answer] : answer
}

function warnBarePin(root: KelRoot, cycle: Cycle): void {
  if (root.place !== undefined) return
  cycle.warnings.push({
    code: 'TRUST_PIN',
    message: 'The pin names no place in the log: an older log would be believed at the first install',
  })
}

interface Authority {
  readonly log: AcceptedLog
  readonly roles: AcceptedRoles
  readonly killedKeys: readonly string[]
}

function* authoritySteps(
  root: KelRoot,
  progress: Progress,
  cycle: Cycle,
  earlierRoles: readonly Uint8Array[],
): Generator<DocumentRequest, Authority, DocumentAnswer> {
  progress.document = 'log'
  const log = acceptLog(
    all(yield { document: 'log', prefix: root.prefix, maxBytes: limits.logBytes }),
    root,
    progress.state,
  )
  progress.document = 'roles'
  const { version } = log.roles.at(-1) as SealedRoles
  const bytes = singleAnswer(yield { document: 'roles', version, maxBytes: limits.rolesBytes })
  const roles = acceptRoles(bytes, log, cycle, { state: progress.state, earlier: earlierRoles })
  progress.state = raiseAuthority(progress.state, log, roles)
  progress.authority = { log: log.log, logBytes: log.bytes, roles: roles.roles, rolesBytes: roles.bytes }
  checkExpiry(roles.roles.expiresAt, cycle, 'TRUST_EXPIRED', 'role document')
  if (progress.state.fork !== undefined) {
    throw new ManifestError('TRUST_FORKED', 'Cannot install anything: an earlier contradiction is not settled yet', {
      details: {
        kind: progress.state.fork.kind,
        one: progress.state.fork.evidence[0],
        other: progress.state.fork.evidence[1],
      },
    })
  }
  progress.document = 'kills'
  const kills = findKills(all(yield { document: 'kills', maxBytes: limits.killsBytes }), roles.roles)
  if (kills.bytes !== undefined) progress.kills = kills.bytes
  return { log, roles, killedKeys: kills.keys }
}

/** The proof that the release is in the log, where the role document wants one: before its manifest is looked at. */
function* logSteps(
  { pin }: AcceptedHead,
  { roles: { roles } }: Authority,
  progress: Progress,
  cycle: Cycle,
): Generator<DocumentRequest, LogFinding | undefined, DocumentAnswer> {
  if (roles.log === undefined || cycle.withoutLog) return undefined
  const floor = floorOf(progress.state, cycle.channel)
  const witnessed = knownWitnessed(floor, pin, roles)
  if (witnessed !== undefined) return { witnessed }
  progress.document = 'proof'
  const proof = singleAnswer(yield { document: 'proof', channel: cycle.channel, pin, maxBytes: limits.proofBytes })
  return checkLog(proof, pin, { roles, cycle, floor })
}

function* manifestSteps(head: AcceptedHead, authority: Authority, progress: Progress, cycle: Cycle): ReleaseSteps {
  const { pin, offer } = head
  const { log, roles, killedKeys } = authority
  const finding = yield* logSteps(head, authority, progress, cycle)
  progress.document = 'manifest'
  const bytes = singleAnswer(
    yield { document: 'manifest', channel: cycle.channel, pin, maxBytes: Math.min(pin.length, limits.manifestBytes) },
  )
  const signatures =
    bytes &&
    singleAnswer(yield { document: 'signatures', channel: cycle.channel, pin, maxBytes: limits.signaturesBytes })
  const accepted = notingTampering(progress, bytes, () =>
    acceptManifest({ bytes, signatures }, { pin, log, roles, state: progress.state, cycle, killedKeys }),
  )
  const state = raiseManifest(raiseHead(progress.state, head), cycle.channel, { ...accepted, finding })
  const release: AcceptedRelease = {
    outcome: 'accepted',
    trust: 'current',
    state,
    warnings: cycle.warnings,
    authority: progress.authority as VerifiedAuthority,
    ...(progress.kills && { kills: progress.kills }),
    ...(finding && { log: finding }),
    offer,
    manifest: accepted.manifest,
    manifestBytes: accepted.bytes,
    manifestSha256: accepted.sha256,
    signedBy: accepted.signedBy,
    format: accepted.format,
    head: head.head,
    headBytes: head.bytes,
  }
  return release
}

/** Verification under an identity: log, role document, head, manifest, each before the next may look. */
export function* kelSteps(
  root: KelRoot,
  progress: Progress,
  cycle: Cycle,
  earlierRoles: readonly Uint8Array[],
): ReleaseSteps {
  warnBarePin(root, cycle)
  const authority = yield* authoritySteps(root, progress, cycle, earlierRoles)
  progress.document = 'head'
  const bytes = singleAnswer(yield { document: 'head', channel: cycle.channel, maxBytes: limits.headBytes })
  const head = acceptHead(bytes, { ...authority, state: progress.state, cycle })
  if (head.installable) return yield* manifestSteps(head, authority, progress, cycle)
  return {
    outcome: 'stay',
    trust: 'current',
    state: raiseHead(progress.state, head),
    warnings: cycle.warnings,
    authority: progress.authority as VerifiedAuthority,
    ...(progress.kills && { kills: progress.kills }),
    head: head.head,
    headBytes: head.bytes,
  }
}
