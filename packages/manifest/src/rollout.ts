import { hexDecode, sha256, utf8Encode, concatBytes } from '@keyturn/primitives'
import type { Rollout } from './model.ts'

/**
 * Whether an install is inside a rollout. The place of an install depends on salt and install id alone, so raising
 * the percentage lets more in and never drops anyone, and no server has to know who is who.
 *
 * @param installId - Made at random by the install, never sent anywhere.
 */
export function isInRollout(rollout: Rollout, installId: string): boolean {
  if (rollout.paused) return false
  const digest = sha256(concatBytes(hexDecode(rollout.salt), utf8Encode(installId)))
  const place = new DataView(digest.buffer, digest.byteOffset, 4).getUint32(0)
  return place / 2 ** 32 < rollout.percent / 100
}
