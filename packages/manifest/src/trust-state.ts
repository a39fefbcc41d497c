import { parseDocument, isName } from './fields.ts'
import type { DocumentKind, Fields } from './fields.ts'
import { limits } from './limits.ts'
import { formatTime, parseTime } from './time.ts'
import { formatTrustRoot, parseTrustRoot } from './trust-root.ts'
import type { PinnedKeysRoot, TrustRoot } from './trust-root.ts'
import { documentBytes } from './write-manifest.ts'

/** A place in a key event log. */
export interface LogPlace {
  /** Sequence number. */
  readonly sn: number
  /** SAID of the event. */
  readonly said: string
}

/** What was accepted on one channel: the floor under everything that comes. */
export interface ChannelFloor {
  /** Sequence of the last head. */
  readonly headSequence?: number
  /** SHA-256 of its payload. */
  readonly headSha256?: string
  /** Sequence of the last manifest. */
  readonly manifestSequence?: number
  /** SHA-256 of its literal bytes. */
  readonly manifestSha256?: string
  /** Its version: the floor under pinned keys, where there may be no sequence. */
  readonly version?: string
  /** Its `created_at`, for versions that cannot be compared. */
  readonly createdAt?: string
  /** Its schema: never lower again. */
  readonly schema?: 1 | 2
  /** The proof that the last manifest is in a public log, when there was one. */
  readonly witnessed?: Witnessed
  /** Set while releases without a proof are installed. */
  readonly unwitnessed?: Unwitnessed
}

/** A proof that was accepted: the release is in a log that a quorum of witnesses has signed. */
export interface Witnessed {
  /** SHA-256 of the literal manifest. */
  readonly sha256: string
  /** Role document whose policy it was held to. */
  readonly rolesVersion: number
  /** Place in the log. */
  readonly index: number
  /** Entries of the log. */
  readonly size: number
  /** Name of the log. */
  readonly origin: string
  /** How many witnesses of the policy have signed. */
  readonly signed: number
  /** How many witnesses the policy names. */
  readonly of: number
}

/** Releases without a proof are installed for a while. */
export interface Unwitnessed {
  /** Since when, RFC 3339. */
  readonly since: string
  /** When it ends; after that, only what is installed can be played. */
  readonly until: string
}

/** Two valid documents at one place, kept until a rotation or a raised epoch above it. */
export interface Fork {
  /** What forked. */
  readonly kind: 'log' | 'head' | 'manifest'
  /** Channel of a head or manifest. */
  readonly channel?: string
  /** Sequence number of the last establishment event when it was seen; above it, it is settled. */
  readonly sn: number
  /** Epoch when it was seen; above it, it is settled. */
  readonly epoch?: number
  /** SAIDs or SHA-256 of the two. */
  readonly evidence: readonly [string, string]
}

/** Fingerprint of a content key as first seen. */
export interface SeenContentKey {
  /** 64 lower-case hex. */
  readonly verifierPub: string
  /** 64 lower-case hex. */
  readonly commitment: string
}

/**
 * All that trust remembers between cycles. Everything but the root is rebuilt from the stored signed documents at
 * each start, so a tampered copy gains nothing.
 */
export interface TrustState {
  /** The pin. */
  readonly root: TrustRoot
  /** Pinned keys that this install trusted before it moved to its identity; what they signed may still be started. */
  readonly movedFrom?: PinnedKeysRoot
  /** Last event of the accepted log. */
  readonly log?: LogPlace
  /** Last establishment event of the accepted log: what no rotation may replace. */
  readonly establishment?: LogPlace
  /** Role document in force. */
  readonly roles?: { readonly version: number; readonly sha256: string }
  /** Its epoch. */
  readonly epoch?: number
  /** Newest signed `issued_at` seen, milliseconds since 1970; time never runs below it. */
  readonly clockFloorMs: number
  /** Content keys by `key_id`. */
  readonly keyIds: Readonly<Record<string, SeenContentKey>>
  /** Floors by channel. */
  readonly channels: Readonly<Record<string, ChannelFloor>>
  /** Set while `forked`. */
  readonly fork?: Fork
}

/** What is known of a release and the log: a proof with a quorum, or since when there is none. */
export type LogFinding =
  | { readonly witnessed: Witnessed; readonly unwitnessed?: undefined }
  | { readonly witnessed?: undefined; readonly unwitnessed: Unwitnessed }

/** The floor of a channel; empty before anything was accepted on it. */
export function floorOf(state: TrustState, channel: string): ChannelFloor {
  return Object.hasOwn(state.channels, channel) ? (state.channels[channel] as ChannelFloor) : {}
}

/** The state of an install that has accepted nothing yet. */
export function initialTrustState(root: TrustRoot): TrustState {
  return { root, clockFloorMs: 0, keyIds: {}, channels: {} }
}

const KIND: DocumentKind = { name: 'trust state', schemaCode: 'TRUST_STATE', jsonCode: 'TRUST_STATE' }
const MAX = Number.MAX_SAFE_INTEGER

function forkMembers({ kind, channel, sn, epoch, evidence }: Fork): object {
  return { kind, channel, sn, epoch, evidence }
}

