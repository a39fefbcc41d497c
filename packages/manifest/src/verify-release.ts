import { KeyturnError, requireMembers } from '@keyturn/primitives'
import { startCycle } from './cycle.ts'
import type { Cycle } from './cycle.ts'
import type {
  DocumentAnswer,
  DocumentRequest,
  RefusedRelease,
  ReleaseDecision,
  ReleaseInput,
  VerifyOptions,
} from './decision.ts'
import { Forked } from './forked.ts'
import { kelSteps } from './kel-steps.ts'
import { pinnedKeysSteps } from './pinned-keys-steps.ts'
import type { Progress, ReleaseSteps } from './progress.ts'
import type { TrustState } from './trust-state.ts'

function refusal(error: unknown, progress: Progress, cycle: Cycle): RefusedRelease {
  const forked = error instanceof Forked
  const reason = forked ? error.refusal : error
  if (!(reason instanceof KeyturnError)) throw error
  const state = forked ? { ...progress.state, fork: progress.state.fork ?? error.fork } : progress.state
  return {
    outcome: 'refused',
    error: reason,
    document: progress.document,
    trust: trustAfter(state, progress.tampered),
    state,
    warnings: cycle.warnings,
    ...(progress.authority && { authority: progress.authority }),
    ...(progress.kills && { kills: progress.kills }),
  }
}

function trustAfter(state: TrustState, tampered: boolean): RefusedRelease['trust'] {
  if (tampered) return 'barred'
  if (state.fork !== undefined) return 'forked'
  return Object.keys(state.channels).length === 0 && state.roles === undefined ? 'pinned' : 'stale'
}

/**
 * Verifies a release step by step, asking for each document only when what came before it is trusted: nothing is
 * fetched, parsed or decided from an unsigned byte. Drive it with `next(bytes)`; undefined answers a request that
 * could not be met. Pure: time and settings come in through the options.
 *
 * @param state - What this install trusts and has seen.
 * @param options - Channel, time, settings.
 * @param earlierRoles - Role documents accepted before.
 */
export function* releaseSteps(
  state: TrustState,
  options: VerifyOptions,
  earlierRoles: readonly Uint8Array[] = [],
): ReleaseSteps {
  const cycle = startCycle(state, options)
  const progress: Progress = { document: 'state', state, tampered: false }
  try {
    return state.root.kind === 'kel'
      ? yield* kelSteps(state.root, progress, cycle, earlierRoles)
      : yield* pinnedKeysSteps(state.root, progress, cycle)
  } catch (error) {
    return refusal(error, progress, cycle)
  }
}

function answer(request: DocumentRequest, input: ReleaseInput): DocumentAnswer {
  switch (request.document) {
    case 'log':
      return input.logs
    case 'roles':
      return input.roles
    case 'kills':
      return input.kills
    case 'head':
      return input.head
    case 'proof':
      return input.proof
    case 'manifest':
      return input.manifest
    case 'signatures':
      return input.signatures
    case 'legacy-signature':
      return input.legacySignature
  }
}

/**
 * The one decision that trusts a release: bytes and state in, decision and next state out. Launcher, command line and
 * server all call it (or {@link releaseSteps}, which it drives), and nothing else decides.
 *
 * @param input - The documents, as they came.
 * @param state - What this install trusts and has seen.
 * @param options - Channel, time, settings.
 * @returns An accepted release, a reason to stay, or a refusal with its code. Never throws for what is in the input.
 */
export function verifyRelease(input: ReleaseInput, state: TrustState, options: VerifyOptions): ReleaseDecision {
  requireMembers(input, 'input', [])
  requireMembers(state, 'state', ['root', 'channels'])
  requireMembers(options, 'options', ['channel', 'nowMs'])
  const steps = releaseSteps(state, options, input.earlierRoles)
  let step = steps.next()
  while (step.done !== true) step = steps.next(answer(step.value, input))
  return step.value
}
