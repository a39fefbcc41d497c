import type { ReleaseDecision, TrustState } from '@keyturn/manifest'
import { lostTrust } from './engine-status.ts'
import type { Session } from './session.ts'
import { keepRefusal } from './trust/refusal.ts'
import { runTrustCycle } from './trust/trust-cycle.ts'
import type { TrustCycleResult } from './trust/trust-cycle.ts'

/**
 * How far behind the clock here may be: a day, for the hour of another system on the same machine, a wrong time zone or
 * a wrong date. Signed times are a floor for it (docs/decisions/0079).
 */
const SLOW_CLOCK_MS = 24 * 60 * 60 * 1000
/** A clock that is this far behind a signed time is worth a word. */
const CLOCK_NOTICE_MS = 5 * 60 * 1000

/** Asks the server what is on offer, decides, and reports what came of it. */
export async function askServer(
  session: Session,
  signal: AbortSignal,
): Promise<Pick<TrustCycleResult, 'decision' | 'isTampered'>> {
  const { clock, channel, product, launcherVersion, ignoreRollout } = session.options
  session.enter('trust')
  const loaded = await session.trust.load()
  if (loaded.lost) throw lostTrust(session)
  session.source.setMirrors(await session.trust.mirrors())
  const compareTips = session.source.mirrors.length > 0 && (await session.trust.isTipComparisonDue(clock()))
  const result = await runTrustCycle(session.source, session.trust, loaded.state, {
    channel,
    nowMs: clock(),
    futureSkewMs: SLOW_CLOCK_MS,
    launcherVersion,
    signal,
    compareTips,
    cohort: ignoreRollout === true ? 'in' : { installId: await session.installId() },
    ...(product === undefined ? {} : { product }),
  })
  const { decision } = result
  await keepRefusal(session.options.fs, session.layout, decision, clock())
  report(session, result)
  if (decision.outcome !== 'refused' && 'head' in decision && decision.head !== undefined)
    session.source.setMirrors(decision.head.mirrors)
  return result
}

function report(session: Session, { decision, isTampered }: TrustCycleResult): void {
  warnOfClock(session, decision.state)
  for (const { code, message } of decision.warnings)
    if (code !== 'MAN_CLOCK') session.emit({ type: 'notice', code, message })
  reportRollout(session, decision)
  if (decision.trust === 'forked') session.emit(forkNotice(session))
  session.emit({
    type: 'trust',
    status: decision.trust === 'barred' && !isTampered ? 'stale' : decision.trust,
    reason: decision.outcome === 'refused' ? decision.error.code : undefined,
  })
}

function forkNotice(session: Session): { type: 'notice'; code: string; message: string } {
  return {
    type: 'notice',
    code: 'LA_FORKED',
    message:
      `The publisher's signed documents contradict each other, so nothing new is installed; both are kept ` +
      `in "${session.layout.evidence}"`,
  }
}

/** Tells the player that the clock is slow, with the way to put it right; nothing else depends on it. */
function warnOfClock(session: Session, { clockFloorMs }: TrustState): void {
  const behindMs = clockFloorMs - session.options.clock()
  if (behindMs < CLOCK_NOTICE_MS) return
  const minutes = Math.round(behindMs / 60_000)
  const howFar = minutes < 120 ? `${minutes} minutes` : `${Math.round(minutes / 60)} hours`
  session.emit({
    type: 'notice',
    code: 'MAN_CLOCK',
    message:
      `The clock of this computer is ${howFar} or more behind a signed time of the publisher; set its date ` +
      'and time',
  })
}

/** Says that a newer release exists which this install is not offered yet. */
function reportRollout(session: Session, decision: ReleaseDecision): void {
  if (decision.outcome !== 'accepted' || decision.head === undefined) return
  const newest = decision.head.manifest
  if ((decision.manifest.sequence ?? 0) >= newest.sequence) return
  session.emit({
    type: 'notice',
    code: 'LA_ROLLOUT',
    message: `Release ${newest.version} is rolled out in steps, and this install is not in it yet`,
  })
}
