import { hexEncode } from '@keyturn/primitives'
import { describe, expect, it } from 'vitest'
import { assertKeyIdMatches, assertListed, keyCommitment, RuntimeKey } from '../src/index.ts'
import type { ContentKeyEntry } from '../src/index.ts'
import { codeOf, keyBytes, makeKey, verifier } from './fixtures.ts'

const entry: ContentKeyEntry = {
  keyId: 4,
  verifierPub: hexEncode(verifier),
  commitment: hexEncode(keyCommitment(makeKey())),
  status: 'active',
}

describe('assertKeyIdMatches()', () => {
  it('refuses a key for other archives (row 96)', () => {
    expect(codeOf(() => assertKeyIdMatches(makeKey(4), 5))).toBe('RK_KEY_ID_MISMATCH')
    expect(codeOf(() => assertKeyIdMatches(makeKey(4), 4))).toBeUndefined()
  })
})

describe('assertListed()', () => {
  it('accepts exactly the key the manifest lists, active or retired', () => {
    const other = { ...entry, keyId: 3, commitment: '00'.repeat(32) }
    expect(codeOf(() => assertListed(makeKey(), [other, entry]))).toBeUndefined()
    expect(codeOf(() => assertListed(makeKey(), [{ ...entry, status: 'retired' }]))).toBeUndefined()
  })

  it('refuses a key_id that is not listed (row 96)', () => {
    expect(codeOf(() => assertListed(makeKey(5), [entry]))).toBe('RK_KEY_ID_MISMATCH')
    expect(codeOf(() => assertListed(makeKey(), []))).toBe('RK_KEY_ID_MISMATCH')
  })

  it('refuses another key, another verifier, a missing verifier and a double entry (row 97)', () => {
    const withoutVerifier = RuntimeKey.take({ keyId: 4, masterKey: keyBytes() })
    const otherVerifier = { ...entry, verifierPub: hexEncode(keyBytes('x')) }
    expect(codeOf(() => assertListed(makeKey(4, 'another'), [entry]))).toBe('RK_KEY_MISMATCH')
    expect(codeOf(() => assertListed(makeKey(), [otherVerifier]))).toBe('RK_KEY_MISMATCH')
    expect(codeOf(() => assertListed(withoutVerifier, [entry]))).toBe('RK_KEY_MISMATCH')
    expect(codeOf(() => assertListed(makeKey(), [entry, entry]))).toBe('RK_KEY_MISMATCH')
  })

  it('refuses a revoked key', () => {
    expect(codeOf(() => assertListed(makeKey(), [{ ...entry, status: 'revoked' }]))).toBe('RK_KEY_REVOKED')
  })
})
