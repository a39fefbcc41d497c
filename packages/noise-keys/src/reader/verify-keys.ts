import { base64Decode, base64Encode, equalBytes } from '@keyturn/primitives'
import { ANCHOR_DNS_NAME } from '../device-id.ts'
import { recordsInPacket } from '../directories.ts'
import type { PublishedKeys } from '../directory.ts'
import { NoiseKeysError } from '../errors.ts'
import type { NoiseKeysErrorCode } from '../errors.ts'
import { isSameRecord } from './floors.ts'
import type { EquivocationEvidence, KeyFloors } from './floors.ts'
import type { TransportIdentity } from '../identity.ts'
import { parseAnchor, verifyKeyList } from '../key-list.ts'
import type { KeyListEntry, VerifiedKeyList } from '../key-list.ts'
import { TXT, txtValue } from '../pkarr/dns.ts'
import { canonicalX25519PublicKey } from '../public-key.ts'
import { verifyKeyRecord } from '../record-signature.ts'
import { parseKeyRecord } from '../record.ts'
import type { ParsedKeyRecord } from '../record.ts'

/** What to make of a key. `ok`, `legacy` and `retiring` may be used, the others not. */
export type Verdict =
  | 'ok'
  | 'next'
  | 'retiring'
  | 'retired'
  | 'revoked'
  | 'expired'
  | 'rolled-back'
  | 'equivocation'
  | 'legacy'
  | 'unverifiable'
  | 'unreachable'

/** A key, what to make of it, and why. */
export interface KeyVerdict {
  readonly device: string
  /** Canonical X25519 public key; absent where no record could be read. */
  readonly publicKey?: Uint8Array
  readonly verdict: Verdict
  /** For verdicts that refuse: the code {@link assertUsable} throws. */
  readonly code?: NoiseKeysErrorCode
  /** One sentence for people. */
  readonly reason: string
  /** Unix seconds until which the key may be used. */
  readonly untilS?: number
  readonly sequence?: number
  readonly evidence?: EquivocationEvidence
}

/** What a reader accepts. All times in seconds. */
export interface ReaderPolicy {
  /** Oldest record; 365 days. */
  readonly maxAgeS: number
  /** How far a date may lie ahead; 300. */
  readonly maxSkewS: number
  /** Oldest list that counts while the anchor cannot be fetched; 24 h. */
  readonly maxUnanchoredS: number
  /** How long an accepted key counts while nothing can be reached; 24 h. */
  readonly cacheWindowS: number
  /** Added to the window for those who must work offline; 0. */
  readonly offlineGraceS: number
  /** Refuse plain records always; false. */
  readonly requireSigned: boolean
}

/** The defaults of docs/spec/noise-keys.md §5. */
export const DEFAULT_READER_POLICY: ReaderPolicy = {
  maxAgeS: 365 * 86_400,
  maxSkewS: 300,
  maxUnanchoredS: 86_400,
  cacheWindowS: 86_400,
  offlineGraceS: 0,
  requireSigned: false,
}

interface Scene {
  readonly identity: TransportIdentity
  readonly floors: KeyFloors
  readonly policy: ReaderPolicy
  readonly nowS: number
  readonly list: VerifiedKeyList | undefined
  /** The list's own trouble: then no entry of it counts. */
  readonly listProblem: NoiseKeysError | undefined
  /** Records that the signed packet itself carries. */
  readonly inPacket: ReadonlyMap<string, string>
}

/** When keys are verified, and how strictly. */
export interface VerifyKeysOptions {
  /** Now, seconds since the epoch. */
  readonly nowS: number
  /** What differs from {@link DEFAULT_READER_POLICY}. */
  readonly policy?: Partial<ReaderPolicy> | undefined
}

/**
 * Verifies everything that an identity has published, and raises the floors.
 *
 * @param published - What was found; `undefined` when nothing could be reached.
 * @param floors - Changed: store them afterwards, and before a key is used.
 * @returns A verdict for each device, usable ones first, of those the newest first.
 */
