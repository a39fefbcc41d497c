import { compareVersions } from '@keyturn/manifest'
import type { ChannelFloor, TrustState } from '@keyturn/manifest'

/** The higher of two floors, for head and manifest apart. */
function higherFloor(stored: ChannelFloor, { headSequence, headSha256, ...manifest }: ChannelFloor): ChannelFloor {
  const isNewHead = headSequence !== undefined && headSequence > (stored.headSequence ?? 0)
  const isNewManifest = (manifest.manifestSequence ?? 0) > (stored.manifestSequence ?? 0)
  return {
    ...stored,
    ...(isNewHead && { headSequence, headSha256 }),
    ...(isNewManifest && manifest),
  }
}

/** A state with every floor at least as high as documents under its identity prove. */
export function raisedBy(state: TrustState, proven: TrustState): TrustState {
  if (proven.roles === undefined) return state
  const isBehind = (proven.establishment?.sn ?? -1) > (state.establishment?.sn ?? -1)
  const hasNewEpoch = (proven.epoch ?? -1) > (state.epoch ?? -1)
  const base = isBehind || state.roles === undefined ? { ...state, ...proven } : state
  // An older epoch proves nothing: the document that raised it is gone, and sequences started over with it.
  if ((proven.epoch ?? -1) < (base.epoch ?? -1))
    return { ...base, clockFloorMs: Math.max(state.clockFloorMs, proven.clockFloorMs) }
  // What a signed manifest says of a content key counts more than a copy of it.
  const keyIds = hasNewEpoch ? proven.keyIds : { ...state.keyIds, ...proven.keyIds }
  const channels = { ...(hasNewEpoch ? {} : state.channels) }
  for (const [name, floor] of Object.entries(proven.channels)) channels[name] = higherFloor(channels[name] ?? {}, floor)
  return { ...base, keyIds, channels, clockFloorMs: Math.max(state.clockFloorMs, proven.clockFloorMs) }
}

/** Under pinned keys versions are the order; where they cannot be compared, the times. */
function isNewer(proven: ChannelFloor, stored: ChannelFloor): boolean {
  if (stored.version === undefined || proven.version === undefined) return proven.version !== undefined
  if ((proven.schema ?? 1) !== (stored.schema ?? 1)) return (proven.schema ?? 1) > (stored.schema ?? 1)
  const byTime = Date.parse(proven.createdAt ?? '') - Date.parse(stored.createdAt ?? '')
  return (compareVersions(proven.version, stored.version) ?? byTime) > 0
}

/** A state with every floor at least as high as a manifest under pinned keys proves. */
export function raisedByPinned(state: TrustState, proven: TrustState): TrustState {
  const channels = { ...state.channels }
  for (const [name, floor] of Object.entries(proven.channels)) {
    const stored = Object.hasOwn(channels, name) ? (channels[name] ?? {}) : {}
    if (isNewer(floor, stored)) channels[name] = { ...stored, ...floor }
  }
  return {
    ...state,
    channels,
    keyIds: { ...proven.keyIds, ...state.keyIds },
    clockFloorMs: Math.max(state.clockFloorMs, proven.clockFloorMs),
  }
}
