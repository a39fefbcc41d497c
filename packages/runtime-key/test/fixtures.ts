import { ed25519PublicKey, sha256, utf8Encode } from '@keyturn/primitives'
import { RuntimeKey } from '../src/index.ts'

export { codeOf, rejectionOf } from '../../../tooling/vitest/codes.ts'

/** A verifier that is a real one. */
export const verifier = ed25519PublicKey(sha256(utf8Encode('verifier')))

/** Fresh key bytes for every call: the holder wipes what it is given. */
export function keyBytes(label = 'content key'): Uint8Array {
  return sha256(utf8Encode(label))
}

/** A fresh holder. */
export function makeKey(keyId = 4, label?: string): RuntimeKey {
  return RuntimeKey.take({ keyId, masterKey: keyBytes(label), signPublicKey: verifier })
}
