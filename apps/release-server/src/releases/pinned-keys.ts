import { pinnedKeysRoot, verifyLegacySignature } from '@keyturn/manifest'
import { equalBytes } from '@keyturn/primitives'
import { ServerError } from '../errors.ts'

const MAX_KEYS = 16

/** Checks the public keys that old installs pin: Ed25519, in hex, no key twice. */
export function checkPinnedKeys(keys: readonly string[]): readonly string[] {
  if (keys.length > MAX_KEYS)
    throw new ServerError('SRV_REQUEST', `Cannot use ${keys.length} pinned keys: at most ${MAX_KEYS}`)
  if (keys.length > 0) pinnedKeysRoot(keys.map((key) => ({ key })))
  return keys
}

/** A signature for installs that pin keys, which is to replace another one or to be the first. */
export interface LegacyChange {
  readonly manifest: Uint8Array
  readonly before: Uint8Array | undefined
  readonly after: Uint8Array
  /** Whether the release role signed these bytes just now, for the first time. */
  readonly isNew: boolean
}

/**
 * Checks `manifest.json.sig` before it becomes public. It is what old installs verify with the keys they pin, so a
 * wrong one shuts all of them out. Under a product that names those keys it has to be by one of them; under one that
 * does not, it may come with a new release and is never replaced.
 *
 * @throws ManifestError `MAN_SIGNATURE`, `MAN_SIGNATURE_FORMAT`; ServerError `PUB_LEGACY_KEY`.
 */
export function checkLegacySignature(
  pinnedKeys: readonly string[],
  { manifest, before, after, isNew }: LegacyChange,
): void {
  if (before !== undefined && equalBytes(before, after)) return
  if (pinnedKeys.length > 0) {
    verifyLegacySignature(manifest, after, pinnedKeysRoot(pinnedKeys.map((key) => ({ key }))), 0)
    return
  }
  if (isNew) return
  throw new ServerError(
    'PUB_LEGACY_KEY',
    'Cannot change the signature for installs that pin keys: the product names no key to verify it with',
    { hint: 'Name the public keys once: PATCH /v1/products/<product> {"pinned_keys": ["<hex>"]}' },
  )
}
