import { parseMatter } from '../cesr/matter.ts'
import { digestCodes } from '../cesr/codes.ts'
import { checkWitnessThreshold, parseEvent } from '../event.ts'
import type { InceptionEvent, InteractionEvent, RotationEvent } from '../event.ts'
import { keyText, nextDigestOf } from '../keys.ts'
import { isAbandoned, isEstablishmentOnly, nextState } from '../key-state.ts'
import type { KeyState } from '../key-state.ts'
import { checkNextDigests } from '../next-keys.ts'
import type { KeysInForce } from '../next-keys.ts'
import { quoted, refusal } from '../rule.ts'
import { SAID_PLACEHOLDER, saidify } from '../said.ts'
import type { Seal } from '../seal.ts'
import { thresholdJson } from '../threshold.ts'
import type { ThresholdInput } from '../threshold.ts'
import { formatVersion, parseVersion } from '../version-string.ts'
import type { VersionString } from '../version-string.ts'

/** Traits that an author may set: EO allows inceptions and rotations only, DND forbids delegation. */
export type Trait = 'EO' | 'DND'

/**
 * The next keys that an event promises: the keys themselves, or digests where only those are at hand. At least one is
 * required, since an identity that promises none can never rotate: {@link abandon} and the prefixes `basic` and
 * `ephemeral` are the ways to say so.
 */
export interface NextKeys {
  /** Ed25519 public keys, 32 bytes each. */
  readonly nextKeys?: readonly Uint8Array[]
  /** Digests as made by {@link nextDigestOf}; follow `nextKeys`. */
  readonly nextDigests?: readonly string[]
  /** Required as soon as there is more than one next key. */
  readonly nextThreshold?: ThresholdInput
}

/** What an inception says. */
export interface InceptionPlan extends NextKeys {
  /** Ed25519 public keys, 32 bytes each. */
  readonly keys: readonly Uint8Array[]
  /** Required as soon as there is more than one key: there is no default that fits all. */
  readonly threshold?: ThresholdInput | undefined
  readonly traits?: readonly Trait[] | undefined
  readonly seals?: readonly Seal[] | undefined
  /** Witness prefixes (code B). */
  readonly witnesses?: readonly string[] | undefined
  /** Required as soon as there are witnesses. */
  readonly witnessThreshold?: number | undefined
  /**
   * `self-addressing` (default): the prefix is the SAID; `basic`: the one key, which may promise no next key and then
   * never rotates; `ephemeral`: the one key, which never rotates.
   */
  readonly prefix?: 'self-addressing' | 'basic' | 'ephemeral' | undefined
  /** Prefix of the delegator: makes a `dip`. */
  readonly delegator?: string | undefined
}

/** What a rotation says. */
export interface RotationPlan extends NextKeys {
  readonly keys: readonly Uint8Array[]
  readonly threshold?: ThresholdInput | undefined
  readonly seals?: readonly Seal[] | undefined
  /**
   * Earlier events of the log, `kel.events` or `log.events`: none of their keys may be promised again. Default: only
   * the keys before and after this rotation are compared.
   */
  readonly history?: readonly KeysInForce[] | undefined
  readonly addWitnesses?: readonly string[] | undefined
  readonly removeWitnesses?: readonly string[] | undefined
  /** Stays as it is unless given; must be given when the list becomes too short for it, or was empty. */
  readonly witnessThreshold?: number | undefined
}

/** An event that is made but not signed. */
export interface UnsignedEvent<E> {
  readonly event: E
  readonly body: Uint8Array
}

function single(threshold: ThresholdInput | undefined, count: number, what: string): ThresholdInput {
  if (threshold !== undefined) return threshold
  if (count > 1) throw new TypeError(`A threshold is required for ${count} ${what}`)
  return count
}

function nextFields(plan: NextKeys): { nt: unknown; n: readonly string[] } {
  const given = plan.nextDigests ?? []
  for (const digest of given) parseMatter(digest, 'n', digestCodes)
  const n = [...(plan.nextKeys ?? []).map(nextDigestOf), ...given]
  if (new Set(n).size !== n.length)
    throw refusal('KEL_SCHEMA', 'One next key is promised twice', { rule: 'duplicate-keys' })
  return { nt: thresholdJson(single(plan.nextThreshold, n.length, 'next keys')), n }
}

const INCEPTION_MEMBERS = new Set([
  'keys',
  'threshold',
  'traits',
  'seals',
  'witnesses',
  'witnessThreshold',
  'prefix',
  'delegator',
  'nextKeys',
  'nextDigests',
  'nextThreshold',
])
const ROTATION_MEMBERS = new Set([
  'keys',
  'threshold',
  'seals',
  'history',
  'addWitnesses',
  'removeWitnesses',
  'witnessThreshold',
  'nextKeys',
  'nextDigests',
  'nextThreshold',
])

/** A member that is spelled wrongly would be left out without a word, and an event cannot be taken back. */
function checkMembers(plan: object, members: ReadonlySet<string>): void {
  const unknown = Object.keys(plan).find((name) => !members.has(name))
  if (unknown !== undefined) throw new TypeError(`A plan has no member ${quoted(unknown)}`)
}

function requireNextKeys(plan: NextKeys, how: string): void {
  if ((plan.nextKeys?.length ?? 0) + (plan.nextDigests?.length ?? 0) > 0) return
  throw new TypeError(`Next keys are required: without them the identity can never rotate. If that is meant, ${how}`)
}

/** What was just written is read back by the strict reader: nothing leaves that another reader would refuse. */
function readBack<E>(fields: Record<string, unknown>): UnsignedEvent<E> {
  const { body } = saidify(fields)
  const version = parseVersion(new TextDecoder().decode(body.subarray(6, 23))) as VersionString
  return { event: parseEvent(body, version) as E, body }
}

