import { concatBytes, ed25519Sign, utf8Encode } from '@keyturn/primitives'
import { signatureGroup } from '../../src/cesr/attachments.ts'
import { encodeIndexedSignature } from '../../src/cesr/indexed-signature.ts'
import { keyText } from '../../src/index.ts'
import { nextDigestOf } from '../../src/owner/index.ts'
import { SAID_PLACEHOLDER, saidify } from '../../src/said.ts'
import { key, seed } from './actors.ts'

/** Fields of an event in the making; anything may be wrong with them. */
export type Fields = Record<string, unknown>

/** A plain inception of test key `n` that promises `n + 1`. */
export function inceptionFields(n = 0, change: Fields = {}): Fields {
  return {
    v: 'KERI10JSON000000_',
    t: 'icp',
    d: SAID_PLACEHOLDER,
    i: SAID_PLACEHOLDER,
    s: '0',
    kt: '1',
    k: [keyText(key(n))],
    nt: '1',
    n: [nextDigestOf(key(n + 1))],
    bt: '0',
    b: [],
    c: [],
    a: [],
    ...change,
  }
}

/** A rotation to test key `n` that promises `n + 1`. */
export function rotationFields(prefix: string, prior: string, sn: number, n: number, change: Fields = {}): Fields {
  return {
    v: 'KERI10JSON000000_',
    t: 'rot',
    d: SAID_PLACEHOLDER,
    i: prefix,
    s: sn.toString(16),
    p: prior,
    kt: '1',
    k: [keyText(key(n))],
    nt: '1',
    n: [nextDigestOf(key(n + 1))],
    bt: '0',
    br: [],
    ba: [],
    a: [],
    ...change,
  }
}

/** An interaction. */
export function interactionFields(prefix: string, prior: string, sn: number, change: Fields = {}): Fields {
  return {
    v: 'KERI10JSON000000_',
    t: 'ixn',
    d: SAID_PLACEHOLDER,
    i: prefix,
    s: sn.toString(16),
    p: prior,
    a: [],
    ...change,
  }
}

/** An event with a right SAID and signatures by test keys, whatever its fields say. */
export function forge(fields: Fields, ...signers: readonly number[]): { said: string; message: Uint8Array } {
  const { said, body } = saidify(fields)
  return { said, message: sealed(body, ...signers) }
}

/** A body with signatures by test keys, at index 0, 1, … */
export function sealed(body: Uint8Array, ...signers: readonly number[]): Uint8Array {
  const signatures = signers.map((n, index) => encodeIndexedSignature(ed25519Sign(seed(n), body), index))
  return concatBytes(body, utf8Encode(signatureGroup(signatures)))
}
