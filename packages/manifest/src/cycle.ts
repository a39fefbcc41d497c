import type { Cohort, TrustWarning, VerifyOptions } from './decision.ts'
import { ManifestError } from './errors.ts'
import type { ManifestErrorCode } from './errors.ts'
import { releaseFormats } from './formats.ts'
import type { FormatRegistry } from './formats.ts'
import { limits } from './limits.ts'
import { formatTime, parseTime } from './time.ts'
import type { TrustState } from './trust-state.ts'

/** One cycle's settings, with every default filled in and its time fixed. */
export interface Cycle {
  readonly channel: string
  readonly product: string | undefined
  readonly cohort: Cohort
  readonly launcherVersion: string | undefined
  readonly formats: FormatRegistry
  /** Time of the whole cycle: the clock here, or what was already seen when that is later. */
  readonly nowMs: number
  readonly futureSkewMs: number
  readonly expirySlackMs: number
  readonly withoutLog: boolean
  readonly warnings: TrustWarning[]
}

/** Fixes the settings of one cycle. */
export function startCycle(state: TrustState, options: VerifyOptions): Cycle {
  const { futureSkewMs = limits.futureSkewMs, expirySlackMs = 0 } = options
  if (!Number.isFinite(options.nowMs)) throw new RangeError('nowMs must be a finite number')
  const warnings: TrustWarning[] = []
  if (options.nowMs + futureSkewMs < state.clockFloorMs) {
    const floor = formatTime(state.clockFloorMs)
    warnings.push({
      code: 'MAN_CLOCK',
      message: `The clock here is behind ${floor}, which a signed document already stated`,
    })
  }
  return {
    channel: options.channel,
    product: options.product,
    cohort: options.cohort ?? 'in',
    launcherVersion: options.launcherVersion,
    formats: options.formats ?? releaseFormats,
    nowMs: Math.max(options.nowMs, state.clockFloorMs),
    futureSkewMs,
    expirySlackMs,
    withoutLog: options.withoutLog ?? false,
    warnings,
  }
}

/** Refuses a document from the future: its time would become a floor that locks this install out. */
export function checkIssued(issuedAt: string, cycle: Cycle, code: ManifestErrorCode, name: string): void {
  if ((parseTime(issuedAt) as number) <= cycle.nowMs + cycle.futureSkewMs) return
  throw new ManifestError(
    code,
    `Cannot trust ${name}: it was issued at ${issuedAt}, the clock here says ${formatTime(cycle.nowMs)}`,
    { hint: 'Set the date and time of this computer, then try again' },
  )
}

/** Refuses a document whose time is over; the moment itself is already too late. */
export function checkExpiry(expiresAt: string, cycle: Cycle, code: ManifestErrorCode, name: string): void {
  if (cycle.nowMs < (parseTime(expiresAt) as number) + cycle.expirySlackMs) return
  throw new ManifestError(
    code,
    `Cannot trust ${name}: it expired at ${expiresAt}, the time is ${formatTime(cycle.nowMs)}`,
    {
      details: { expiresAt },
    },
  )
}
