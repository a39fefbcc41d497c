import { KelError, sha256DigestSeal, verifyLog } from '@keyturn/kel'
import type { VerifiedEvent, VerifiedLog } from '@keyturn/kel'
import { hexEncode } from '@keyturn/primitives'
import type { JsonValue, KeyturnError } from '@keyturn/primitives'
import { ManifestError } from './errors.ts'
import { Forked } from './forked.ts'
import { limits } from './limits.ts'
import type { KelRoot } from './trust-root.ts'
import type { LogPlace, TrustState } from './trust-state.ts'

/** A role document that the log seals, from one establishment event up to the next change. */
export interface SealedRoles {
  /** Number of the document. */
  readonly version: number
  /** CESR digest of its literal bytes (SHA2-256, code `I`). */
  readonly seal: string
  /** First event that seals it. */
  readonly sn: number
}

/** A log that may speak for the identity. */
export interface AcceptedLog {
  readonly log: VerifiedLog
  readonly bytes: Uint8Array
  /** Last event. */
  readonly tip: LogPlace
  /** Last establishment event. */
  readonly establishment: LogPlace
  /** Every role document in order; the last one is in force. */
  readonly roles: readonly SealedRoles[]
  /** Every key that ever was a key of the identity, hex. */
  readonly identityKeys: ReadonlySet<string>
}

const SEAL = /^I[A-Za-z0-9_-]{43}$/

function isEstablishment(event: VerifiedEvent): boolean {
  return event.type !== 'ixn'
}

function place({ sn, said }: VerifiedEvent): LogPlace {
  return { sn, said }
}

/** `a[0]` of an establishment event: what only a rotation by the pre-committed keys can change. */
function rolesSeal({ sn, type, seals }: VerifiedEvent): string {
  if (type !== 'icp' && type !== 'rot') {
    throw new ManifestError(
      'TRUST_LOG',
      `Cannot use log: event ${sn} is delegated; a release identity has no delegator`,
    )
  }
  const first = seals[0] as JsonValue | undefined
  const digest = typeof first === 'object' && first !== null && !Array.isArray(first) ? first['d'] : undefined
  if (typeof digest !== 'string' || !SEAL.test(digest) || Object.keys(first as object).length !== 1) {
    throw new ManifestError('TRUST_LOG', `Cannot use log: event ${sn} seals no role document in a[0]`)
  }
  return digest
}

/**
 * The role documents that a log seals, numbered: 1 + the number of changes of `a[0].d` along its establishment events.
 *
 * @throws {@link ManifestError} `TRUST_LOG`.
 */
export function sealedRoles(log: VerifiedLog): SealedRoles[] {
  const found: SealedRoles[] = []
  for (const event of log.events.filter(isEstablishment)) {
    const seal = rolesSeal(event)
    if (seal !== found.at(-1)?.seal) found.push({ version: found.length + 1, seal, sn: event.sn })
  }
  return found
}

/** Whether literal bytes are the document that a log seals. */
export function fitsSeal(bytes: Uint8Array, { seal }: SealedRoles): boolean {
  return sha256DigestSeal(bytes).d === seal
}

function readLog(bytes: Uint8Array, root: KelRoot): AcceptedLog {
  if (bytes.length > limits.logBytes) {
    throw new ManifestError('MAN_LIMIT', `Cannot read log: ${bytes.length} bytes are over ${limits.logBytes}`)
  }
  const log = verifyLog(bytes, { prefix: root.prefix })
  const establishments = log.events.filter(isEstablishment)
  const [last, tip] = [establishments.at(-1), log.events.at(-1)]
  if (last === undefined || tip === undefined) throw new ManifestError('TRUST_LOG', 'Cannot use log: it is empty')
  if (
    root.place !== undefined &&
    !log.events.some(({ sn, said }) => sn === root.place?.sn && said === root.place.said)
  ) {
    throw new ManifestError('TRUST_PIN', `Cannot use log: it does not hold event ${root.place.sn} as it is pinned`, {
      details: { sn: root.place.sn, said: root.place.said },
    })
  }
  return {
    log,
    bytes,
    tip: place(tip),
    establishment: place(last),
    roles: sealedRoles(log),
    identityKeys: new Set(establishments.flatMap(({ keys }) => keys.map(hexEncode))),
  }
}