export function verifyKeys(
  identity: TransportIdentity,
  published: PublishedKeys | undefined,
  floors: KeyFloors,
  { nowS, policy }: VerifyKeysOptions,
): KeyVerdict[] {
  const full = { ...DEFAULT_READER_POLICY, ...policy }
  if (published === undefined) return verifyFromCache(identity, floors, nowS, full)
  const scene = openScene(identity, published, floors, { nowS, policy: full })
  const devices = new Set([
    ...published.records.keys(),
    ...(scene.list?.list.entries ?? []).map(({ device }) => device),
  ])
  const verdicts = [...devices].map((device) => verifyDevice(scene, device, published.records.get(device)))
  const usable = verdicts.filter(isUsable)
  if (usable.length > 0) {
    const keys = usable.map(({ device, publicKey, untilS }) => {
      return [
        device,
        { k: base64Encode(publicKey as Uint8Array), ...(untilS === undefined ? {} : { until: untilS }) },
      ] as const
    })
    floors.of(identity.name).validated = { atS: nowS, keys: Object.fromEntries(keys) }
  }
  return verdicts.sort(byPreference)
}

/** Whether a key may be used to start a session. */
export function isUsable({ verdict, publicKey }: KeyVerdict): boolean {
  return publicKey !== undefined && (verdict === 'ok' || verdict === 'legacy' || verdict === 'retiring')
}

/**
 * Stops unless a key may be used.
 *
 * @throws {@link NoiseKeysError} with the verdict's code.
 */
export function assertUsable(verdict: KeyVerdict): void {
  if (isUsable(verdict)) return
  throw new NoiseKeysError(verdict.code ?? 'NK_UNVERIFIABLE', `Key of device "${verdict.device}": ${verdict.reason}`, {
    details: { device: verdict.device, verdict: verdict.verdict },
    cause: verdict.evidence,
  })
}

/**
 * Finds the verdict about one static key, after a handshake for instance: the key in hand decides, not a device id.
 *
 * @throws {@link NoiseKeysError} `NK_KEY_UNKNOWN` when nobody published it; else the verdict's code.
 */
export function assertKeyUsable(verdicts: readonly KeyVerdict[], publicKey: Uint8Array): KeyVerdict {
  const canonical = canonicalX25519PublicKey(publicKey)
  const verdict = verdicts.find((one) => one.publicKey !== undefined && equalBytes(one.publicKey, canonical))
  if (verdict === undefined) throw new NoiseKeysError('NK_KEY_UNKNOWN', 'The identity published no such key')
  assertUsable(verdict)
  return verdict
}

function openScene(
  identity: TransportIdentity,
  published: PublishedKeys,
  floors: KeyFloors,
  { nowS, policy }: Pick<Scene, 'nowS' | 'policy'>,
): Scene {
  let list: VerifiedKeyList | undefined
  let listProblem: NoiseKeysError | undefined
  let inPacket: ReadonlyMap<string, string> = new Map()
  try {
    if (published.packet !== undefined) {
      // A packet of tomorrow is used and not remembered: what was signed beforehand must not outrank today's when it
      // leaks.
      if (published.packet.timestampUs <= BigInt(nowS + policy.maxSkewS) * 1_000_000n)
        floors.observePacket(identity.name, published.packet.timestampUs)
      inPacket = recordsInPacket(published.packet)
    }
    if (published.list !== undefined) {
      list = verifyKeyList(identity.publicKey, published.list)
      if (list.list.ts > nowS + policy.maxSkewS)
        throw new NoiseKeysError('NK_FUTURE', 'The key list is dated in the future')
      floors.observeList(identity.name, list)
      checkAnchor(published, list, nowS, policy)
    } else if (floors.of(identity.name).list !== undefined && inPacket.size === 0) {
      throw new NoiseKeysError('NK_UNVERIFIABLE', 'The key list that was there before is withheld')
    }
  } catch (error) {
    if (!(error instanceof NoiseKeysError)) throw error
    listProblem = error
  }
  return { identity, floors, policy, nowS, list, listProblem, inPacket }
}

/** List and anchor must agree; without an anchor the list has to be young. */
function checkAnchor(
  published: PublishedKeys,
  { list, sha256 }: VerifiedKeyList,
  nowS: number,
  policy: ReaderPolicy,
): void {
  if (list.exp < nowS) throw new NoiseKeysError('NK_EXPIRED', 'The key list has expired')
  const record = published.packet?.records.find(({ name, type }) => name === ANCHOR_DNS_NAME && type === TXT)
  const anchor = record && parseAnchor(txtValue(record))
  if (anchor !== undefined && anchor.seq > list.seq)
    throw new NoiseKeysError('NK_ROLLBACK', `The anchor names list ${anchor.seq}, this is ${list.seq}`)
  if (anchor?.seq === list.seq) {
    if (!equalBytes(anchor.listSha256, sha256))
      throw new NoiseKeysError('NK_EQUIVOCATION', `The anchor names another list ${list.seq}`)
    return
  }
  // No anchor, or one that is still to follow: lists go first, the packet last.
  if (nowS - list.ts > policy.maxUnanchoredS)
    throw new NoiseKeysError('NK_UNVERIFIABLE', 'Nothing anchors the key list, and it is too old to stand alone')
}

