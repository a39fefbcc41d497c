import { PrimitivesError, hkdfSha256, openAes256Gcm, wipe } from '@keyturn/primitives'
import { VaultError } from './errors.ts'
import { lengthPrefixed, utf8 } from './length-prefixed.ts'
import { KEY_BYTES } from './limits.ts'
import { layerTags } from './place.ts'
import type { Layer, LayerContext } from './place.ts'

/**
 * The three generations of HexVault's unversioned bytes, by the crate that first wrote each. Their derivations and AAD
 * differ and no byte tells them apart: docs/spec/vault-kdf.md §6.
 */
export type LegacyProfile = 'hv-1.0' | 'hv-1.1.0' | 'hv-1.1.2'

/** The profiles, newest first: the order in which they are tried. */
export const legacyProfiles: readonly LegacyProfile[] = ['hv-1.1.2', 'hv-1.1.0', 'hv-1.0']

/** Whether a value names a profile. */
export function isLegacyProfile(value: unknown): value is LegacyProfile {
  return value === 'hv-1.0' || value === 'hv-1.1.0' || value === 'hv-1.1.2'
}

/** Before each sealed layer. */
export const NONCE_BYTES = 12
const TAG_BYTES = 16
const LAYER_BYTES = NONCE_BYTES + TAG_BYTES
const noSalt = new Uint8Array(0)

/** Where a legacy blob lies; its name is not part of its keys. */
export interface LegacyPlace {
  readonly partition: string
  readonly cell: string
  readonly layer: Layer
  readonly context: LayerContext
}

/** The partition key of a profile: the master itself in `hv-1.0`. A fresh copy; the caller wipes it. */
export function deriveLegacyPartitionKey(profile: LegacyProfile, master: Uint8Array, partition: string): Uint8Array {
  switch (profile) {
    case 'hv-1.0':
      return new Uint8Array(master)
    case 'hv-1.1.0':
      return hkdfSha256(master, noSalt, utf8(`partition:${partition}`), KEY_BYTES)
    case 'hv-1.1.2':
      return hkdfSha256(master, noSalt, lengthPrefixed('partition', partition), KEY_BYTES)
  }
}

/** What the key of a layer is derived for. */
export interface LegacyInfo {
  readonly cell: string
  readonly tag: string
  readonly context: string
}

/** The key of one layer of one cell; the caller wipes it. */
export function deriveLegacyLayerKey(
  profile: LegacyProfile,
  partitionKey: Uint8Array,
  { cell, tag, context }: LegacyInfo,
): Uint8Array {
  // Colons between the parts read two ways (`a:b` + `c`, `a` + `b:c`): the flaw that hv-1.1.2 fixed.
  const info = profile === 'hv-1.1.2' ? lengthPrefixed(cell, tag, context) : utf8(`${cell}:${tag}:${context}`)
  return hkdfSha256(partitionKey, noSalt, info, KEY_BYTES)
}

/** What a layer is bound to besides its key: nothing before 1.1.2. */
export function additionalData(profile: LegacyProfile, cell: string, tag: string): Uint8Array {
  return profile === 'hv-1.1.2' ? utf8(`hexvault:${cell}:${tag}`) : noSalt
}

/** Contexts by layer; HexVault takes an absent id for an error and, before 1.1.2, an empty one for a value. */
export function legacyContexts(
  profile: LegacyProfile,
  { layer, context, cell, partition }: LegacyPlace,
): string[] | undefined {
  const contexts = ['', context.policy, context.session].slice(0, layer + 1)
  if (!contexts.every((value) => value !== undefined)) return undefined
  const emptyId = profile === 'hv-1.1.2' && (cell === '' || partition === '' || contexts.slice(1).includes(''))
  return emptyId ? undefined : contexts
}

function peelLayer(key: Uint8Array, bytes: Uint8Array, aad: Uint8Array): Uint8Array | undefined {
  if (bytes.length < LAYER_BYTES) return undefined
  try {
    return openAes256Gcm(key, bytes.subarray(0, NONCE_BYTES), bytes.subarray(NONCE_BYTES), { aad })
  } catch (error) {
    if (error instanceof PrimitivesError && error.code === 'PRIM_DECRYPT') return undefined
    throw error
  }
}

/** What a try at a legacy blob gave: `outer` failed means another profile or master may be right. */
export type LegacyAttempt = { readonly plaintext: Uint8Array } | { readonly failure: 'outer' | 'inner' }

/** Tries one profile and master; never throws for bad bytes. */
export function tryOpenLegacy(
  profile: LegacyProfile,
  master: Uint8Array,
  place: LegacyPlace,
  blob: Uint8Array,
): LegacyAttempt {
  const contexts = legacyContexts(profile, place)
  if (contexts === undefined) return { failure: 'outer' }
  const partitionKey = deriveLegacyPartitionKey(profile, master, place.partition)
  try {
    let bytes: Uint8Array | undefined = blob
    for (let index: number = place.layer; index >= 0; index--) {
      const tag = layerTags[index] ?? ''
      const key = deriveLegacyLayerKey(profile, partitionKey, { cell: place.cell, tag, context: contexts[index] ?? '' })
      bytes = peelLayer(key, bytes, additionalData(profile, place.cell, tag))
      wipe(key)
      if (bytes === undefined) return { failure: index === place.layer ? 'outer' : 'inner' }
    }
    return { plaintext: bytes }
  } finally {
    wipe(partitionKey)
  }
}

/**
 * Opens bytes that HexVault wrote, under one named profile.
 *
 * @param master - The 32-byte master of that deployment; neither kept nor modified.
 * @returns The plaintext; the caller wipes it.
 * @throws VaultError `VK_AUTH`.
 * @example `const text = openLegacy('hv-1.1.2', master, { partition: 'p1', cell: 'cell-a', layer: 0, context: {} },
 *   blob)`
 */
export function openLegacy(
  profile: LegacyProfile,
  master: Uint8Array,
  place: LegacyPlace,
  blob: Uint8Array,
): Uint8Array {
  const attempt = tryOpenLegacy(profile, master, place, blob)
  if ('plaintext' in attempt) return attempt.plaintext
  throw new VaultError(
    'VK_AUTH',
    `Cannot open legacy record: the bytes do not belong to this master, profile and place`,
  )
}