function inceptionPrefix(plan: InceptionPlan): string {
  const kind = plan.prefix ?? 'self-addressing'
  if (kind === 'self-addressing') return SAID_PLACEHOLDER
  const [key] = plan.keys
  if (key === undefined || plan.keys.length !== 1) throw new RangeError(`A ${kind} prefix needs exactly one key`)
  return keyText(key, kind === 'basic')
}

/**
 * Makes an inception, unsigned. Deterministic.
 *
 * @throws {@link KelError} `KEL_THRESHOLD`, `KEL_WITNESS`, `KEL_SCHEMA`, `KEL_KEY`; TypeError when a threshold is
 *   missing.
 */
export function buildInception(plan: InceptionPlan): UnsignedEvent<InceptionEvent> {
  checkMembers(plan, INCEPTION_MEMBERS)
  const ephemeral = plan.prefix === 'ephemeral'
  if (!ephemeral && plan.prefix !== 'basic') requireNextKeys(plan, "say so with prefix: 'basic' or 'ephemeral'")
  const witnesses = plan.witnesses ?? []
  if (witnesses.length > 0 && plan.witnessThreshold === undefined)
    throw new TypeError('A witness threshold is required with witnesses')
  const kt = thresholdJson(single(plan.threshold, plan.keys.length, 'keys'))
  const made = readBack<InceptionEvent>({
    v: formatVersion(0),
    t: plan.delegator === undefined ? 'icp' : 'dip',
    d: SAID_PLACEHOLDER,
    i: inceptionPrefix(plan),
    s: '0',
    kt,
    k: plan.keys.map((key) => keyText(key, !ephemeral)),
    ...nextFields(plan),
    bt: (plan.witnessThreshold ?? 0).toString(16),
    b: witnesses,
    c: plan.traits ?? [],
    a: plan.seals ?? [],
    ...(plan.delegator === undefined ? {} : { di: plan.delegator }),
  })
  checkNextDigests(made.event, [])
  return made
}

function rotatedThreshold(state: KeyState, plan: RotationPlan): number {
  const count = state.witnesses.length - (plan.removeWitnesses?.length ?? 0) + (plan.addWitnesses?.length ?? 0)
  // Kept unless another one is given: a rotation changes nothing that was not asked for. An empty list has nothing to
  // count.
  const threshold = plan.witnessThreshold ?? (count === 0 ? 0 : state.witnessThreshold)
  checkWitnessThreshold(threshold, count)
  return threshold
}

/**
 * Makes a rotation, unsigned.
 *
 * @param state - The state that the rotation follows.
 * @param plan - The keys that come into force must be those the state promised.
 * @throws {@link KelError} `KEL_ABANDONED`, `KEL_THRESHOLD`, `KEL_WITNESS`, `KEL_SCHEMA`, `KEL_KEY`, `KEL_KEY_REUSED`;
 *   TypeError when it promises no next key.
 */
export function buildRotation(state: KeyState, plan: RotationPlan): UnsignedEvent<RotationEvent> {
  checkMembers(plan, ROTATION_MEMBERS)
  requireNextKeys(plan, 'call abandon()')
  return makeRotation(state, plan)
}

/** Makes the rotation that ends an identity, unsigned: it promises no next key, and nothing can ever follow it. */
export function buildAbandonment(
  state: KeyState,
  plan: Omit<RotationPlan, 'nextKeys' | 'nextDigests' | 'nextThreshold'>,
): UnsignedEvent<RotationEvent> {
  checkMembers(plan, ROTATION_MEMBERS)
  return makeRotation(state, { ...plan, nextKeys: [], nextDigests: [] })
}

function makeRotation(state: KeyState, plan: RotationPlan): UnsignedEvent<RotationEvent> {
  if (isAbandoned(state)) throw refusal('KEL_ABANDONED', `Identity ${state.prefix} promised no next key`)
  const made = readBack<RotationEvent>({
    v: formatVersion(0),
    t: state.delegator === undefined ? 'rot' : 'drt',
    d: SAID_PLACEHOLDER,
    i: state.prefix,
    s: (state.sn + 1).toString(16),
    p: state.said,
    kt: thresholdJson(single(plan.threshold, plan.keys.length, 'keys')),
    k: plan.keys.map((key) => keyText(key)),
    ...nextFields(plan),
    bt: rotatedThreshold(state, plan).toString(16),
    br: plan.removeWitnesses ?? [],
    ba: plan.addWitnesses ?? [],
    a: plan.seals ?? [],
  })
  nextState(state, made.event)
  checkNextDigests(made.event, [{ keys: state.publicKeys }, ...(plan.history ?? [])])
  return made
}

/**
 * Makes an interaction, unsigned.
 *
 * @throws {@link KelError} `KEL_TRAIT` on an establishment-only identity, `KEL_ABANDONED`.
 */
export function buildInteraction(state: KeyState, seals: readonly Seal[]): UnsignedEvent<InteractionEvent> {
  if (isAbandoned(state)) throw refusal('KEL_ABANDONED', `Identity ${state.prefix} promised no next key`)
  if (isEstablishmentOnly(state))
    throw refusal('KEL_TRAIT', `Identity ${state.prefix} allows inceptions and rotations only (EO)`)
  return readBack({
    v: formatVersion(0),
    t: 'ixn',
    d: SAID_PLACEHOLDER,
    i: state.prefix,
    s: (state.sn + 1).toString(16),
    p: state.said,
    a: seals,
  })
}
