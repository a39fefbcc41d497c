import { NoiseKeysError } from '../errors.ts'

/** A token of a message pattern, as the Noise specification names them. */
export type Token = 'e' | 's' | 'ee' | 'es' | 'se' | 'ss' | 'psk'

/** A handshake pattern with its psk modifiers applied. */
export interface HandshakePattern {
  /** Name with modifiers, `IKpsk2` for example. */
  readonly name: string
  /** Whether the initiator's static key is known beforehand. */
  readonly initiatorStaticKnown: boolean
  /** Whether the responder's static key is known beforehand. */
  readonly responderStaticKnown: boolean
  /** Messages in turn, the initiator's first. */
  readonly messages: readonly (readonly Token[])[]
  /** One message, and only the initiator sends afterwards. */
  readonly oneWay: boolean
  readonly pskCount: number
}

// Noise specification, revision 34, §7.4, §7.5 and appendix (deferred patterns). What is in front of `|` is known
// beforehand: `i` the initiator's static key, `r` the responder's. Messages follow in turn.
const TABLE: Readonly<Record<string, string>> = {
  N: 'r| e es',
  K: 'ir| e es ss',
  X: 'r| e es s ss',
  NN: '| e, e ee',
  KN: 'i| e, e ee se',
  NK: 'r| e es, e ee',
  KK: 'ir| e es ss, e ee se',
  NX: '| e, e ee s es',
  KX: 'i| e, e ee se s es',
  XN: '| e, e ee, s se',
  IN: '| e s, e ee se',
  XK: 'r| e es, e ee, s se',
  IK: 'r| e es s ss, e ee se',
  XX: '| e, e ee s es, s se',
  IX: '| e s, e ee se s es',
  NK1: 'r| e, e ee es',
  NX1: '| e, e ee s, es',
  X1N: '| e, e ee, s, se',
  X1K: 'r| e es, e ee, s, se',
  XK1: 'r| e, e ee es, s se',
  X1K1: 'r| e, e ee es, s, se',
  X1X: '| e, e ee s es, s, se',
  XX1: '| e, e ee s, es s se',
  X1X1: '| e, e ee s, es s, se',
  K1N: 'i| e, e ee, se',
  K1K: 'ir| e es, e ee, se',
  KK1: 'ir| e, e ee se es',
  K1K1: 'ir| e, e ee es, se',
  K1X: 'i| e, e ee s es, se',
  KX1: 'i| e, e ee se s, es',
  K1X1: 'i| e, e ee s, se es',
  I1N: '| e s, e ee, se',
  I1K: 'r| e es s, e ee, se',
  IK1: 'r| e s, e ee se es',
  I1K1: 'r| e s, e ee es, se',
  I1X: '| e s, e ee s es, se',
  IX1: '| e s, e ee se s, es',
  I1X1: '| e s, e ee s, se es',
}

/** Names of all patterns without modifiers. */
export const PATTERN_NAMES: readonly string[] = Object.keys(TABLE)

/**
 * Looks up a pattern and applies its modifiers: `psk0` at the start of the first message, `pskN` at the end of the
 * N-th.
 *
 * @throws {@link NoiseKeysError} `NK_HANDSHAKE` for a name that is none.
 */
export function handshakePattern(name: string): HandshakePattern {
  const match = /^([A-Z0-9]+?)((?:psk[0-9])(?:\+psk[0-9])*)?$/.exec(name)
  const row = match?.[1] === undefined || !Object.hasOwn(TABLE, match[1]) ? undefined : TABLE[match[1]]
  if (match === null || row === undefined) throw unknownPattern(name)
  const [known = '', lines = ''] = row.split('|')
  const messages = lines.split(',').map((line) => line.trim().split(' ') as Token[])
  const psks = match[2]?.split('+').map((modifier) => Number(modifier.slice(3))) ?? []
  if (new Set(psks).size !== psks.length) throw unknownPattern(name)
  for (const position of psks) {
    if (position === 0) messages[0]?.unshift('psk')
    else if (position <= messages.length) messages[position - 1]?.push('psk')
    else throw unknownPattern(name)
  }
  return {
    name,
    initiatorStaticKnown: known.includes('i'),
    responderStaticKnown: known.includes('r'),
    messages,
    oneWay: messages.length === 1,
    pskCount: psks.length,
  }
}

function unknownPattern(name: string): NoiseKeysError {
  return new NoiseKeysError('NK_HANDSHAKE', `"${name.slice(0, 32)}" is not a Noise pattern`)
}
