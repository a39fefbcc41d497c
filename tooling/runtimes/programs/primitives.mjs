import {
  ed25519PublicKey,
  ed25519Sign,
  ed25519Verify,
  openXChaCha20Poly1305,
  sealXChaCha20Poly1305,
  sha256Hex,
  systemRandom,
} from '@keyturn/primitives'
import { bytes, codeOf, expect, text } from './require.mjs'

export const features = {
  async 'hash and sign'() {
    expect('SHA-256', sha256Hex(bytes('abc')).startsWith('ba7816bf'))
    const seed = systemRandom(32)
    const signature = ed25519Sign(seed, bytes('hello'))
    expect('the signature', ed25519Verify(ed25519PublicKey(seed), bytes('hello'), signature))
    expect('another message', !ed25519Verify(ed25519PublicKey(seed), bytes('hullo'), signature))
  },
  async 'seal and open'() {
    const [key, nonce] = [systemRandom(32), systemRandom(24)]
    const sealed = sealXChaCha20Poly1305(key, nonce, bytes('a note'))
    expect('the note', text(openXChaCha20Poly1305(key, nonce, sealed)) === 'a note')
    sealed[0] ^= 1
    expect('a changed bit', (await codeOf(() => openXChaCha20Poly1305(key, nonce, sealed))) !== 'no error')
  },
}