function duplicity(sn: number, evidence: readonly [string, string], state: TrustState): Forked {
  const error = new KelError('KEL_DUPLICITY', `Cannot use log: two events claim place ${sn}`, {
    details: { sn, one: evidence[0], other: evidence[1] },
  })
  const epoch = state.epoch === undefined ? {} : { epoch: state.epoch }
  // Settled by an establishment event above the place, so the place itself is what is remembered.
  return new Forked(error, { kind: 'log', sn, ...epoch, evidence })
}

function rollback(found: number, seen: number): KelError {
  return new KelError('KEL_ROLLBACK', `Cannot use log: it ends at event ${found}, event ${seen} was already seen`, {
    details: { found, seen },
  })
}

/** What was seen stays in the log; only interaction events may give way, and only to a rotation. */
function checkSeen({ log, tip }: AcceptedLog, state: TrustState): void {
  const seen = state.log
  if (seen === undefined) return
  const anchor = state.establishment ?? seen
  for (const known of [anchor, seen]) {
    const holds = (event: VerifiedEvent): boolean => event.sn === known.sn && event.said === known.said
    if (log.events.some(holds) || log.superseded.some(holds)) continue
    const isAnchor = known === anchor
    const rotatedOver =
      !isAnchor && log.events.some((event) => isEstablishment(event) && event.sn > anchor.sn && event.sn <= known.sn)
    if (rotatedOver) continue
    const rival = log.events.find(({ sn }) => sn === known.sn)
    if (rival === undefined) throw rollback(tip.sn, known.sn)
    throw duplicity(known.sn, [known.said, rival.said], state)
  }
}

/** The first place where two valid logs contradict each other, unless a rotation in one of them explains it. */
function contradiction(a: VerifiedLog, b: VerifiedLog): [VerifiedEvent, VerifiedEvent] | undefined {
  const [left, right] = [a, b].map(({ events }) => events.filter(isEstablishment)) as [VerifiedEvent[], VerifiedEvent[]]
  const shared = Math.min(left.length, right.length)
  for (let index = 0; index < shared; index++) {
    const [one, other] = [left[index], right[index]] as [VerifiedEvent, VerifiedEvent]
    if (one.said !== other.said) return [one, other]
  }
  if (left.length !== right.length) return undefined
  const ends = Math.min(a.events.length, b.events.length)
  for (let index = 0; index < ends; index++) {
    const [one, other] = [a.events[index], b.events[index]] as [VerifiedEvent, VerifiedEvent]
    if (one.said !== other.said) return [one, other]
  }
  return undefined
}

function isFurther(candidate: AcceptedLog, best: AcceptedLog): boolean {
  const byRotations = candidate.establishment.sn - best.establishment.sn
  return byRotations !== 0 ? byRotations > 0 : candidate.tip.sn > best.tip.sn
}

/**
 * Picks the longest valid log among those of origin and mirrors. A bad one is passed over; two valid ones that
 * contradict each other are a fork.
 *
 * @throws {@link ManifestError} `TRUST_MISSING`, `TRUST_PIN`, `TRUST_LOG`, `MAN_LIMIT`; any `KelError`; {@link Forked}.
 */
export function acceptLog(streams: readonly Uint8Array[], root: KelRoot, state: TrustState): AcceptedLog {
  let best: AcceptedLog | undefined
  let failure: KeyturnError | undefined
  for (const bytes of streams) {
    try {
      const candidate = readLog(bytes, root)
      checkSeen(candidate, state)
      const rivals = best && contradiction(best.log, candidate.log)
      if (rivals !== undefined) throw duplicity(rivals[0].sn, [rivals[0].said, rivals[1].said], state)
      if (best === undefined || isFurther(candidate, best)) best = candidate
    } catch (error) {
      if (!(error instanceof ManifestError || error instanceof KelError)) throw error
      failure ??= error
    }
  }
  if (best === undefined)
    throw failure ?? new ManifestError('TRUST_MISSING', 'Cannot verify release: no key event log could be fetched')
  return best
}
