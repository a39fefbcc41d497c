import { NoiseKeysError } from '../errors.ts'
import { TOMBSTONE_GRACE_S } from '../key-list.ts'
import type { Tombstone } from '../key-list.ts'
import { keyOfDevice, ownKey } from './metadata.ts'
import type { NewKey, OwnKey, TransportMetadata } from './metadata.ts'
import { MAX_RECORD_LIFE_S } from '../record.ts'
import type { RevocationReason } from '../record.ts'

/** The key in use; `undefined` before the first. */
export function activeKey(metadata: TransportMetadata): OwnKey | undefined {
  return metadata.keys.find(({ state }) => state === 'active')
}

/** The key announced for the next rotation. */
export function nextKey(metadata: TransportMetadata): OwnKey | undefined {
  return metadata.keys.find(({ state }) => state === 'next')
}

/**
 * Adds a key. The first one of an identity is active at once; another is announced as the next.
 *
 * @param activeFromS - When an announced key is to become active; after the policy's pre-publication by default.
 * @throws {@link NoiseKeysError} `NK_DEVICE_ID` when the device id was used before: its records would contradict.
 */
export function addKey(
  metadata: TransportMetadata,
  key: NewKey,
  nowS: number,
  activeFromS?: number,
): TransportMetadata {
  if (metadata.keys.some(({ device }) => device === key.device)) {
    throw new NoiseKeysError(
      'NK_DEVICE_ID',
      `Device id "${key.device}" has a key already: use a new one, ${nextDeviceId(metadata, key.device)} for ` +
        'instance',
    )
  }
  const first = activeKey(metadata) === undefined
  if (!first && nextKey(metadata) !== undefined)
    throw new NoiseKeysError('NK_METADATA', 'There is a next key already: cut over to it, or revoke it')
  const own = ownKey(key, nowS)
  const added: OwnKey = first
    ? { ...own, state: 'active', activeFromS: nowS }
    : { ...own, state: 'next', activeFromS: activeFromS ?? nowS + metadata.policy.prePublishS }
  return { ...metadata, keys: [...metadata.keys, added] }
}

/**
 * Cuts over: the next key becomes active, the active one answers until the overlap ends.
 *
 * @throws {@link NoiseKeysError} `NK_METADATA` when no next key is there.
 */
export function cutOver(
  metadata: TransportMetadata,
  nowS: number,
  reason: RevocationReason = 'superseded',
): TransportMetadata {
  const next = nextKey(metadata)
  if (next === undefined) throw new NoiseKeysError('NK_METADATA', 'There is no next key to cut over to')
  const keys = metadata.keys.map((key): OwnKey => {
    if (key.state === 'active')
      return { ...key, state: 'retiring', retiringUntilS: nowS + metadata.policy.overlapS, reason }
    return key.device === next.device ? { ...key, state: 'active', activeFromS: nowS } : key
  })
  return { ...metadata, keys, lastRotatedS: nowS, rotationCount: metadata.rotationCount + 1 }
}

/** Retires what answered long enough: a tombstone takes its place, and its secret is to be wiped. */
export function retire(metadata: TransportMetadata, nowS: number): { metadata: TransportMetadata; retired: OwnKey[] } {
  const retired = metadata.keys.filter(
    ({ state, retiringUntilS }) => state === 'retiring' && (retiringUntilS ?? 0) <= nowS,
  )
  const keys = metadata.keys.map((key): OwnKey =>
    retired.includes(key) ? { ...key, state: 'retired', reason: 'retired' } : key,
  )
  const tombstones = [...metadata.tombstones, ...retired.map((key) => tombstone(key, 'retired', nowS))]
  return { metadata: { ...metadata, keys, tombstones }, retired }
}

/** Revokes a key at once, from any state. */
export function revoke(
  metadata: TransportMetadata,
  device: string,
  reason: RevocationReason,
  nowS: number,
): TransportMetadata {
  const target = keyOfDevice(metadata, device)
  if (target.state === 'revoked') return metadata
  const keys = metadata.keys.map((key): OwnKey => {
    if (key !== target) return key
    const { retiringUntilS: _over, ...rest } = key
    return { ...rest, state: 'revoked', reason }
  })
  const others = metadata.tombstones.filter(({ k }) => k !== target.publicKey)
  return { ...metadata, keys, tombstones: [...others, tombstone(target, reason, nowS)] }
}

/** Drops tombstones no valid record can contradict any more. */
export function dropOldTombstones(tombstones: readonly Tombstone[], nowS: number): Tombstone[] {
  return tombstones.filter(({ until }) => until > nowS)
}

/** `server` and `server-v1` are followed by `server-v2`. */
export function nextDeviceId(metadata: TransportMetadata, device: string): string {
  const base = device.replace(/-v\d+$/, '')
  const versions = metadata.keys.flatMap((key) =>
    key.device === base ? [1] : key.device.startsWith(`${base}-v`) ? [Number(key.device.slice(base.length + 2))] : [],
  )
  return `${base}-v${Math.max(1, ...versions.filter(Number.isSafeInteger)) + 1}`
}

function tombstone(key: OwnKey, why: RevocationReason, nowS: number): Tombstone {
  // The longest any record of this key may still be valid is not known to outsiders: the longest life there is.
  return { k: key.publicKey, why, at: nowS, until: nowS + MAX_RECORD_LIFE_S + TOMBSTONE_GRACE_S }
}