function verifyDevice(scene: Scene, device: string, text: string | undefined): KeyVerdict {
  // The one name that strict JSON refuses as a key: it could not be remembered.
  if (device === '__proto__')
    return { device, verdict: 'unverifiable', code: 'NK_DEVICE_ID', reason: 'no device may be called so' }
  const entry = scene.list?.list.entries.find((listed) => listed.device === device)
  if (text === undefined) {
    return {
      device,
      verdict: 'unverifiable',
      code: 'NK_UNVERIFIABLE',
      reason: 'the list names it, its record is missing',
      ...keyOf(entry),
    }
  }
  let record: ParsedKeyRecord | undefined
  try {
    record = parseKeyRecord(text)
    verifyKeyRecord(record, { identity: scene.identity.publicKey, deviceId: device })
    assertOfToday(scene, record)
    scene.floors.observeRecord(scene.identity.name, device, record)
    const verdict =
      record.format === 'plain' ? verifyPlain(scene, device, record) : verifyStateful(scene, device, record, entry)
    return { ...verdict, publicKey: canonicalX25519PublicKey(record.publicKey) }
  } catch (error) {
    if (!(error instanceof NoiseKeysError)) throw error
    const known = record === undefined ? {} : { publicKey: record.publicKey }
    return { device, ...known, ...refused(error) }
  }
}

/** Before the floors are raised: a record signed beforehand that leaks early must not outrank the one in force. */
function assertOfToday({ nowS, policy }: Scene, record: ParsedKeyRecord): void {
  const isRevoked = record.format === 'plain' ? record.revoked : record.state === 'revoked'
  if (!isRevoked && (record.timestampS ?? 0) > nowS + policy.maxSkewS)
    throw new NoiseKeysError('NK_FUTURE', 'its record is dated in the future')
}

type DeviceVerdict = Omit<KeyVerdict, 'publicKey'>

function verifyPlain(scene: Scene, device: string, record: ParsedKeyRecord & { format: 'plain' }): DeviceVerdict {
  const { policy, nowS, floors, identity } = scene
  const floor = floors.of(identity.name)
  const key = base64Encode(record.publicKey)
  if (record.revoked || Object.hasOwn(floor.revoked, key))
    throw new NoiseKeysError('NK_REVOKED', 'it is flagged as revoked')
  if (policy.requireSigned) throw new NoiseKeysError('NK_DOWNGRADE', 'plain records are not accepted here')
  if (record.timestampS === undefined) throw new NoiseKeysError('NK_STALE', 'its record has no date')
  // Its date is signed by nobody: the smallest ever seen counts.
  if (nowS - (floor.firstSeen[key] ?? record.timestampS) > policy.maxAgeS)
    throw new NoiseKeysError('NK_STALE', 'its record is too old')
  return { device, verdict: 'legacy', reason: 'a plain record: the key is genuine, nothing proves that it is current' }
}

function verifyStateful(
  scene: Scene,
  device: string,
  record: ParsedKeyRecord & { format: 'stateful' },
  entry: KeyListEntry | undefined,
): DeviceVerdict {
  const { policy, nowS, floors, identity } = scene
  const common = { device, sequence: record.sequence }
  if (record.state === 'revoked')
    return { ...common, verdict: 'revoked', code: 'NK_REVOKED', reason: `revoked by its owner: ${record.reason}` }
  const tombstone = floors.of(identity.name).revoked[base64Encode(record.publicKey)]
  if (tombstone !== undefined) {
    const retired = tombstone.why === 'retired'
    return {
      ...common,
      verdict: retired ? 'retired' : 'revoked',
      code: retired ? 'NK_STALE' : 'NK_REVOKED',
      reason: `no longer valid: ${tombstone.why}`,
    }
  }
  if (record.expiresS < nowS)
    return { ...common, verdict: 'expired', code: 'NK_EXPIRED', reason: 'its record has expired' }
  if (nowS - record.timestampS > policy.maxAgeS) throw new NoiseKeysError('NK_STALE', 'its record is too old')
  assertVouchedFor(scene, device, record, entry)
  if (record.state === 'next')
    return { ...common, verdict: 'next', code: 'NK_NOT_ACTIVE', reason: 'announced, not yet to be used' }
  if (record.state === 'active') return { ...common, verdict: 'ok', reason: 'active', untilS: record.expiresS }
  const untilS = record.retiringUntilS ?? 0
  if (nowS >= untilS) return { ...common, verdict: 'retired', code: 'NK_STALE', reason: 'its overlap is over' }
  return { ...common, verdict: 'retiring', reason: 'being replaced, still answers', untilS }
}

