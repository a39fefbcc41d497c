import type { ReleaseDecision } from '../../src/index.ts'

/** The code of a refusal, or how else the decision came out. */
export function codeOf(decision: ReleaseDecision): string {
  return decision.outcome === 'refused' ? decision.error.code : decision.outcome
}
