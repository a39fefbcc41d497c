import type { AcceptedHead } from './accept-head.ts'
import type { AcceptedLog } from './accept-log.ts'
import type { AcceptedRoles } from './accept-roles.ts'
import type { ReleaseManifest } from './model.ts'
import { parseTime } from './time.ts'
import { floorOf } from './trust-state.ts'
import { withFinding } from './witnessed.ts'
import type { LogFinding } from './trust-state.ts'
import type { ChannelFloor, SeenContentKey, TrustState } from './trust-state.ts'

function later(floorMs: number, time: string | undefined): number {
  return time === undefined ? floorMs : Math.max(floorMs, parseTime(time) ?? 0)
}

/** The state without its fork, once a rotation or a raised epoch above it says which side is right. */
function settle(state: TrustState, log: AcceptedLog, epoch: number): TrustState {
  const { fork, ...settled } = state
  if (fork === undefined) return state
  const above = log.establishment.sn > fork.sn || (fork.epoch !== undefined && epoch > fork.epoch)
  return above ? settled : state
}

/**
 * Takes an accepted log and role document into the state. They count at once, with or without a head: someone who keeps
 * the head back must not keep a revocation back. A raised epoch resets sequences and key ids; nothing else does.
 */
export function raiseAuthority(
  state: TrustState,
  log: AcceptedLog,
  { roles, sha256 }: Pick<AcceptedRoles, 'roles' | 'sha256'>,
): TrustState {
  const reset = state.epoch !== undefined && roles.epoch > state.epoch
  return {
    ...settle(state, log, roles.epoch),
    log: log.tip,
    establishment: log.establishment,
    roles: { version: roles.version, sha256 },
    epoch: roles.epoch,
    clockFloorMs: later(state.clockFloorMs, roles.issuedAt),
    ...(reset && { keyIds: {}, channels: {} }),
  }
}

function withChannel(state: TrustState, channel: string, floor: ChannelFloor): TrustState {
  return { ...state, channels: { ...state.channels, [channel]: { ...floorOf(state, channel), ...floor } } }
}

/** Takes what the log says of a release into the state; what it said of the one before is gone. */
function replaceChannel(state: TrustState, channel: string, finding: LogFinding): TrustState {
  return { ...state, channels: { ...state.channels, [channel]: withFinding(floorOf(state, channel), finding) } }
}

/** Takes an accepted head into the state. */
export function raiseHead(state: TrustState, { head, sha256 }: Pick<AcceptedHead, 'head' | 'sha256'>): TrustState {
  const raised = withChannel(state, head.channel, { headSequence: head.sequence, headSha256: sha256 })
  return { ...raised, clockFloorMs: later(state.clockFloorMs, head.issuedAt) }
}

function seenKeys(
  state: TrustState,
  { contentKeys }: Pick<ReleaseManifest, 'contentKeys'>,
): Record<string, SeenContentKey> {
  const seen: Record<string, SeenContentKey> = { ...state.keyIds }
  for (const { keyId, verifierPub, commitment } of contentKeys) seen[keyId] = { verifierPub, commitment }
  return seen
}

/** Takes an accepted manifest into the state. */
export function raiseManifest(
  state: TrustState,
  channel: string,
  {
    manifest,
    sha256,
    finding,
  }: {
    readonly manifest: Omit<ReleaseManifest, 'files'>
    readonly sha256: string
    readonly finding?: LogFinding | undefined
  },
): TrustState {
  const found = finding === undefined ? state : replaceChannel(state, channel, finding)
  const raised = withChannel(found, channel, {
    ...(manifest.sequence !== undefined && { manifestSequence: manifest.sequence }),
    manifestSha256: sha256,
    version: manifest.version,
    createdAt: manifest.createdAt,
    schema: manifest.schema,
  })
  return {
    ...raised,
    clockFloorMs: later(state.clockFloorMs, manifest.issuedAt),
    keyIds: seenKeys(state, manifest),
  }
}
