import { describe, expect, it } from 'vitest'
import { ed25519PublicKey, ed25519Sign, hexEncode, utf8Encode } from '@keyturn/primitives'
import {
  payloadDigest,
  PUBKY_PROLOGUE,
  signNnAttestation,
  verifyIdentityPayload,
  verifyNnAttestation,
  writeIdentityPayload,
} from '../src/noise/index.ts'
import type { PayloadBinding, PayloadRole } from '../src/noise/index.ts'
import { kdfVectors } from './kdf-vectors.ts'
import { codeOf, hex } from './support.ts'

const nowS = 1_733_357_000

function bindingOf(vector: (typeof kdfVectors.identity_payload)[number]): PayloadBinding {
  const role = (vector.role[0]?.toUpperCase() + vector.role.slice(1)) as PayloadRole
  return {
    identity: ed25519PublicKey(hex(vector.ed25519_sk)),
    role,
    senderStatic: hex(vector.local_x25519),
    pattern: (vector.pattern_tag ?? 'IK') as 'IK',
    prologue: vector.prologue_hex === undefined ? PUBKY_PROLOGUE : hex(vector.prologue_hex),
    ...(vector.remote_x25519 === null ? {} : { receiverStatic: hex(vector.remote_x25519) }),
  }
}

describe('identity payloads of deployed peers', () => {
  it('7 vectors in three forms: digest, signature, and a verdict from the JSON', () => {
    for (const vector of kdfVectors.identity_payload) {
      const binding = bindingOf(vector)
      const scheme = vector.scheme.includes('BLAKE3')
        ? 'blake3'
        : vector.scheme.includes('v2')
          ? 'blake2s-v2'
          : 'blake2s-v1'
      const [hint, expiresAtS] = [vector.server_hint ?? undefined, vector.expires_at ?? undefined]
      const extra = { ...(hint === undefined ? {} : { hint }), ...(expiresAtS === undefined ? {} : { expiresAtS }) }
      const digest = payloadDigest(scheme, binding, extra)
      expect([vector.name, hexEncode(digest)]).toEqual([vector.name, vector.digest])
      expect(hexEncode(ed25519Sign(hex(vector.ed25519_sk), digest))).toBe(vector.sig)
      const older = {
        noise_x25519_pub: [...binding.senderStatic],
        server_hint: extra.hint ?? null,
        ...(expiresAtS === undefined ? {} : { expires_at: expiresAtS }),
      }
      const json =
        vector.json ??
        JSON.stringify({ ed25519_pub: [...binding.identity], role: binding.role, ...older, sig: [...hex(vector.sig)] })
      expect(verifyIdentityPayload(utf8Encode(json), binding, nowS)).toMatchObject({
        scheme,
        identity: binding.identity,
      })
      if (scheme === 'blake3')
        expect(new TextDecoder().decode(writeIdentityPayload(hex(vector.ed25519_sk), binding))).toBe(vector.json)
    }
    expect(kdfVectors.identity_payload).toHaveLength(7)
  })

  it('refuses another static key, role, identity, shape, and a hint that has expired', () => {
    const [vector] = kdfVectors.identity_payload
    if (vector === undefined) throw new Error('no vector')
    const binding = bindingOf(vector)
    const seed = hex(vector.ed25519_sk)
    const payload = writeIdentityPayload(seed, binding, { text: 'relay', expiresAtS: nowS })
    expect(verifyIdentityPayload(payload, binding, nowS).hint).toBe('relay')
    expect(codeOf(() => verifyIdentityPayload(payload, binding, nowS + 1))).toBe('NK_STALE')
    expect(codeOf(() => verifyIdentityPayload(payload, { ...binding, role: 'Server' }, nowS))).toBe('NK_HANDSHAKE')
    expect(codeOf(() => verifyIdentityPayload(payload, { ...binding, senderStatic: new Uint8Array(32) }, nowS))).toBe(
      'NK_BINDING_SIGNATURE',
    )
    expect(codeOf(() => verifyIdentityPayload(payload, { ...binding, receiverStatic: undefined }, nowS))).toBe(
      'NK_BINDING_SIGNATURE',
    )
    const text = new TextDecoder().decode(payload)
    for (const bad of [
      '',
      '[]',
      '{}',
      text.replace('"sig":[', '"sig":[1,'),
      text.replace('"role":"Client"', '"role":7'),
      text.replace('"relay"', `"${'x'.repeat(257)}"`),
      text.slice(0, -1),
    ]) {
      expect(codeOf(() => verifyIdentityPayload(utf8Encode(bad), binding, nowS))).toBe('NK_HANDSHAKE')
    }
    expect(
      codeOf(() =>
        verifyIdentityPayload(
          utf8Encode(text.replace('{', `{"noise_x25519_pub":[${Array.from({ length: 32 }, () => 1).join()}],`)),
          binding,
          nowS,
        ),
      ),
    ).toBe('NK_HANDSHAKE')
  })

  it('NN attestation: one vector, and no other channel', () => {
    for (const { ed25519_sk: seed, local_ephemeral: own, remote_ephemeral: other, sig } of kdfVectors.nn_attestation) {
      expect(hexEncode(signNnAttestation(hex(seed), hex(own), hex(other)))).toBe(sig)
      const identity = ed25519PublicKey(hex(seed))
      verifyNnAttestation(identity, hex(own), hex(other), hex(sig))
      expect(codeOf(() => verifyNnAttestation(identity, hex(other), hex(own), hex(sig)))).toBe('NK_BINDING_SIGNATURE')
    }
    expect(kdfVectors.nn_attestation).toHaveLength(1)
  })
})
