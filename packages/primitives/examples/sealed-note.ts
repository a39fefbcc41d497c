import {
  ed25519PublicKey,
  ed25519Sign,
  ed25519Verify,
  dssePae,
  hexEncode,
  openXChaCha20Poly1305,
  PrimitivesError,
  sealXChaCha20Poly1305,
  systemRandom,
  utf8Decode,
  utf8Encode,
  wipe,
} from '@keyturn/primitives'

const key = systemRandom(32)
const nonce = systemRandom(24)
const seed = systemRandom(32)
try {
  // Seal a note, then sign the ciphertext under a type of its own, so that it can pass for nothing else.
  const sealed = sealXChaCha20Poly1305(key, nonce, utf8Encode('the cellar key is under the third stone'))
  const signed = dssePae('application/vnd.example.note', sealed)
  const signature = ed25519Sign(seed, signed)

  console.log('signature holds:', ed25519Verify(ed25519PublicKey(seed), signed, signature))
  console.log('note:', utf8Decode(openXChaCha20Poly1305(key, nonce, sealed)))

  // One changed bit: one clear code, whatever the cause.
  sealed[0] = (sealed[0] ?? 0) ^ 1
  try {
    openXChaCha20Poly1305(key, nonce, sealed)
  } catch (error) {
    if (error instanceof PrimitivesError)
      console.log('refused:', error.code, hexEncode(sealed.subarray(0, 4)).length, 'characters of hex shown')
  }
} finally {
  wipe(key, seed)
}