/** Writes `trust.json`. */
export function writeTrustState(state: TrustState): Uint8Array<ArrayBuffer> {
  const members = {
    root: formatTrustRoot(state.root),
    moved_from: state.movedFrom && formatTrustRoot(state.movedFrom),
    log: state.log,
    establishment: state.establishment,
    roles: state.roles,
    epoch: state.epoch,
    clock_floor: state.clockFloorMs === 0 ? undefined : formatTime(state.clockFloorMs),
    key_ids: Object.fromEntries(
      Object.entries(state.keyIds).map(([id, { verifierPub, commitment }]) => [
        id,
        { verifier_pub: verifierPub, commitment },
      ]),
    ),
    channels: Object.fromEntries(
      Object.entries(state.channels).map(([name, floor]) => [
        name,
        {
          head_sequence: floor.headSequence,
          head_sha256: floor.headSha256,
          manifest_sequence: floor.manifestSequence,
          manifest_sha256: floor.manifestSha256,
          version: floor.version,
          created_at: floor.createdAt,
          schema: floor.schema,
          witnessed: floor.witnessed && {
            sha256: floor.witnessed.sha256,
            roles_version: floor.witnessed.rolesVersion,
            index: floor.witnessed.index,
            size: floor.witnessed.size,
            origin: floor.witnessed.origin,
            signed: floor.witnessed.signed,
            of: floor.witnessed.of,
          },
          unwitnessed: floor.unwitnessed,
        },
      ]),
    ),
    fork: state.fork && forkMembers(state.fork),
  }
  return documentBytes(members)
}

function readPlace(fields: Fields): LogPlace {
  return { sn: fields.integer('sn', 0, MAX), said: fields.text('said', 44) }
}

function readWitnessed(fields: Fields): Witnessed {
  return {
    sha256: fields.digest('sha256'),
    rolesVersion: fields.integer('roles_version', 1, MAX),
    index: fields.integer('index', 0, MAX),
    size: fields.integer('size', 1, MAX),
    origin: fields.text('origin'),
    signed: fields.integer('signed', 0, MAX),
    of: fields.integer('of', 0, MAX),
  }
}

function readUnwitnessed(fields: Fields): Unwitnessed {
  return { since: fields.time('since'), until: fields.time('until') }
}

function readFloor(fields: Fields): ChannelFloor {
  const floor = {
    headSequence: fields.optionalInteger('head_sequence', 1, MAX),
    headSha256: fields.optionalDigest('head_sha256'),
    manifestSequence: fields.optionalInteger('manifest_sequence', 1, MAX),
    manifestSha256: fields.optionalDigest('manifest_sha256'),
    version: fields.optionalText('version', 128),
    createdAt: fields.optionalText('created_at', 40),
    schema: fields.optionalInteger('schema', 1, 2),
    witnessed: fields.has('witnessed') ? readWitnessed(fields.object('witnessed')) : undefined,
    unwitnessed: fields.has('unwitnessed') ? readUnwitnessed(fields.object('unwitnessed')) : undefined,
  }
  return Object.fromEntries(Object.entries(floor).filter(([, value]) => value !== undefined)) as ChannelFloor
}

function readPinnedKeys(fields: Fields): PinnedKeysRoot {
  const root = parseTrustRoot(fields.text('moved_from', 4096))
  if (root.kind !== 'pinned-keys') fields.fail('moved_from', 'is not a list of pinned keys')
  return root
}

function readFork(fields: Fields): Fork {
  const kind = fields.text('kind', 16)
  if (kind !== 'log' && kind !== 'head' && kind !== 'manifest') fields.fail('kind', 'is none of log, head and manifest')
  const evidence = fields.texts('evidence', { min: 2, max: 2 }, (text) => text.length <= 64, 'is not a digest') as [
    string,
    string,
  ]
  const channel = fields.optionalName('channel')
  const epoch = fields.optionalInteger('epoch', 0, MAX)
  return {
    kind,
    sn: fields.integer('sn', 0, MAX),
    evidence,
    ...(channel !== undefined && { channel }),
    ...(epoch !== undefined && { epoch }),
  }
}

function members<Value>(
  fields: Fields,
  accept: (name: string) => boolean,
  read: (item: Fields) => Value,
): Record<string, Value> {
  const found: Record<string, Value> = {}
  for (const name of fields.names()) {
    if (!accept(name)) fields.fail(name, 'is not a name that is allowed here')
    found[name] = read(fields.object(name))
  }
  return found
}

/**
 * Reads `trust.json`.
 *
 * @throws {@link ManifestError} `TRUST_STATE`, `TRUST_INVALID` for the root, `MAN_LIMIT`.
 */
export function parseTrustState(bytes: Uint8Array): TrustState {
  const fields = parseDocument(bytes, KIND, limits.manifestBytes)
  const floor = fields.optionalTime('clock_floor')
  const roles = fields.optionalObject('roles')
  const epoch = fields.optionalInteger('epoch', 0, MAX)
  return {
    root: parseTrustRoot(fields.text('root', 4096)),
    ...(fields.has('moved_from') && { movedFrom: readPinnedKeys(fields) }),
    ...(fields.has('log') && { log: readPlace(fields.object('log')) }),
    ...(fields.has('establishment') && { establishment: readPlace(fields.object('establishment')) }),
    ...(roles && { roles: { version: roles.integer('version', 1, MAX), sha256: roles.digest('sha256') } }),
    ...(epoch !== undefined && { epoch }),
    clockFloorMs: floor === undefined ? 0 : (parseTime(floor) as number),
    keyIds: members(
      fields.object('key_ids'),
      (name) => /^[1-9][0-9]{0,9}$/.test(name),
      (item) => ({
        verifierPub: item.digest('verifier_pub'),
        commitment: item.digest('commitment'),
      }),
    ),
    channels: members(fields.object('channels'), isName, readFloor),
    ...(fields.has('fork') && { fork: readFork(fields.object('fork')) }),
  }
}
