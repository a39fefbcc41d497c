import { base64Decode, base64Encode, parseStrictJson, utf8Encode } from '@keyturn/primitives'
import type { Generation } from './derive.ts'
import { assertDeviceId } from '../device-id.ts'
import { NoiseKeysError } from '../errors.ts'
import { parseIdentityName } from '../identity.ts'
import type { Tombstone } from '../key-list.ts'
import { rotationPolicy } from './policy.ts'
import type { RotationPolicy } from './policy.ts'
import type { RevocationReason } from '../record.ts'

/** The four fields of the guide's metadata, spelled as there. */
export interface GuideKeyMetadata {
  readonly created_at: number
  readonly published_at: number
  readonly last_rotated: number | null
  readonly rotation_count: number
}

/** State of a key as its owner keeps it; readers see four of these. */
export type OwnKeyState = 'planned' | 'next' | 'active' | 'retiring' | 'retired' | 'revoked'

/** One key of an identity. Public parts only: where the secret is, or how it is derived, but not the secret. */
export interface OwnKey {
  readonly device: string
  /** X25519 public key, padded base64. */
  readonly publicKey: string
  readonly state: OwnKeyState
  readonly generation: Generation
  /** What it was derived with; by default the device id. */
  readonly context?: string
  readonly epoch?: number
  readonly createdAtS: number
  readonly publishedAtS?: number
  /** From when it is, or is planned to be, active. */
  readonly activeFromS?: number
  readonly retiringUntilS?: number
  readonly reason?: RevocationReason
  /** Sequence of the record published last; 0 before the first. */
  readonly sequence: number
  /** Text of the record published last. */
  readonly record?: string
}

/** Everything an owner keeps about the transport keys of an identity. */
export interface TransportMetadata {
  readonly version: 2
  /** Name of the identity. */
  readonly identity: string
  readonly keys: readonly OwnKey[]
  readonly tombstones: readonly Tombstone[]
  readonly lastRotatedS: number | null
  readonly rotationCount: number
  readonly policy: RotationPolicy
  /** The list published last. */
  readonly list?: { readonly seq: number; readonly sha256: string }
  /** Timestamp of the packet published last, microseconds, decimal. */
  readonly packetUs?: string
}

/** What a new key is. */
export interface NewKey {
  readonly device: string
  readonly publicKey: Uint8Array
  readonly generation: Generation
  readonly context?: string
  readonly epoch?: number
}

/** Metadata of an identity without keys. */
export function emptyMetadata(identity: string, policy: Partial<RotationPolicy> = {}): TransportMetadata {
  return {
    version: 2,
    identity: parseIdentityName(identity).name,
    keys: [],
    tombstones: [],
    lastRotatedS: null,
    rotationCount: 0,
    policy: rotationPolicy(policy),
  }
}

/** The file {@link parseMetadata} reads. Holds no secret. */
export function formatMetadata(metadata: TransportMetadata): Uint8Array {
  return utf8Encode(`${JSON.stringify(metadata, null, 2)}\n`)
}

/** @throws {@link NoiseKeysError} `NK_METADATA`. */
export function parseMetadata(bytes: Uint8Array): TransportMetadata {
  try {
    const value = parseStrictJson(bytes, { maxBytes: 1 << 20, numbers: 'any' }) as unknown as TransportMetadata
    if (value.version !== 2) throw new RangeError('version is not 2')
    const keys = value.keys.map((key) => checkedKey({ ...key }))
    if (new Set(keys.map(({ device }) => device)).size !== keys.length) throw new RangeError('a device is there twice')
    return {
      ...value,
      identity: parseIdentityName(value.identity).name,
      keys,
      tombstones: [...value.tombstones],
      policy: rotationPolicy(value.policy),
    }
  } catch (cause) {
    throw new NoiseKeysError('NK_METADATA', 'Cannot read transport key metadata: the file is damaged', { cause })
  }
}

/**
 * Takes over an installation that follows the guide: its metadata has four fields and knows neither device nor key.
 *
 * @param guide - The file's bytes.
 * @param key - What the file leaves out.
 * @throws {@link NoiseKeysError} `NK_METADATA`.
 */
export function importGuideMetadata(
  identity: string,
  guide: Uint8Array,
  key: NewKey,
  policy: Partial<RotationPolicy> = {},
): TransportMetadata {
  let fields: GuideKeyMetadata
  try {
    fields = parseStrictJson(guide, { maxBytes: 65_536 }) as unknown as GuideKeyMetadata
    const numbers = [fields.created_at, fields.published_at, fields.rotation_count, fields.last_rotated ?? 0]
    if (!numbers.every((value) => Number.isSafeInteger(value) && value >= 0)) throw new RangeError('a field is missing')
  } catch (cause) {
    throw new NoiseKeysError(
      'NK_METADATA',
      "Cannot read the guide's metadata: created_at, published_at, last_rotated, rotation_count",
      { cause },
    )
  }
  const createdAtS = fields.created_at
  const own: OwnKey = {
    ...ownKey(key, createdAtS),
    state: 'active',
    activeFromS: fields.last_rotated ?? createdAtS,
    publishedAtS: fields.published_at,
  }
  return {
    ...emptyMetadata(identity, policy),
    keys: [own],
    lastRotatedS: fields.last_rotated ?? null,
    rotationCount: fields.rotation_count,
  }
}

/** The guide's four fields of a key, for tools that read those. */
export function guideMetadata(metadata: TransportMetadata, device: string): GuideKeyMetadata {
  const key = keyOfDevice(metadata, device)
  return {
    created_at: key.createdAtS,
    published_at: key.publishedAtS ?? key.createdAtS,
    last_rotated: metadata.lastRotatedS,
    rotation_count: metadata.rotationCount,
  }
}

/** A key before anything was published. */
export function ownKey(key: NewKey, nowS: number): OwnKey {
  assertDeviceId(key.device)
  return {
    device: key.device,
    publicKey: base64Encode(key.publicKey),
    state: 'planned',
    generation: key.generation,
    createdAtS: nowS,
    sequence: 0,
    ...(key.context === undefined ? {} : { context: key.context }),
    ...(key.epoch === undefined ? {} : { epoch: key.epoch }),
  }
}

/** @throws {@link NoiseKeysError} `NK_DEVICE_ID` when there is no such device. */
export function keyOfDevice(metadata: TransportMetadata, device: string): OwnKey {
  const key = metadata.keys.find((candidate) => candidate.device === device)
  if (key === undefined) throw new NoiseKeysError('NK_DEVICE_ID', `There is no key of device "${device}"`)
  return key
}

const STATES: readonly OwnKeyState[] = ['planned', 'next', 'active', 'retiring', 'retired', 'revoked']

function checkedKey(key: OwnKey): OwnKey {
  assertDeviceId(key.device)
  if (base64Decode(key.publicKey).length !== 32 || !STATES.includes(key.state)) throw new RangeError('a key is wrong')
  const times = [key.createdAtS, key.sequence, key.publishedAtS ?? 0, key.activeFromS ?? 0, key.retiringUntilS ?? 0]
  if (!times.every((value) => Number.isSafeInteger(value) && value >= 0)) throw new RangeError('a time is wrong')
  return key
}
