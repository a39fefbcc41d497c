import { base64Decode, ed25519Verify, hexDecode, PrimitivesError, utf8Decode } from '@keyturn/primitives'
import { ManifestError } from './errors.ts'
import { limits } from './limits.ts'
import { parseTime } from './time.ts'
import type { PinnedKeysRoot } from './trust-root.ts'

/**
 * Reads `manifest.json.sig`: 64 raw bytes as the original writes it, or hex or base64 with or without a line feed.
 *
 * @throws {@link ManifestError} `MAN_SIGNATURE_FORMAT`.
 */
export function parseLegacySignature(bytes: Uint8Array): Uint8Array {
  if (bytes.length === 64) return bytes
  if (bytes.length <= limits.legacySignatureBytes) {
    try {
      const text = utf8Decode(bytes).replace(/\n$/, '')
      const signature = text.length === 128 ? hexDecode(text) : base64Decode(text)
      if (signature.length === 64) return signature
    } catch (error) {
      if (!(error instanceof PrimitivesError)) throw error
    }
  }
  throw new ManifestError(
    'MAN_SIGNATURE_FORMAT',
    `Cannot read signature: ${bytes.length} bytes are neither 64 raw ones, hex nor base64`,
  )
}

/**
 * Verifies the original's detached signature over the literal bytes of a manifest. It counts under pinned keys only.
 *
 * @param nowMs - Keys whose `until` is not after it count for nothing.
 * @returns The key that signed.
 * @throws {@link ManifestError} `MAN_SIGNATURE_FORMAT`, `MAN_KEY_RETIRED`, `MAN_SIGNATURE`.
 */
export function verifyLegacySignature(
  manifest: Uint8Array,
  signatureFile: Uint8Array,
  root: PinnedKeysRoot,
  nowMs: number,
): string {
  const signature = parseLegacySignature(signatureFile)
  // A bare signature carries no type: only what starts like JSON can have been meant as a manifest.
  if (manifest[0] === 0x7b) {
    const signer = root.keys.find(({ key }) => ed25519Verify(hexDecode(key), manifest, signature))
    if (signer?.until !== undefined && (parseTime(signer.until) as number) <= nowMs) {
      throw new ManifestError(
        'MAN_KEY_RETIRED',
        `Cannot trust manifest: the time of key ${signer.key} ended at ${signer.until}`,
      )
    }
    if (signer !== undefined) return signer.key
  }
  throw new ManifestError('MAN_SIGNATURE', 'Cannot trust manifest: no pinned key signed these bytes')
}