/** The list has to name this very record; a record inside the signed packet is vouched for by that. */
function assertVouchedFor(
  scene: Scene,
  device: string,
  record: ParsedKeyRecord,
  entry: KeyListEntry | undefined,
): void {
  if (scene.listProblem !== undefined) throw scene.listProblem
  if (scene.list === undefined) {
    if (scene.inPacket.get(device) === record.text) return
    throw new NoiseKeysError('NK_UNVERIFIABLE', 'no key list and no packet vouch for it')
  }
  if (entry === undefined) throw new NoiseKeysError('NK_NOT_ACTIVE', 'the key list does not name this device')
  if (!isSameRecord(record.text, entry.record))
    throw new NoiseKeysError('NK_ROLLBACK', 'the key list names another record of this device')
}

function verifyFromCache(
  identity: TransportIdentity,
  floors: KeyFloors,
  nowS: number,
  policy: ReaderPolicy,
): KeyVerdict[] {
  const { validated, revoked } = floors.of(identity.name)
  return Object.entries(validated?.keys ?? {}).map(([device, { k, until }]) => {
    const ageS = nowS - (validated?.atS ?? 0)
    const known = { device, publicKey: base64Decode(k) }
    if (Object.hasOwn(revoked, k)) return { ...known, verdict: 'revoked', code: 'NK_REVOKED', reason: 'it was revoked' }
    if (until !== undefined && nowS >= until)
      return { ...known, verdict: 'expired', code: 'NK_EXPIRED', reason: 'it was valid until then' }
    if (ageS < -policy.maxSkewS || ageS > policy.cacheWindowS + policy.offlineGraceS) {
      return {
        ...known,
        verdict: 'unreachable',
        code: 'NK_UNREACHABLE',
        reason: 'nothing can be reached, and the last check is too long ago',
      }
    }
    return {
      ...known,
      verdict: 'ok',
      reason: 'nothing can be reached; accepted at the last check',
      ...(until === undefined ? {} : { untilS: until }),
    }
  })
}

const VERDICTS: Partial<Record<NoiseKeysErrorCode, Verdict>> = {
  NK_REVOKED: 'revoked',
  NK_ROLLBACK: 'rolled-back',
  NK_DOWNGRADE: 'rolled-back',
  NK_EQUIVOCATION: 'equivocation',
  NK_EXPIRED: 'expired',
  NK_STALE: 'expired',
  NK_UNREACHABLE: 'unreachable',
}

function refused(error: NoiseKeysError): Omit<KeyVerdict, 'device'> {
  const evidence =
    error.code === 'NK_EQUIVOCATION' && error.cause !== undefined
      ? { evidence: error.cause as EquivocationEvidence }
      : {}
  return { verdict: VERDICTS[error.code] ?? 'unverifiable', code: error.code, reason: error.message, ...evidence }
}

function keyOf(entry: KeyListEntry | undefined): { publicKey?: Uint8Array } {
  return entry === undefined ? {} : { publicKey: base64Decode(entry.k) }
}

const ORDER: readonly Verdict[] = [
  'ok',
  'legacy',
  'retiring',
  'next',
  'retired',
  'expired',
  'revoked',
  'rolled-back',
  'equivocation',
  'unverifiable',
  'unreachable',
]

/** Usable first, an active key before a retiring one, the newer of two first. */
function byPreference(a: KeyVerdict, b: KeyVerdict): number {
  const order = ORDER.indexOf(a.verdict) - ORDER.indexOf(b.verdict)
  return order !== 0 ? order : (b.sequence ?? 0) - (a.sequence ?? 0) || (b.untilS ?? 0) - (a.untilS ?? 0)
}
